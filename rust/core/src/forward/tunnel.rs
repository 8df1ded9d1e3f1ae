//! Tunneling (TUN): the packet travels to the real server inside an IP packet of the director's own, alone
//! (IPIP, RFC 2003, and its relatives between the two families) or behind a GUE or GRE header.

use super::datagram::{Cut, Datagram, Link, Longest, offload_behind};
use super::{finish_checksum, fits, segment};
use crate::frame::{Egress, Offload};
use crate::net::{FlowKey, Protocol};
use crate::network::Output;
use crate::packet::Packet;
use crate::server::Encapsulation;
use crate::verdict::DropReason;
use crate::wire::checksum::Sum;
use crate::wire::{count_hop, ethernet, gre, gue, ipv4, ipv6, ports, set_u16, udp};
use std::net::IpAddr;

/// Longest outer header: IPv6, UDP and GUE.
const OUTER_ROOM: usize = ipv6::HEADER + udp::HEADER + gue::HEADER;
const ECN: u8 = 0b11;
const CONGESTION_EXPERIENCED: u8 = 0b11;
const ECT_0: u8 = 0b10;
/// Linux's local ports, from which it takes the source ports of tunnels.
const FIRST_PORT: u16 = 32_768;
const PORTS: u64 = 60_999 - 32_768 + 1;

/// The ends of a tunnel, and what it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The director's address.
    pub source: IpAddr,
    /// The real server's address, of the same family.
    pub destination: IpAddr,
    /// What stands between the outer IP header and the packet.
    pub encapsulation: Encapsulation,
    /// Whether an IPv4 packet's "don't fragment" holds for the outer packet too (`pmtu_disc`). Where not,
    /// the outer packet is cut if it is too long.
    pub path_mtu_discovery: bool,
    /// Tells the outer packet's fragments from those of others, when it may be cut; an aggregate uses
    /// the [`Packet::pieces`] numbers from here on.
    pub identification: u16,
}

impl Tunnel {
    /// A tunnel of IP in IP, with path MTU discovery.
    #[must_use]
    pub const fn ipip(source: IpAddr, destination: IpAddr, identification: u16) -> Self {
        Self {
            source,
            destination,
            encapsulation: Encapsulation::Ipip,
            path_mtu_discovery: true,
            identification,
        }
    }
}

/// How many bytes a tunnel to `destination` puts in front of a packet.
#[must_use]
pub const fn overhead(destination: IpAddr, encapsulation: Encapsulation) -> u32 {
    let outer = match destination {
        IpAddr::V4(_) => ipv4::HEADER,
        IpAddr::V6(_) => ipv6::HEADER,
    };
    let inner = match encapsulation {
        Encapsulation::Ipip => 0,
        Encapsulation::Gue { .. } => udp::HEADER + gue::HEADER,
        Encapsulation::Gre { checksum: false } => gre::HEADER,
        Encapsulation::Gre { checksum: true } => gre::HEADER + gre::CHECKSUM,
    };
    (outer + inner) as u32
}

/// Sends `packet` through `tunnel`, out by `out`. The outer header bears the packet's time to live,
/// this hop counted, its DSCP, ECN (but "congestion experienced", which would be lost, becomes ECT(0))
/// and, from IPv4 to IPv4, its "don't fragment". Checksums are finished and aggregates are cut: no
/// device does that inside a tunnel.
///
/// # Errors
/// Those of the module, and the egress's own; [`DropReason::NoRoute`] when the tunnel's ends are of
/// different families. An IPv6 packet is never cut, nor the packet around it.
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
    let overhead = overhead(tunnel.destination, tunnel.encapsulation);
    let fits_way = fits(packet, out.mtu.saturating_sub(overhead));
    let whole = packet.dont_fragment && tunnel.path_mtu_discovery && !packet.is_icmp_error();
    let may_be_cut = packet.is_ipv4() && !whole;
    let fits_length = fits(packet, u32::from(u16::MAX) - overhead);
    if !fits_length || !fits_way && !may_be_cut {
        return Err(DropReason::TooBig);
    }
    let ethertype = if tunnel.destination.is_ipv4() { ethernet::IPV4 } else { ethernet::IPV6 };
    let link = Link::of(packet, out).carrying(ethertype);
    let overhead = overhead as usize;
    if fits_way && packet.offload.segmentation.is_none() && packet.reassembled.is_none() {
        let length = packet.ip_length();
        return link.emit(overhead + length, Offload::NONE, egress, |datagram| {
            let (outer, inner) = datagram.split_at_mut(overhead);
            inner.copy_from_slice(packet.datagram());
            count_hop(inner);
            finish_checksum(inner, offload_behind(packet, packet.network));
            write_outer(packet, tunnel, [inner, &[], &[]], tunnel.identification, outer);
        });
    }
    let mut identification = tunnel.identification;
    segment::pieces(packet, |piece| {
        count_hop(piece.parts().0);
        let mut outer = [0; OUTER_ROOM];
        write_outer(packet, tunnel, piece.runs(), identification, &mut outer[..overhead]);
        let (header, encapsulation) = outer[..overhead].split_at(outer_ip(tunnel.destination));
        let [first, second, third] = piece.runs();
        let own = Cut::of(packet);
        let alone = packet.reassembled.is_some_and(|fragments| fragments.alone);
        let same_family = packet.is_ipv4() == tunnel.destination.is_ipv4();
        let cut = Cut {
            longest: match own.longest {
                Longest::AsCame(longest) if !same_family => Longest::IfCut(longest),
                // What came in one piece is cut for the first time; where the first piece grows by what is no
                // multiple of 8, the others' places are wrong.
                Longest::AsCame(longest)
                    if !packet.is_ipv4() && (alone || !encapsulation.len().is_multiple_of(8)) =>
                {
                    Longest::Anew(longest)
                }
                longest => longest,
            },
            identification: own.identification.or(packet.is_ipv4().then_some(u32::from(identification))),
            ..own
        };
        identification = identification.wrapping_add(1);
        Datagram { header, runs: [encapsulation, first, second, third], cut }.emit(&link, egress)
    })
}

const fn outer_ip(destination: IpAddr) -> usize {
    if destination.is_ipv4() { ipv4::HEADER } else { ipv6::HEADER }
}

/// Writes the headers in front of the inner packet, which is given in runs.
fn write_outer(
    packet: &Packet<'_>,
    tunnel: &Tunnel,
    inner: [&[u8]; 3],
    identification: u16,
    outer: &mut [u8],
) {
    let length: usize = inner.iter().map(|run| run.len()).sum();
    let inner_protocol = if packet.is_ipv4() { Protocol::IPIP } else { Protocol::IPV6 };
    let protocol = match tunnel.encapsulation {
        Encapsulation::Ipip => inner_protocol,
        Encapsulation::Gue { .. } => Protocol::UDP,
        Encapsulation::Gre { .. } => Protocol::GRE,
    };
    let tos = if packet.tos & ECN == CONGESTION_EXPERIENCED { packet.tos & !ECN | ECT_0 } else { packet.tos };
    let (ip, encapsulation) = outer.split_at_mut(outer_ip(tunnel.destination));
    let carried = encapsulation.len() + length;
    match (tunnel.source, tunnel.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let whole = packet.is_ipv4() && packet.dont_fragment && tunnel.path_mtu_discovery;
            let header = ipv4::Fields {
                tos,
                total_length: (ipv4::HEADER + carried) as u16,
                identification: if whole { 0 } else { identification },
                fragment: if whole { ipv4::DONT_FRAGMENT } else { 0 },
                ttl: packet.ttl - 1,
                protocol,
                source,
                destination,
            };
            header.write(ip);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = ipv6::Fields {
                traffic_class: tos,
                payload_length: carried as u16,
                protocol,
                hop_limit: packet.ttl - 1,
                source,
                destination,
            };
            header.write(ip);
        }
        _ => {}
    }
    let data = |sum: Sum| inner.into_iter().fold(sum, Sum::bytes);
    match tunnel.encapsulation {
        Encapsulation::Ipip => {}
        Encapsulation::Gue { port, checksum } => {
            set_u16(encapsulation, ports::SOURCE, source_port(&packet.flow));
            set_u16(encapsulation, ports::DESTINATION, port);
            set_u16(encapsulation, udp::LENGTH, carried as u16);
            set_u16(encapsulation, udp::CHECKSUM, 0);
            gue::write(inner_protocol, &mut encapsulation[udp::HEADER..]);
            if checksum {
                let pseudo = Sum::pseudo_header(tunnel.source, tunnel.destination, Protocol::UDP, carried);
                let sum = data(pseudo.bytes(encapsulation));
                set_u16(encapsulation, udp::CHECKSUM, udp::never_zero(sum.checksum()));
            }
        }
        Encapsulation::Gre { checksum } => {
            let ethertype = if packet.is_ipv4() { ethernet::IPV4 } else { ethernet::IPV6 };
            gre::write(ethertype, checksum, encapsulation);
            if checksum {
                let sum = data(Sum::ZERO.bytes(encapsulation));
                set_u16(encapsulation, gre::HEADER, sum.checksum());
            }
        }
    }
}

/// The source port of a flow's tunnel: the same for all its packets, so that routers which spread flows keep
/// their order (RFC 8085 §3.1.11). Nobody gains by guessing it: a hash without a key will do (FNV-1a).
fn source_port(flow: &FlowKey) -> u16 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    for endpoint in [flow.source, flow.destination] {
        match endpoint.address {
            IpAddr::V4(address) => address.octets().into_iter().for_each(&mut add),
            IpAddr::V6(address) => address.octets().into_iter().for_each(&mut add),
        }
        endpoint.port.to_be_bytes().into_iter().for_each(&mut add);
    }
    add(flow.protocol.0);
    FIRST_PORT + ((hash >> 32) % PORTS) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Capture;
    use crate::forward::testing::{PING, out, packet};
    use crate::net::InterfaceId;

    #[test]
    fn a_tunnel_is_as_long_as_its_headers() {
        let (v4, v6): (IpAddr, IpAddr) = ([10, 0, 0, 9].into(), "fd00::9".parse().unwrap());
        let gue = |checksum| Encapsulation::Gue { port: 6080, checksum };
        let gre = |checksum| Encapsulation::Gre { checksum };
        for (encapsulation, length) in
            [(Encapsulation::Ipip, 0), (gue(false), 12), (gue(true), 12), (gre(false), 4), (gre(true), 8)]
        {
            assert_eq!(overhead(v4, encapsulation), 20 + length);
            assert_eq!(overhead(v6, encapsulation), 40 + length);
            let ping = packet(&PING);
            for (source, destination) in [(v4, v4), (v6, v6)] {
                let tunnel = Tunnel {
                    source,
                    destination,
                    encapsulation,
                    path_mtu_discovery: true,
                    identification: 1,
                };
                let mut sent = Capture::default();
                emit(&ping, &tunnel, &out(InterfaceId(7), 1500), &mut sent).unwrap();
                let frame = &sent.frames[0].1;
                assert_eq!(frame.len(), PING.len() + overhead(destination, encapsulation) as usize);
                assert_eq!(frame[frame.len() - 16..], PING[PING.len() - 16..]);
            }
        }
    }

    #[test]
    fn a_flow_keeps_its_source_port() {
        let flow = packet(&PING).flow;
        assert_eq!(source_port(&flow), source_port(&flow));
        assert!((32_768..=60_999).contains(&source_port(&flow)));
        let mut ports: Vec<_> = (0..200)
            .map(|port| {
                let mut other = flow;
                other.source.port = port;
                source_port(&other)
            })
            .collect();
        ports.sort_unstable();
        ports.dedup();
        assert!(ports.len() > 190, "{} ports for 200 flows", ports.len());
    }
}
