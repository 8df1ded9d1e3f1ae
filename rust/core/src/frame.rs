//! What travels between a packet device and the engine: a frame and what the device left undone.

use crate::net::{InterfaceId, Mac};
use crate::verdict::DropReason;
use std::net::IpAddr;

/// A frame as a device handed it out: Ethernet header first, VLAN tags in their place, no trailer.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The interface that it came in on.
    pub interface: InterfaceId,
    /// All of its bytes.
    pub bytes: &'a [u8],
    /// What the sender left to the network card.
    pub offload: Offload,
}

/// Work that a local sender left to the network card and that nobody has done yet. It has to be
/// passed on, or done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// Whether the transport checksum is still to be filled in.
    pub checksum: ChecksumState,
    /// How the frame is to be cut, when it is longer than its way allows (TSO/GSO).
    pub segmentation: Option<Segmentation>,
}

impl Offload {
    /// Nothing is left to be done.
    pub const NONE: Self = Self { checksum: ChecksumState::Finished, segmentation: None };
}

/// The state of a frame's transport checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChecksumState {
    /// The field holds what the sender means the receiver to find.
    #[default]
    Finished,
    /// The field holds the pseudo-header's sum, not complemented; the sum over `start..` of the
    /// frame, complemented, is to be stored at `start + offset` (Linux's `CHECKSUM_PARTIAL`).
    Partial {
        /// Where the sum begins, in bytes from the frame's first byte.
        start: u16,
        /// Where the field is, in bytes from `start`.
        offset: u16,
    },
}

/// A frame that stands for several, to be cut before it meets a link of ordinary MTU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmentation {
    /// Payload bytes of each piece but the last.
    pub size: u16,
    /// What kind of packet is to be cut.
    pub kind: SegmentationKind,
    /// The sender set CWR on the aggregate: only the first piece may carry it.
    pub ecn: bool,
}

/// The kinds of aggregates that Linux hands out (`VIRTIO_NET_HDR_GSO_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentationKind {
    /// TCP in IPv4.
    Tcp4,
    /// TCP in IPv6.
    Tcp6,
    /// UDP datagrams of `size` bytes each, in either family.
    Udp,
}

/// Where a frame goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The interface that it leaves by.
    pub interface: InterfaceId,
    /// The neighbour that it is handed to.
    pub address: IpAddr,
    /// That neighbour's link-layer address; `None` when it is not known yet. The egress then keeps
    /// the frame until it is, and fills in bytes 0 to 6, or refuses it.
    pub mac: Option<Mac>,
}

/// Where the engine writes the frames that it sends: a transmit ring, or a list in memory.
///
/// One frame is two calls: [`Egress::slot`], then [`Egress::send`]. A slot that is never sent is
/// taken back by the next call of `slot`.
pub trait Egress {
    /// Room for a frame of at most `length` bytes towards `hop`.
    ///
    /// # Errors
    /// A reason when there is no room ([`DropReason::TxFull`]), the frame is longer than the device
    /// can take, or the neighbour is unknown and the egress does not wait.
    fn slot(&mut self, hop: &NextHop, length: usize) -> Result<&mut [u8], DropReason>;

    /// Sends the first `length` bytes of the slot handed out last.
    fn send(&mut self, length: usize, offload: Offload);
}
