//! Reading a frame's headers, once.

use super::{Fragment, Packet, Parsed, TcpFlags};
use crate::frame::{ChecksumState, Frame};
use crate::net::{Endpoint, FlowKey, Protocol};
use crate::verdict::DropReason;
use crate::wire::arp::Arp;
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ipv4::{Ipv4, Ipv4Error};
use crate::wire::ipv6::Ipv6;
use crate::wire::{icmp, ports, sctp, tcp, u16_at, udp};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Reads a frame's headers.
///
/// # Errors
/// The reason why nobody should look at the frame again: a header that is cut short or contradicts
/// itself, or a source that no packet may come from.
pub fn parse<'a>(frame: &Frame<'a>) -> Result<Parsed<'a>, DropReason> {
    let link = Ethernet::parse(frame.bytes).ok_or(DropReason::MalformedEthernet)?;
    match link.ethertype {
        ethernet::IPV4 => parse_ipv4(frame, &link).map(Parsed::Ip),
        ethernet::IPV6 => parse_ipv6(frame, &link).map(Parsed::Ip),
        ethernet::ARP => {
            Arp::parse(&frame.bytes[link.payload..]).map(Parsed::Arp).ok_or(DropReason::MalformedArp)
        }
        _ => Ok(Parsed::Other),
    }
}

fn parse_ipv4<'a>(frame: &Frame<'a>, link: &Ethernet) -> Result<Packet<'a>, DropReason> {
    let header = Ipv4::parse(&frame.bytes[link.payload..]).map_err(|error| match error {
        Ipv4Error::Malformed => DropReason::MalformedIpv4,
        Ipv4Error::Checksum => DropReason::Ipv4Checksum,
    })?;
    if is_martian_v4(header.source(), header.destination()) {
        return Err(DropReason::MartianSource);
    }
    let fragment = match (header.fragment_offset(), header.more_fragments()) {
        (0, false) => Fragment::Whole,
        (0, true) => Fragment::First,
        _ => Fragment::Later,
    };
    let ends = (header.protocol(), header.source().into(), header.destination().into());
    let packet = Packet {
        ttl: header.ttl(),
        tos: header.tos(),
        dont_fragment: header.dont_fragment(),
        fragment,
        ..bare(frame, link, ends, header.header_length(), header.total_length())
    };
    with_transport(packet, DropReason::MalformedIpv4)
}

fn parse_ipv6<'a>(frame: &Frame<'a>, link: &Ethernet) -> Result<Packet<'a>, DropReason> {
    let header = Ipv6::parse(&frame.bytes[link.payload..]).ok_or(DropReason::MalformedIpv6)?;
    if is_martian_v6(header.source()) {
        return Err(DropReason::MartianSource);
    }
    let fragment = match header.fragment() {
        None | Some((0, false)) => Fragment::Whole,
        Some((0, true)) => Fragment::First,
        Some(_) => Fragment::Later,
    };
    let ends = (header.protocol(), header.source().into(), header.destination().into());
    let packet = Packet {
        ttl: header.hop_limit(),
        tos: header.traffic_class(),
        dont_fragment: true,
        fragment,
        fragment_header: match header.fragment_header() {
            0 => 0,
            place => link.payload + place,
        },
        ..bare(frame, link, ends, header.transport(), header.total_length())
    };
    with_transport(packet, DropReason::MalformedIpv6)
}

/// A packet whose header says where it ends and where its transport begins, counted from where it begins itself, and of
/// which all else is still to be read.
const fn bare<'a>(
    frame: &Frame<'a>,
    link: &Ethernet,
    (protocol, source, destination): (Protocol, IpAddr, IpAddr),
    transport: usize,
    end: usize,
) -> Packet<'a> {
    let (source, destination) = (Endpoint::new(source, 0), Endpoint::new(destination, 0));
    Packet {
        interface: frame.interface,
        bytes: frame.bytes,
        offload: frame.offload,
        destination_mac: link.destination,
        source_mac: link.source,
        network: link.payload,
        transport: link.payload + transport,
        end: link.payload + end,
        flow: FlowKey { protocol, source, destination },
        ttl: 0,
        tos: 0,
        dont_fragment: false,
        fragment: Fragment::Whole,
        fragment_header: 0,
        reassembled: None,
        cut_short: false,
        tcp_flags: TcpFlags::NONE,
    }
}

/// Adds ports and flags, and checks what only the whole packet can tell.
fn with_transport(mut packet: Packet<'_>, malformed: DropReason) -> Result<Packet<'_>, DropReason> {
    if let ChecksumState::Partial { start, offset } = packet.offload.checksum {
        let field = usize::from(start) + usize::from(offset);
        if usize::from(start) < packet.transport || field + 2 > packet.end {
            return Err(malformed);
        }
    }
    let payload = packet.payload();
    match (packet.fragment, packet.protocol()) {
        (Fragment::Later, _) => {}
        (_, Protocol::TCP | Protocol::UDP | Protocol::SCTP) => {
            if payload.len() >= ports::LENGTH {
                set_ports(&mut packet, u16_at(payload, ports::SOURCE), u16_at(payload, ports::DESTINATION));
            }
            let needed = match packet.protocol() {
                Protocol::TCP => tcp::HEADER,
                Protocol::UDP => udp::HEADER,
                _ => sctp::HEADER,
            };
            packet.cut_short = payload.len() < needed;
            if packet.protocol() == Protocol::TCP && !packet.cut_short {
                packet.tcp_flags = TcpFlags(payload[tcp::FLAGS]);
            }
        }
        (fragment, protocol) => {
            let message = fragment == Fragment::Whole && protocol == packet.icmp_protocol();
            if message && payload.len() < icmp::HEADER {
                return Err(DropReason::MalformedIcmp);
            }
        }
    }
    Ok(packet)
}

fn set_ports(packet: &mut Packet<'_>, source: u16, destination: u16) {
    packet.flow.source.port = source;
    packet.flow.destination.port = destination;
}

/// Multicast, broadcast, loopback and 0.0.0.0 send nothing, but for a host that asks everybody for its
/// address (DHCP). 240.0.0.0/4 counts as unicast, as in Linux.
const fn is_martian_v4(source: Ipv4Addr, destination: Ipv4Addr) -> bool {
    source.is_multicast()
        || source.is_broadcast()
        || source.is_loopback()
        || source.is_unspecified() && !destination.is_broadcast()
}

/// As in IPv4, but for `::`, from which Linux takes any packet.
const fn is_martian_v6(source: Ipv6Addr) -> bool {
    source.is_multicast() || source.is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Offload, Segmentation, SegmentationKind};
    use crate::net::{InterfaceId, Mac};
    use crate::wire::ipv4::set_checksum;

    /// A SYN from 10.0.0.2:40000 to 10.99.0.1:80, and six bytes of padding.
    const SYN: [u8; 60] = [
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00, // Ethernet
        0x45, 0xb8, 0, 40, 0, 9, 0x40, 0, 64, 6, 0x25, 0xaa, 10, 0, 0, 2, 10, 99, 0, 1, // IPv4
        0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0, // TCP
        0, 0, 0, 0, 0, 0, // padding
    ];
    /// A DNS query's headers between documentation addresses, behind hop-by-hop options.
    const QUERY: [u8; 70] = [
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd, // Ethernet
        0x6a, 0x80, 0, 0, 0, 16, 0, 7, // IPv6
        0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, //
        0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, //
        17, 0, 1, 4, 0, 0, 0, 0, // hop-by-hop
        0x9c, 0x40, 0, 53, 0, 8, 0, 0, // UDP
    ];

    fn read(bytes: &[u8]) -> Result<Packet<'_>, DropReason> {
        read_with(bytes, Offload::NONE)
    }

    fn read_with(bytes: &[u8], offload: Offload) -> Result<Packet<'_>, DropReason> {
        parse(&Frame { interface: InterfaceId(3), bytes, offload }).map(|parsed| match parsed {
            Parsed::Ip(packet) => packet,
            other => panic!("{other:?}"),
        })
    }

    /// The SYN with other bytes at some places of its IPv4 packet, header checksum right.
    fn syn_with(changes: &[(usize, u8)]) -> [u8; 60] {
        let mut frame = SYN;
        for (at, value) in changes {
            frame[14 + at] = *value;
        }
        set_checksum(&mut frame[14..34]);
        frame
    }

    #[test]
    fn reads_a_syn() {
        let packet = read(&SYN).unwrap();
        assert_eq!((packet.network, packet.transport, packet.end), (14, 34, 54), "padding is cut off");
        assert_eq!(packet.flow.protocol, Protocol::TCP);
        assert_eq!(packet.flow.source, "10.0.0.2:40000".parse().unwrap());
        assert_eq!(packet.flow.destination, "10.99.0.1:80".parse().unwrap());
        assert_eq!((packet.ttl, packet.tos, packet.dont_fragment), (64, 0xb8, true));
        assert_eq!(packet.tcp_flags, TcpFlags::SYN);
        assert_eq!((packet.ip_length(), packet.payload().len()), (40, 20));
        assert_eq!(packet.source_mac, Mac([2, 0, 0, 0, 0, 2]));
    }

    #[test]
    fn reads_ipv6_behind_extension_headers() {
        let packet = read(&QUERY).unwrap();
        assert_eq!((packet.network, packet.transport, packet.end), (14, 62, 70));
        assert_eq!(packet.flow.source, "[2001:db8::2]:40000".parse().unwrap());
        assert_eq!(packet.flow.destination, "[2001:db8::1]:53".parse().unwrap());
        assert_eq!((packet.ttl, packet.tos, packet.dont_fragment), (7, 0xa8, true));
    }

    #[test]
    fn a_priority_tag_changes_nothing_and_another_vlan_is_not_read() {
        let tagged = |tag: [u8; 4], rest: &[u8]| [&SYN[..12], &tag, rest].concat();
        let packet = tagged([0x81, 0, 0xa0, 0], &SYN[12..]);
        let packet = read(&packet).unwrap();
        assert_eq!((packet.network, packet.transport, packet.end), (18, 38, 58));
        for (identifier, read) in [(0, true), (42, false)] {
            for rest in [&SYN[12..], &[&[8, 6], &[0; 28][..]].concat()] {
                let bytes = tagged([0x81, 0, 0, identifier], rest);
                let frame = Frame { interface: InterfaceId(3), bytes: &bytes, offload: Offload::NONE };
                assert_eq!(matches!(parse(&frame), Ok(Parsed::Other)), !read, "VLAN {identifier}");
            }
        }
    }

    #[test]
    fn every_malformation_has_its_name() {
        use DropReason as Reason;
        let cases: &[(&str, &[u8], Reason)] = &[
            ("cut in Ethernet", &SYN[..13], Reason::MalformedEthernet),
            ("cut in IPv4", &SYN[..33], Reason::MalformedIpv4),
            ("cut in TCP", &SYN[..53], Reason::MalformedIpv4),
            ("length 0, as BIG TCP writes it", &syn_with(&[(2, 0), (3, 0)]), Reason::MalformedIpv4),
            ("ICMP of 7 bytes", &syn_with(&[(9, 1), (3, 27)]), Reason::MalformedIcmp),
            ("from a group", &syn_with(&[(12, 224)]), Reason::MartianSource),
            ("from loopback", &syn_with(&[(12, 127)]), Reason::MartianSource),
            ("from nobody", &syn_with(&[(12, 0), (15, 0)]), Reason::MartianSource),
            ("cut in IPv6", &QUERY[..53], Reason::MalformedIpv6),
            ("cut in extension", &QUERY[..69], Reason::MalformedIpv6),
        ];
        for (name, bytes, reason) in cases {
            assert_eq!(read(bytes).err(), Some(*reason), "{name}");
        }
        let mut wrong = SYN;
        wrong[22] = 63;
        assert_eq!(read(&wrong).err(), Some(Reason::Ipv4Checksum));
        let arp = [&SYN[..12], &[8, 6], &[0; 27]].concat();
        let frame = Frame { interface: InterfaceId(3), bytes: &arp, offload: Offload::NONE };
        assert_eq!(parse(&frame).err(), Some(Reason::MalformedArp));
    }

    #[test]
    fn a_header_may_be_cut_short_or_lie_about_its_length() {
        use DropReason as Reason;
        for (name, bytes, reason) in [
            ("TCP of 19 bytes", syn_with(&[(3, 39)]), Some(Reason::MalformedTcp)),
            ("UDP of 7 bytes", syn_with(&[(9, 17), (3, 27)]), Some(Reason::MalformedUdp)),
            ("SCTP of 11 bytes", syn_with(&[(9, 132), (3, 31)]), Some(Reason::MalformedSctp)),
            ("TCP options beyond the end", syn_with(&[(32, 0x60)]), None),
            ("TCP header of 16 bytes", syn_with(&[(32, 0x40)]), None),
            ("UDP longer than its packet", syn_with(&[(9, 17), (25, 21)]), None),
        ] {
            let packet = read(&bytes).unwrap();
            assert_eq!(packet.cut_short.then(|| packet.cut_reason()), reason, "{name}");
            assert_eq!(packet.flow.destination.port, 80, "{name}");
            let header = packet.transport_header_length();
            assert!(header <= packet.payload().len() && (header == 0) == packet.cut_short, "{name}");
        }
        let segmentation = Some(Segmentation { size: 1, kind: SegmentationKind::Tcp4, ecn: false });
        let aggregate = |length| {
            let bytes = syn_with(&[(3, length)]);
            read_with(&bytes, Offload { segmentation, ..Offload::NONE }).unwrap().aggregate()
        };
        assert_eq!(
            [aggregate(39), aggregate(40)],
            [None, segmentation],
            "nothing can be cut that is cut short"
        );
        assert_eq!(read(&syn_with(&[(3, 23)])).unwrap().flow.source.port, 0, "not even ports");
    }

    #[test]
    fn ah_goes_with_the_key_exchange_in_ipv4_alone() {
        let (port, old) =
            (|packet: Packet<'_>| packet.connection_flow().destination.port, syn_with(&[(9, 51)]));
        assert_eq!(port(read(&old).unwrap()), 500);
        let mut new = QUERY;
        for (number, expected) in [(50, 500), (51, 0)] {
            // An AH of 840 bytes, which cannot be walked.
            (new[54], new[63]) = (number, 208);
            assert_eq!(port(read(&new).unwrap()), expected, "protocol {number}");
        }
    }

    #[test]
    fn unusual_sources_are_read() {
        assert!(read(&syn_with(&[(12, 240)])).is_ok(), "240.0.0.0/4");
        assert!(read(&syn_with(&[(12, 0)])).is_ok(), "0.0.0.2");
        let from_nobody = [(9, 17), (12, 0), (15, 0), (25, 20)];
        let to_all = [(16, 255), (17, 255), (18, 255), (19, 255)];
        assert!(read(&syn_with(&[&from_nobody[..], &to_all].concat())).is_ok(), "DHCP");
    }

    #[test]
    fn fragments_have_ports_where_they_have_any() {
        let bytes = syn_with(&[(6, 0x20), (3, 28)]);
        let first = read(&bytes).unwrap();
        assert_eq!((first.fragment, first.flow.destination.port), (Fragment::First, 80));
        assert!(first.cut_short, "the rest of the header may follow in another fragment");
        assert_eq!((first.tcp_flags, first.transport_header_length()), (TcpFlags::NONE, 0));
        let bytes = syn_with(&[(6, 0x20), (3, 40)]);
        let first = read(&bytes).unwrap();
        assert_eq!((first.tcp_flags, first.transport_header_length()), (TcpFlags::SYN, 20));
        let bytes = syn_with(&[(6, 0x20), (7, 1)]);
        let later = read(&bytes).unwrap();
        assert_eq!((later.fragment, later.flow.destination.port), (Fragment::Later, 0));
        let bytes = syn_with(&[(6, 0), (7, 1)]);
        assert_eq!(read(&bytes).unwrap().fragment, Fragment::Later, "the last one");
    }

    #[test]
    fn an_offload_has_to_lie_in_the_packet() {
        let partial = |start, offset| Offload {
            checksum: ChecksumState::Partial { start, offset },
            segmentation: None,
        };
        assert!(read_with(&SYN, partial(34, 16)).unwrap().checksum_is_partial());
        assert!(!read_with(&SYN, partial(34, 6)).unwrap().checksum_is_partial());
        assert_eq!(read_with(&SYN, partial(34, 19)).err(), Some(DropReason::MalformedIpv4));
        assert_eq!(read_with(&SYN, partial(30, 16)).err(), Some(DropReason::MalformedIpv4));
        assert_eq!(read_with(&SYN, partial(u16::MAX, u16::MAX)).err(), Some(DropReason::MalformedIpv4));
    }

    #[test]
    fn an_aggregate_counts_as_what_it_stands_for() {
        let frame = [&syn_with(&[(2, 0x0f), (3, 0xd0)])[..54], &[7; 4008]].concat();
        let mut frame = frame;
        set_checksum(&mut frame[14..34]);
        let offload = |size, kind| Offload {
            segmentation: Some(Segmentation { size, kind, ecn: false }),
            ..Offload::NONE
        };
        let packet = read_with(&frame, offload(1000, SegmentationKind::Tcp4)).unwrap();
        assert_eq!((packet.pieces(), packet.longest_piece()), (5, 1040));
        for foreign in [offload(0, SegmentationKind::Tcp4), offload(1000, SegmentationKind::Udp)] {
            let packet = read_with(&frame, foreign).unwrap();
            assert_eq!((packet.pieces(), packet.longest_piece()), (1, 4048));
        }
    }
}
