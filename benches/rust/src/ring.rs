//! Where benchmarks' frames go.

use fastlvs_core::frame::{Egress, NextHop, Offload};
use fastlvs_core::verdict::DropReason;

/// The number of slots.
const SLOTS: usize = 64;
/// The size of a slot, in bytes.
const SIZE: usize = 256;

/// A transmit ring that nobody empties: the slots are written again and again.
#[derive(Debug)]
pub struct Ring {
    slots: Box<[[u8; SIZE]; SLOTS]>,
    next: usize,
    /// How many frames were sent.
    pub sent: u64,
}

impl Default for Ring {
    fn default() -> Self {
        Self { slots: Box::new([[0; SIZE]; SLOTS]), next: 0, sent: 0 }
    }
}

impl Ring {
    /// The slot that is written next, as a forwarder without a director's egress takes it: it is sent with that.
    #[inline]
    pub fn slot(&mut self) -> &mut [u8; SIZE] {
        let slot = &mut self.slots[self.next % SLOTS];
        self.next += 1;
        slot
    }

    /// The first `length` bytes of the frame that was sent last.
    #[must_use]
    pub fn last(&self, length: usize) -> &[u8] {
        &self.slots[self.next.wrapping_sub(1) % SLOTS][..length]
    }
}

impl Egress for Ring {
    #[inline]
    fn slot(&mut self, hop: &NextHop, length: usize) -> Result<&mut [u8], DropReason> {
        let mac = hop.mac.ok_or(DropReason::NeighbourUnknown)?;
        let slot = self.slots[self.next % SLOTS].get_mut(..length).ok_or(DropReason::TooBig)?;
        // The engine fills it in itself; an egress that knew better would.
        debug_assert_ne!(mac.0, [0; 6]);
        Ok(slot)
    }

    #[inline]
    fn send(&mut self, _: usize, _: Offload) {
        self.next += 1;
        self.sent += 1;
    }
}
