//! What a packet device is to a director: frames come out of it, frames go into it.

use fastlvs_core::frame::Offload;
use fastlvs_core::verdict::DropReason;
use std::os::fd::BorrowedFd;

/// A device in its two halves, each of which has one owner: a worker takes a frame out of one device
/// while it writes another into the same or a different one.
pub trait Device {
    /// The half that frames come out of.
    type Receiver: Receiver;
    /// The half that frames go into.
    type Sender: Sender;

    /// Takes the device apart.
    fn split(self) -> (Self::Receiver, Self::Sender);
}

/// A frame as the device hands it out.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// From the link-layer header on, VLAN tags in their place.
    pub bytes: &'a [u8],
    /// What the sender left to the network card.
    pub offload: Offload,
    /// Whether the device had no room for all of it.
    pub truncated: bool,
}

/// The half of a device that frames come out of.
pub trait Receiver {
    /// Hands out the frames that are there, in the order in which they came, at most `budget`, and
    /// says how many those were. Never waits.
    fn receive(&mut self, budget: usize, take: impl FnMut(Received<'_>)) -> usize;

    /// What becomes readable when there are frames; none for a device that is only ever asked.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>>;

    /// Frames that were lost since the last call because nobody took them out in time.
    fn missed(&mut self) -> u64;

    /// Forgets what made a descriptor readable though there is no frame: an interface that went down.
    fn recover(&mut self);
}

/// The half of a device that frames go into. One frame is two calls: [`Sender::slot`], then
/// [`Sender::send`]; nothing leaves for certain before [`Sender::flush`].
pub trait Sender {
    /// Room for a frame of at most `length` bytes. A slot that is never sent is taken back by the
    /// next call.
    ///
    /// # Errors
    /// [`DropReason::TxFull`] when there is none.
    fn slot(&mut self, length: usize) -> Result<&mut [u8], DropReason>;

    /// Sends the first `length` bytes of the slot handed out last.
    fn send(&mut self, length: usize, offload: Offload);

    /// Lets go of what was sent since the last call: one system call for a batch.
    fn flush(&mut self);

    /// Frames that the system refused since the last call, after they had been accepted here.
    fn refused(&mut self) -> u64;
}
