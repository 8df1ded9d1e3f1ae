//! Gatewaying (DR): the packet stays as it is and goes to the real server's link-layer address.

use super::datagram::{Link, offload_behind};
use super::{fits, segment};
use crate::frame::Egress;
use crate::network::Output;
use crate::packet::Packet;
use crate::verdict::DropReason;
use crate::wire::{count_hop, ethernet, ipv4};

/// Sends `packet` on to the hop of `out`.
///
/// # Errors
/// Those of the module, and the egress's own.
pub fn emit<E: Egress + ?Sized>(packet: &Packet<'_>, out: &Output, egress: &mut E) -> Result<(), DropReason> {
    if packet.ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    send(packet, count_hop, out, egress)
}

/// The same for a packet of the director's own host, for which the hop does not count.
///
/// # Errors
/// As [`emit`], but for the time to live.
pub fn emit_own<E: Egress + ?Sized>(
    packet: &Packet<'_>,
    out: &Output,
    egress: &mut E,
) -> Result<(), DropReason> {
    send(packet, ipv4::sum_if_v4, out, egress)
}

/// `hop` ends the rewriting of an IP header.
fn send<E: Egress + ?Sized>(
    packet: &Packet<'_>,
    hop: fn(&mut [u8]),
    out: &Output,
    egress: &mut E,
) -> Result<(), DropReason> {
    let link = Link::of(packet, out);
    let fits_way = fits(packet, out.mtu);
    if fits_way && packet.reassembled.is_none() {
        let offload = offload_behind(packet, packet.network - ethernet::HEADER);
        return link.emit(packet.ip_length(), offload, egress, |datagram| {
            datagram.copy_from_slice(packet.datagram());
            hop(datagram);
        });
    }
    if packet.dont_fragment && !fits_way && !packet.is_icmp_error() {
        return Err(DropReason::TooBig);
    }
    segment::pieces(packet, |piece| {
        hop(piece.parts().0);
        piece.datagram().emit(&link, egress)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Capture;
    use crate::forward::testing::{PING, out, packet};
    use crate::net::InterfaceId;

    #[test]
    fn a_priority_tag_is_not_sent_on() {
        let tagged = [&PING[..12], &[0x81, 0, 0xe0, 0], &PING[12..]].concat();
        let packet = packet(&tagged);
        let mut sent = Capture::default();
        for interface in [packet.interface, InterfaceId(7)] {
            emit(&packet, &out(interface, 1500), &mut sent).unwrap();
        }
        for (_, frame, _) in &sent.frames {
            assert_eq!((&frame[12..14], frame.len()), (&[8, 0][..], PING.len()));
            assert_eq!((frame[22], &frame[26..]), (PING[22] - 1, &PING[26..]));
        }
    }

    #[test]
    fn refuses_what_ends_here() {
        let mut sent = Capture::default();
        let out = out(InterfaceId(7), 1500);
        for (ttl, done) in [(0, Err(DropReason::TtlExpired)), (1, Err(DropReason::TtlExpired)), (2, Ok(()))] {
            let packet = Packet { ttl, ..packet(&PING) };
            assert_eq!(emit(&packet, &out, &mut sent), done);
        }
        let whole = Packet { dont_fragment: true, ..packet(&PING) };
        assert_eq!(emit(&whole, &Output { mtu: 27, ..out }, &mut sent), Err(DropReason::TooBig));
        assert_eq!(emit(&whole, &Output { mtu: 28, ..out }, &mut sent), Ok(()));
    }
}
