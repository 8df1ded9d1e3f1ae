//! Sending packets on: one file a method, each of which rewrites a packet while it copies it into the
//! egress's slot.
//!
//! All of them count the hop, refuse a packet whose time to live ends here ([`TtlExpired`])
//! or that may not be cut and does not fit ([`TooBig`]): the pipeline looks first, because
//! the sender wants to be told. An IPv4 packet without "don't fragment" is cut to the MTU of its way.
//! An aggregate counts as the packets that it stands for; it is passed on as it is, offload included,
//! when those fit and the method allows it, and cut into them otherwise.
//!
//! A frame that leaves by the interface it came in on keeps its VLAN tags; any other leaves untagged.
//!
//! [`TtlExpired`]: crate::verdict::DropReason::TtlExpired
//! [`TooBig`]: crate::verdict::DropReason::TooBig

pub mod answer;
mod datagram;
pub mod gateway;
pub mod icmp;
pub mod masquerade;
pub mod relay;
pub mod segment;
#[cfg(test)]
mod testing;
pub mod tunnel;

use crate::frame::{ChecksumState, Offload};
use crate::net::Endpoint;
use crate::packet::Packet;
use crate::wire::checksum::Sum;
use crate::wire::{set_u16, udp};
pub use tunnel::Tunnel;

/// What a masqueraded packet's ends become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Its source from here on.
    pub source: Endpoint,
    /// Its destination from here on.
    pub destination: Endpoint,
}

/// Whether the packet, or each of those that an aggregate stands for, is at most `limit` bytes long
/// from its IP header on.
#[must_use]
pub fn fits(packet: &Packet<'_>, limit: u32) -> bool {
    packet.longest_piece() <= limit as usize
}

/// Completes an unfinished checksum in `frame`, which has to end where the packet does. A frame whose
/// checksum is finished, or that is too short to hold it, stays as it is.
pub fn finish_checksum(frame: &mut [u8], offload: Offload) {
    let ChecksumState::Partial { start, offset } = offload.checksum else { return };
    let (start, field) = (usize::from(start), usize::from(start) + usize::from(offset));
    if frame.len() < field + 2 {
        return;
    }
    let checksum = finished_checksum(field - start, Sum::ZERO.bytes(&frame[start..]));
    set_u16(frame, field, checksum);
}

/// What a transport header's checksum field at `offset` has to hold, given the sum over header and data
/// with the pseudo-header's sum in that field. UDP's alone is at 6, and may not be 0.
fn finished_checksum(offset: usize, sum: Sum) -> u16 {
    if offset == udp::CHECKSUM { udp::never_zero(sum.checksum()) } else { sum.checksum() }
}
