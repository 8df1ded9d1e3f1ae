//! Tunneling (TUN): the packet travels to the real server inside an IP packet of the director's own
//! (IPIP, RFC 2003, and its relatives between the two families).

use super::datagram::{Datagram, Link, offload_behind};
use super::{decrement_ttl, finish_checksum, fits, segment};
use crate::frame::{Egress, Offload};
use crate::net::Protocol;
use crate::network::Output;
use crate::packet::Packet;
use crate::verdict::DropReason;
use crate::wire::{ethernet, ipv4, ipv6};
use std::net::IpAddr;

/// Longest outer header.
const OUTER_ROOM: usize = ipv6::HEADER;
const ECN: u8 = 0b11;
const CONGESTION_EXPERIENCED: u8 = 0b11;
const ECT_0: u8 = 0b10;

/// The ends of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The director's address.
    pub source: IpAddr,
    /// The real server's address, of the same family.
    pub destination: IpAddr,
    /// Tells the outer packet's fragments from those of others, when it may be cut; an aggregate uses
    /// the [`Packet::pieces`] numbers from here on.
    pub identification: u16,
}

/// How many bytes a tunnel to `destination` puts in front of a packet.
#[must_use]
pub const fn overhead(destination: IpAddr) -> u32 {
    match destination {
        IpAddr::V4(_) => ipv4::HEADER as u32,
        IpAddr::V6(_) => ipv6::HEADER as u32,
    }
}

/// Sends `packet` through `tunnel`, out by `out`. The outer header bears the packet's time to live,
/// this hop counted, its DSCP, ECN (but "congestion experienced", which would be lost, becomes ECT(0))
/// and, from IPv4 to IPv4, its "don't fragment". Checksums are finished and aggregates are cut: no
/// device does that inside a tunnel.
///
/// # Errors
/// Those of the module, and the egress's own; [`DropReason::NoRoute`] when the tunnel's ends are of
/// different families. An outer IPv6 packet is never cut.
pub fn emit<E: Egress + ?Sized>(
    packet: &Packet<'_>,
    tunnel: &Tunnel,
    out: &Output,
    egress: &mut E,
) -> Result<(), DropReason> {
    if packet.ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    if tunnel.source.is_ipv4() != tunnel.destination.is_ipv4() {
        return Err(DropReason::NoRoute);
    }
    let overhead = overhead(tunnel.destination);
    let fits_way = fits(packet, out.mtu.saturating_sub(overhead));
    let may_be_cut = !packet.dont_fragment && tunnel.destination.is_ipv4();
    let fits_length = fits(packet, u32::from(u16::MAX) - overhead);
    if !fits_length || !fits_way && !may_be_cut {
        return Err(DropReason::TooBig);
    }
    let ethertype = if tunnel.destination.is_ipv4() { ethernet::IPV4 } else { ethernet::IPV6 };
    let link = Link::of(packet, out).carrying(ethertype);
    let overhead = overhead as usize;
    if fits_way && packet.offload.segmentation.is_none() {
        let length = packet.ip_length();
        return link.emit(overhead + length, Offload::NONE, egress, |datagram| {
            let (outer, inner) = datagram.split_at_mut(overhead);
            write_outer(packet, tunnel, length, tunnel.identification, outer);
            inner.copy_from_slice(packet.datagram());
            decrement_ttl(inner);
            finish_checksum(inner, offload_behind(packet, packet.network));
        });
    }
    let mut identification = tunnel.identification;
    segment::pieces(packet, |piece| {
        decrement_ttl(piece.parts().0);
        let mut outer = [0; OUTER_ROOM];
        let length = piece.runs().iter().map(|run| run.len()).sum();
        write_outer(packet, tunnel, length, identification, &mut outer[..overhead]);
        identification = identification.wrapping_add(1);
        Datagram { header: &outer[..overhead], runs: piece.runs() }.emit(&link, egress)
    })
}

/// Writes the header in front of `length` bytes of inner packet.
fn write_outer(packet: &Packet<'_>, tunnel: &Tunnel, length: usize, identification: u16, outer: &mut [u8]) {
    let protocol = if packet.is_ipv4() { Protocol::IPIP } else { Protocol::IPV6 };
    let tos = if packet.tos & ECN == CONGESTION_EXPERIENCED { packet.tos & !ECN | ECT_0 } else { packet.tos };
    match (tunnel.source, tunnel.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let whole = packet.is_ipv4() && packet.dont_fragment;
            let header = ipv4::Fields {
                tos,
                total_length: (ipv4::HEADER + length) as u16,
                identification: if whole { 0 } else { identification },
                fragment: if whole { ipv4::DONT_FRAGMENT } else { 0 },
                ttl: packet.ttl - 1,
                protocol,
                source,
                destination,
            };
            header.write(outer);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = ipv6::Fields {
                traffic_class: tos,
                payload_length: length as u16,
                protocol,
                hop_limit: packet.ttl - 1,
                source,
                destination,
            };
            header.write(outer);
        }
        _ => {}
    }
}
