//! Masquerading (NAT): addresses and ports are rewritten, in either direction.
//!
//! TCP and UDP checksums are updated, not computed anew, so a packet that was damaged before it came
//! here is still seen to be. Two exceptions, both as in Linux: a UDP packet without checksum gets one,
//! and SCTP's, which cannot be updated, is computed anew when a port changes.

use super::datagram::{Link, offload_behind};
use super::{Rewrite, decrement_ttl, fits, segment};
use crate::frame::{ChecksumState, Egress};
use crate::net::Protocol;
use crate::network::Output;
use crate::packet::{Fragment, Packet};
use crate::verdict::DropReason;
use crate::wire::checksum::{Delta, Sum};
use crate::wire::sctp::{self, Crc32c};
use crate::wire::{ipv4, ipv6, set_u16, u16_at, udp};
use std::net::IpAddr;

/// Sends `packet` from `rewrite.source` to `rewrite.destination`, out by `out`. Ports are rewritten
/// where the protocol has them.
///
/// # Errors
/// Those of the module, and the egress's own; [`DropReason::Fragment`] for fragments, most of which
/// carry no port, and [`DropReason::NoRoute`] when packet and rewrite are of different families.
pub fn emit<E: Egress + ?Sized>(
    packet: &Packet<'_>,
    rewrite: &Rewrite,
    out: &Output,
    egress: &mut E,
) -> Result<(), DropReason> {
    if packet.ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    if packet.fragment != Fragment::Whole {
        return Err(DropReason::Fragment);
    }
    let family = |address: IpAddr| address.is_ipv4() == packet.is_ipv4();
    if !family(rewrite.source.address) || !family(rewrite.destination.address) {
        return Err(DropReason::NoRoute);
    }
    let link = Link::of(packet, out);
    if fits(packet, out.mtu) {
        let unfinished = packet.checksum_is_partial();
        let offload = offload_behind(packet, packet.network - link.length());
        return link.emit(packet.ip_length(), offload, egress, |datagram| {
            datagram.copy_from_slice(packet.datagram());
            let (header, payload) = datagram.split_at_mut(packet.transport - packet.network);
            let (transport, data) = payload.split_at_mut(packet.transport_header_length());
            rewrite_header(header, rewrite);
            rewrite_transport(packet, rewrite, unfinished, transport, data);
        });
    }
    if packet.dont_fragment {
        return Err(DropReason::TooBig);
    }
    segment::pieces(packet, |piece| {
        let (header, transport, data) = piece.parts();
        rewrite_header(header, rewrite);
        rewrite_transport(packet, rewrite, false, transport, data);
        piece.datagram().emit(&link, egress)
    })
}

fn rewrite_header(header: &mut [u8], rewrite: &Rewrite) {
    match (rewrite.source.address, rewrite.destination.address) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            ipv4::set_source(header, source);
            ipv4::set_destination(header, destination);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            ipv6::set_source(header, source);
            ipv6::set_destination(header, destination);
        }
        _ => {}
    }
    decrement_ttl(header);
}

fn rewrite_transport(
    packet: &Packet<'_>,
    rewrite: &Rewrite,
    unfinished: bool,
    transport: &mut [u8],
    data: &[u8],
) {
    let has_ports = matches!(packet.protocol(), Protocol::TCP | Protocol::UDP | Protocol::SCTP);
    if has_ports {
        set_u16(transport, 0, rewrite.source.port);
        set_u16(transport, 2, rewrite.destination.port);
    }
    if packet.protocol() == Protocol::SCTP {
        let same_ports = packet.flow.source.port == rewrite.source.port
            && packet.flow.destination.port == rewrite.destination.port;
        if !same_ports && packet.offload.checksum == ChecksumState::Finished {
            set_sctp_checksum(transport, data);
        }
        return;
    }
    let Some(field) = packet.checksum_field() else { return };
    let addresses = Delta::new()
        .address(packet.source(), rewrite.source.address)
        .address(packet.destination(), rewrite.destination.address);
    let old = u16_at(transport, field);
    let is_udp = packet.protocol() == Protocol::UDP;
    let new = if unfinished {
        // The ports are summed by whoever finishes the checksum.
        addresses.apply_unfinished(old)
    } else if is_udp && old == 0 {
        // Somebody else's unfinished checksum within the data cannot be summed yet.
        if packet.offload.checksum != ChecksumState::Finished {
            return;
        }
        udp_checksum(rewrite, transport, data)
    } else {
        let ports = if has_ports {
            addresses
                .word(packet.flow.source.port, rewrite.source.port)
                .word(packet.flow.destination.port, rewrite.destination.port)
        } else {
            addresses
        };
        let checksum = ports.apply(old);
        if is_udp { udp::never_zero(checksum) } else { checksum }
    };
    set_u16(transport, field, new);
}

/// The checksum of a UDP packet whose field is 0, over as much of the data as its length says.
fn udp_checksum(rewrite: &Rewrite, transport: &[u8], data: &[u8]) -> u16 {
    let length = usize::from(u16_at(transport, 4));
    let data = &data[..data.len().min(length.saturating_sub(udp::HEADER))];
    let source = rewrite.source.address;
    let sum = Sum::pseudo_header(source, rewrite.destination.address, Protocol::UDP, length);
    udp::never_zero(sum.bytes(transport).bytes(data).checksum())
}

fn set_sctp_checksum(header: &mut [u8], chunks: &[u8]) {
    header[sctp::CHECKSUM..sctp::HEADER].fill(0);
    let checksum = Crc32c::START.bytes(header).bytes(chunks).checksum();
    header[sctp::CHECKSUM..sctp::HEADER].copy_from_slice(&checksum);
}
