//! What the host gets in place of the frame that came.

use crate::frame::{Frame, Offload};
use crate::net::InterfaceId;
use crate::packet::{Fragments, Packet};

/// A frame for the host, in place of the one that was processed.
#[derive(Debug, Default)]
pub(super) struct HostFrame {
    bytes: Vec<u8>,
    interface: Option<InterfaceId>,
    offload: Offload,
    fragments: Option<Fragments>,
}

impl HostFrame {
    pub(super) const fn clear(&mut self) {
        self.interface = None;
    }

    pub(super) fn get(&self) -> Option<Frame<'_>> {
        self.interface.map(|interface| Frame { interface, bytes: &self.bytes, offload: self.offload })
    }

    /// What it was put together from, if it came in fragments.
    pub(super) fn fragments(&self) -> Option<Fragments> {
        self.fragments.filter(|_| self.interface.is_some())
    }

    /// Takes a copy of the packet's frame, which may be changed.
    pub(super) fn copy(&mut self, packet: &Packet<'_>) -> &mut [u8] {
        self.bytes.clear();
        self.bytes.extend_from_slice(&packet.bytes[..packet.end]);
        self.interface = Some(packet.interface);
        self.offload = packet.offload;
        self.fragments = packet.reassembled;
        &mut self.bytes
    }
}
