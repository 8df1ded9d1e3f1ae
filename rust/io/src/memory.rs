//! A device in memory: what a test puts in comes out, what the director sends can be looked at.

use crate::device::{Device, Received, Receiver, Sender};
use fastlvs_core::frame::Offload;
use fastlvs_core::verdict::DropReason;
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Frames, each with what is still to be done to it.
type Frames = VecDeque<(Vec<u8>, Offload)>;

/// A device in memory. Clones are the same device: one goes to the director, one stays with the test.
#[derive(Clone, Debug, Default)]
pub struct MemoryDevice {
    incoming: Arc<Mutex<Frames>>,
    outgoing: Arc<Mutex<Frames>>,
}

impl MemoryDevice {
    /// A device that holds no frame.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets a frame come in.
    pub fn put(&self, frame: impl Into<Vec<u8>>, offload: Offload) {
        lock(&self.incoming).push_back((frame.into(), offload));
    }

    /// Takes out what was sent so far.
    #[must_use]
    pub fn sent(&self) -> Vec<(Vec<u8>, Offload)> {
        lock(&self.outgoing).drain(..).collect()
    }
}

impl Device for MemoryDevice {
    type Receiver = MemoryReceiver;
    type Sender = MemorySender;

    fn split(self) -> (MemoryReceiver, MemorySender) {
        (MemoryReceiver(self.incoming), MemorySender { outgoing: self.outgoing, slot: Vec::new() })
    }
}

/// The half that frames come out of.
#[derive(Debug)]
pub struct MemoryReceiver(Arc<Mutex<Frames>>);

impl Receiver for MemoryReceiver {
    fn receive(&mut self, budget: usize, mut take: impl FnMut(Received<'_>)) -> usize {
        let frames: Vec<_> = {
            let mut incoming = lock(&self.0);
            let count = budget.min(incoming.len());
            incoming.drain(..count).collect()
        };
        for (bytes, offload) in &frames {
            take(Received { bytes, offload: *offload, truncated: false });
        }
        frames.len()
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    fn missed(&mut self) -> u64 {
        0
    }

    fn recover(&mut self) {}
}

/// The half that frames go into.
#[derive(Debug)]
pub struct MemorySender {
    outgoing: Arc<Mutex<Frames>>,
    slot: Vec<u8>,
}

impl Sender for MemorySender {
    fn slot(&mut self, length: usize) -> Result<&mut [u8], DropReason> {
        self.slot.clear();
        self.slot.resize(length, 0);
        Ok(&mut self.slot)
    }

    fn send(&mut self, length: usize, offload: Offload) {
        lock(&self.outgoing).push_back((self.slot[..length].to_vec(), offload));
    }

    fn flush(&mut self) {}

    fn refused(&mut self) -> u64 {
        0
    }
}

fn lock(frames: &Mutex<Frames>) -> MutexGuard<'_, Frames> {
    frames.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in() {
        let device = MemoryDevice::new();
        let (mut receiver, mut sender) = device.clone().split();
        device.put([1, 2], Offload::NONE);
        device.put([3], Offload::NONE);
        let mut seen = Vec::new();
        assert_eq!(receiver.receive(1, |frame| seen.push(frame.bytes.to_vec())), 1);
        assert_eq!(receiver.receive(9, |frame| seen.push(frame.bytes.to_vec())), 1);
        assert_eq!(seen, [vec![1, 2], vec![3]]);
        sender.slot(4).unwrap()[..2].copy_from_slice(&[7, 8]);
        sender.send(2, Offload::NONE);
        assert_eq!(device.sent(), [(vec![7, 8], Offload::NONE)]);
        assert_eq!(device.sent(), []);
    }
}
