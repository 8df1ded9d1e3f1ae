//! An egress that keeps what it is given: for offline engines and tests.

use crate::frame::{Egress, NextHop, Offload};
use crate::net::InterfaceId;
use crate::verdict::DropReason;

/// Collects the frames that the engine sends.
#[derive(Clone, Debug, Default)]
pub struct Capture {
    /// What was sent, in order: where to, the whole frame, what is still to be done to it.
    pub frames: Vec<(InterfaceId, Vec<u8>, Offload)>,
    slot: Option<(InterfaceId, Vec<u8>)>,
}

impl Egress for Capture {
    /// Refuses a hop whose link-layer address is unknown: nobody here could find it out.
    fn slot(&mut self, hop: &NextHop, length: usize) -> Result<&mut [u8], DropReason> {
        self.slot = None;
        if hop.mac.is_none() {
            return Err(DropReason::NeighbourUnknown);
        }
        let (_, bytes) = self.slot.insert((hop.interface, vec![0; length]));
        Ok(bytes)
    }

    fn send(&mut self, length: usize, offload: Offload) {
        if let Some((interface, mut bytes)) = self.slot.take() {
            bytes.truncate(length);
            self.frames.push((interface, bytes, offload));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Mac;

    #[test]
    fn keeps_what_was_sent_and_nothing_else() {
        let hop = |mac| NextHop { interface: InterfaceId(1), address: [10, 0, 0, 2].into(), mac };
        let mut capture = Capture::default();
        assert_eq!(capture.slot(&hop(None), 60).err(), Some(DropReason::NeighbourUnknown));
        capture.slot(&hop(Some(Mac::BROADCAST)), 60).unwrap()[0] = 1;
        capture.slot(&hop(Some(Mac::BROADCAST)), 60).unwrap()[0] = 2;
        capture.send(14, Offload::NONE);
        capture.send(14, Offload::NONE);
        assert_eq!(capture.frames.len(), 1);
        assert_eq!((capture.frames[0].1.len(), capture.frames[0].1[0]), (14, 2));
    }
}
