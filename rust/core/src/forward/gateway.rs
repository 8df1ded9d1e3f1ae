//! Gatewaying (DR): the packet stays as it is and goes to the real server's link-layer address.

use super::datagram::{Link, offload_behind};
use super::{decrement_ttl, fits, segment};
use crate::frame::Egress;
use crate::network::Output;
use crate::packet::Packet;
use crate::verdict::DropReason;

/// Sends `packet` on to the hop of `out`.
///
/// # Errors
/// Those of the module, and the egress's own.
pub fn emit<E: Egress + ?Sized>(packet: &Packet<'_>, out: &Output, egress: &mut E) -> Result<(), DropReason> {
    if packet.ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    let link = Link::of(packet, out);
    if fits(packet, out.mtu) {
        let offload = offload_behind(packet, packet.network - link.length());
        return link.emit(packet.ip_length(), offload, egress, |datagram| {
            datagram.copy_from_slice(packet.datagram());
            decrement_ttl(datagram);
        });
    }
    if packet.dont_fragment {
        return Err(DropReason::TooBig);
    }
    segment::pieces(packet, |piece| {
        decrement_ttl(piece.parts().0);
        piece.datagram().emit(&link, egress)
    })
}
