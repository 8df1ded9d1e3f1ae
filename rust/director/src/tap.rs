//! Devices that write down what passes, for people who look at packets.

use crate::clock::Clock;
use crate::error::Error;
use fastlvs_core::frame::Offload;
use fastlvs_core::time::Instant;
use fastlvs_core::verdict::DropReason;
use fastlvs_io::device::{Device, Received, Receiver, Sender};
use fastlvs_io::pcap::PcapWriter;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// A pcap file that several devices write to.
#[derive(Clone, Debug)]
pub struct Tap(Arc<File>);

#[derive(Debug)]
struct File {
    /// Locked by the worker's thread alone, so nobody ever waits. None after an error.
    writer: Mutex<Option<PcapWriter>>,
    /// Time from 1970 to the clock's origin.
    origin: Duration,
    clock: Clock,
}

/// A device, or a half of one, whose frames are written down.
#[derive(Debug)]
pub struct Captured<T> {
    inner: T,
    tap: Tap,
    /// The frame that is being written: the device's own slot cannot be read again when it is sent.
    slot: Vec<u8>,
}

impl Tap {
    /// Makes the file anew.
    pub fn create(path: &Path, clock: Clock) -> Result<Self, Error> {
        let writer = PcapWriter::create(path)
            .map_err(|error| Error::Platform { what: "capturing", problem: error.to_string() })?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let origin = now.saturating_sub(Duration::from_nanos(clock.now().as_nanos()));
        Ok(Self(Arc::new(File { writer: Mutex::new(Some(writer)), origin, clock })))
    }

    /// The same device, whose frames are written down.
    pub fn on<T>(&self, inner: T) -> Captured<T> {
        Captured { inner, tap: self.clone(), slot: Vec::new() }
    }

    /// A full disk ends the capture, not the director.
    fn write(&self, frame: &[u8]) {
        let mut writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let time = Instant::ZERO + self.0.origin + self.0.clock.now().since(Instant::ZERO);
        if let Some(Err(error)) = writer.as_mut().map(|writer| writer.write(time, frame)) {
            tracing::warn!("capturing ends: {error}");
            *writer = None;
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = writer.map(PcapWriter::finish) {
            tracing::warn!("the end of the capture is lost: {error}");
        }
    }
}

impl<D: Device> Device for Captured<D> {
    type Receiver = Captured<D::Receiver>;
    type Sender = Captured<D::Sender>;

    fn split(self) -> (Self::Receiver, Self::Sender) {
        let (receiver, sender) = self.inner.split();
        (self.tap.on(receiver), self.tap.on(sender))
    }
}

impl<R: Receiver> Receiver for Captured<R> {
    fn receive(&mut self, budget: usize, mut take: impl FnMut(Received<'_>)) -> usize {
        self.inner.receive(budget, |received| {
            self.tap.write(received.bytes);
            take(received);
        })
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.inner.descriptors()
    }

    fn missed(&mut self) -> u64 {
        self.inner.missed()
    }

    fn recover(&mut self) {
        self.inner.recover();
    }
}

impl<S: Sender> Sender for Captured<S> {
    fn slot(&mut self, length: usize) -> Result<&mut [u8], DropReason> {
        self.inner.slot(length)?;
        self.slot.resize(length, 0);
        Ok(&mut self.slot)
    }

    fn send(&mut self, length: usize, offload: Offload) {
        let frame = &self.slot[..length];
        // The slot was there a moment ago, was not sent, and is handed out again.
        if let Ok(slot) = self.inner.slot(self.slot.len()) {
            slot[..length].copy_from_slice(frame);
            self.inner.send(length, offload);
            self.tap.write(frame);
        }
    }

    fn flush(&mut self) {
        self.inner.flush();
    }

    fn refused(&mut self) -> u64 {
        self.inner.refused()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastlvs_io::memory::MemoryDevice;
    use fastlvs_io::pcap::PcapReader;

    #[test]
    fn what_passes_is_in_the_file_with_the_time_of_day() {
        let path = std::env::temp_dir().join(format!("fastlvs-capture-{}.pcap", std::process::id()));
        let device = MemoryDevice::new();
        device.put([1; 20], Offload::NONE);
        {
            let tap = Tap::create(&path, Clock::start()).unwrap();
            let (mut receiver, mut sender) = tap.on(device.clone()).split();
            assert_eq!(receiver.receive(9, |received| assert_eq!(received.bytes, [1; 20])), 1);
            sender.slot(30).unwrap().fill(9); // never sent
            sender.slot(60).unwrap().fill(2);
            sender.send(40, Offload::NONE);
        }
        assert_eq!(device.sent(), [(vec![2; 40], Offload::NONE)]);
        let frames: Vec<_> = PcapReader::open(&path).unwrap().map(Result::unwrap).collect();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(frames.iter().map(|(_, bytes)| bytes.len()).collect::<Vec<_>>(), [20, 40]);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert!(now.abs_diff(Duration::from_nanos(frames[1].0.as_nanos())) < Duration::from_secs(60));
    }

    #[test]
    fn a_file_that_cannot_be_made_is_an_error() {
        let error = Tap::create(Path::new("/nowhere/all.pcap"), Clock::start()).unwrap_err();
        assert!(error.to_string().contains("/nowhere/all.pcap"), "{error}");
    }
}
