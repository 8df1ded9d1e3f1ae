//! What the host gets in place of the frame that came.

use crate::frame::{Frame, Offload};
use crate::net::InterfaceId;
use crate::packet::{Fragments, Packet};

/// A frame that the host's own stack is to get.
#[derive(Clone, Copy, Debug)]
pub struct ForHost<'a> {
    /// The frame that was processed, or in its place the datagram that it completed, or what it was translated to.
    pub frame: Frame<'a>,
    /// What that was put together from, if it came in fragments.
    pub fragments: Option<Fragments>,
}

/// Room for a frame for the host, in place of the one that is processed.
#[derive(Debug, Default)]
pub(super) struct HostFrame {
    bytes: Vec<u8>,
    interface: Option<InterfaceId>,
    offload: Offload,
    fragments: Option<Fragments>,
}

impl HostFrame {
    /// Holds none any longer.
    pub(super) const fn clear(&mut self) {
        self.interface = None;
    }

    /// The frame that it holds, if it does.
    pub(super) fn get(&self) -> Option<ForHost<'_>> {
        let frame = |interface| Frame { interface, bytes: &self.bytes, offload: self.offload };
        self.interface.map(|interface| ForHost { frame: frame(interface), fragments: self.fragments })
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
