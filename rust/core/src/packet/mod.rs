//! A frame whose headers were read once. Everything below works with offsets that were checked here.

use crate::frame::{ChecksumState, Frame, Offload, Segmentation, SegmentationKind};
use crate::net::{Endpoint, FlowKey, InterfaceId, Mac, Protocol};
use crate::verdict::DropReason;
use crate::wire::arp::Arp;
use crate::wire::checksum::Sum;
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ipv4::{self, Ipv4, Ipv4Error};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::tcp::{self, Tcp};
use crate::wire::udp;
use crate::wire::{icmp, sctp, u16_at};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use crate::wire::tcp::TcpFlags;

/// The UDP port of the Internet Key Exchange (RFC 7296).
const KEY_EXCHANGE: u16 = 500;

/// An IP packet in its frame. Made by [`parse`] alone, which checks all of its offsets: code that
/// gets one indexes without looking at lengths again.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The interface that it came in on.
    pub interface: InterfaceId,
    /// The whole frame.
    pub bytes: &'a [u8],
    /// What the sender left to the network card.
    pub offload: Offload,
    /// Whom the frame was addressed to.
    pub destination_mac: Mac,
    /// Who sent the frame.
    pub source_mac: Mac,
    /// Where the IP header begins, behind Ethernet header and VLAN tags.
    pub network: usize,
    /// Where the transport header begins, behind IP options and extension headers.
    pub transport: usize,
    /// Where the IP packet ends; link-layer padding may follow.
    pub end: usize,
    /// Protocol, addresses and ports. The ports are 0 where there are none, as in a later fragment.
    pub flow: FlowKey,
    /// Time to live, or hop limit, as it came.
    pub ttl: u8,
    /// Whether nobody may fragment it; always so in IPv6.
    pub dont_fragment: bool,
    /// Whether it is a whole IP packet.
    pub fragment: Fragment,
    /// Where IPv6's fragment header begins; 0 where there is none.
    pub fragment_header: usize,
    /// What it was put together from, if it came in fragments.
    pub reassembled: Option<Fragments>,
    /// Whether it ends inside its TCP, UDP or SCTP header.
    pub cut_short: bool,
    /// Type of service, or traffic class.
    pub tos: u8,
    /// TCP's control bits; none when it is not TCP.
    pub tcp_flags: TcpFlags,
}

/// Which part of an IP packet a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// All of it.
    Whole,
    /// The beginning, transport header included as far as it reaches.
    First,
    /// A part without transport header.
    Later,
}

/// What is remembered of the fragments of a packet that was put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragments {
    /// Length of the longest, from its IP header on.
    pub longest: u16,
    /// The number that they had in common.
    pub identification: u32,
    /// Whether there was only one: a whole IPv6 packet with a fragment header (RFC 6946).
    pub alone: bool,
}

/// What a frame turned out to be.
#[derive(Clone, Copy, Debug)]
pub enum Parsed<'a> {
    /// An IP packet of either family.
    Ip(Packet<'a>),
    /// An untagged ARP packet.
    Arp(Arp),
    /// Something that the engine has no business with.
    Other,
}

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
        // A tagged one belongs to a VLAN device of the host, which is an interface of its own.
        ethernet::ARP if link.payload == ethernet::HEADER => {
            Arp::parse(&frame.bytes[link.payload..]).map(Parsed::Arp).ok_or(DropReason::MalformedArp)
        }
        _ => Ok(Parsed::Other),
    }
}

impl<'a> Packet<'a> {
    /// The IP packet: header and payload.
    #[must_use]
    pub fn datagram(&self) -> &'a [u8] {
        &self.bytes[self.network..self.end]
    }

    /// Length of the IP packet in bytes.
    #[must_use]
    pub const fn ip_length(&self) -> usize {
        self.end - self.network
    }

    /// The IP header with its options or extension headers.
    #[must_use]
    pub fn header(&self) -> &'a [u8] {
        &self.bytes[self.network..self.transport]
    }

    /// Transport header and data.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.transport..self.end]
    }

    /// Whether it is IPv4; it is IPv6 otherwise.
    #[must_use]
    pub const fn is_ipv4(&self) -> bool {
        self.flow.source.address.is_ipv4()
    }

    /// What its connection is found by: its own tuple, but for ESP and AH, which have no ports and go with the
    /// key exchange of the same hosts.
    #[must_use]
    pub const fn connection_flow(&self) -> FlowKey {
        match self.flow.protocol {
            Protocol::ESP | Protocol::AH => FlowKey {
                protocol: Protocol::UDP,
                source: Endpoint::new(self.flow.source.address, KEY_EXCHANGE),
                destination: Endpoint::new(self.flow.destination.address, KEY_EXCHANGE),
            },
            _ => self.flow,
        }
    }

    /// The address that it comes from.
    #[must_use]
    pub const fn source(&self) -> IpAddr {
        self.flow.source.address
    }

    /// The address that it is to go to.
    #[must_use]
    pub const fn destination(&self) -> IpAddr {
        self.flow.destination.address
    }

    /// The transport protocol.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.flow.protocol
    }

    /// The TCP header, when it is a whole TCP packet.
    #[must_use]
    pub fn tcp(&self) -> Option<Tcp<'a>> {
        self.is_whole(Protocol::TCP).then(|| Tcp::parse(self.payload())).flatten()
    }

    /// The ICMP or ICMPv6 type, when it is a whole message.
    #[must_use]
    pub fn icmp_type(&self) -> Option<u8> {
        self.is_whole(self.icmp_protocol()).then(|| self.payload()[0])
    }

    /// Whether it is an ICMP message about another packet, about which nobody sends one in turn.
    #[must_use]
    pub fn is_icmp_error(&self) -> bool {
        let error = if self.is_ipv4() { icmp::v4::is_error } else { icmp::v6::is_error };
        self.icmp_type().is_some_and(error)
    }

    /// The name of what is wrong with a packet that is [cut short](Packet::cut_short).
    #[must_use]
    pub const fn cut_reason(&self) -> DropReason {
        match self.flow.protocol {
            Protocol::TCP => DropReason::MalformedTcp,
            Protocol::UDP => DropReason::MalformedUdp,
            _ => DropReason::MalformedSctp,
        }
    }

    /// Whether it is an ICMP message of the kinds that are relayed to who sent the packet that they are about.
    #[must_use]
    pub fn is_relayed_error(&self) -> bool {
        let relayed = if self.is_ipv4() { icmp::v4::is_relayed } else { icmp::v6::is_error };
        self.icmp_type().is_some_and(relayed)
    }

    /// Whether it is an ICMP or ICMPv6 message.
    #[must_use]
    pub fn is_icmp(&self) -> bool {
        self.is_whole(self.icmp_protocol())
    }

    /// Whether an ICMP or ICMPv6 message is undamaged.
    #[must_use]
    pub fn icmp_checksum_is_right(&self) -> bool {
        let message = self.payload();
        let pseudo = if self.is_ipv4() {
            Sum::ZERO
        } else {
            Sum::pseudo_header(self.source(), self.destination(), Protocol::ICMPV6, message.len())
        };
        self.checksum_is_partial() || pseudo.bytes(message).checksum() == 0
    }

    /// Whether its IPv4 header has options.
    #[must_use]
    pub const fn has_options(&self) -> bool {
        self.is_ipv4() && self.transport - self.network > ipv4::HEADER
    }

    /// Its IPv6 hop-by-hop header, if it has one.
    #[must_use]
    pub fn hop_by_hop(&self) -> Option<&'a [u8]> {
        if self.is_ipv4() || self.bytes[self.network + 6] != ipv6::HOP_BY_HOP {
            return None;
        }
        let header = &self.bytes[self.network + ipv6::HEADER..self.transport];
        Some(&header[..(usize::from(header[1]) + 1) * 8])
    }

    /// Length of the transport header; 0 for protocols that the engine does not know, and in
    /// fragments.
    #[must_use]
    pub fn transport_header_length(&self) -> usize {
        match self.protocol() {
            _ if self.fragment != Fragment::Whole || self.cut_short => 0,
            // A header that says that it is shorter or longer than it can be is taken for as long as it can be.
            Protocol::TCP => {
                (usize::from(self.payload()[12] >> 4) * 4).clamp(tcp::HEADER, self.payload().len())
            }
            Protocol::UDP => udp::HEADER,
            Protocol::SCTP => sctp::HEADER,
            protocol if protocol == self.icmp_protocol() => icmp::HEADER,
            _ => 0,
        }
    }

    /// Where in the transport header an Internet checksum stands that covers the addresses too.
    #[must_use]
    pub fn checksum_field(&self) -> Option<usize> {
        match self.protocol() {
            _ if self.fragment != Fragment::Whole || self.cut_short => None,
            Protocol::TCP => Some(tcp::CHECKSUM),
            Protocol::UDP => Some(udp::CHECKSUM),
            Protocol::ICMPV6 if !self.is_ipv4() => Some(icmp::CHECKSUM),
            _ => None,
        }
    }

    /// Whether the transport checksum is unfinished: its field holds the pseudo-header's sum.
    #[must_use]
    pub fn checksum_is_partial(&self) -> bool {
        matches!((self.offload.checksum, self.checksum_field()), (ChecksumState::Partial { start, offset }, Some(field))
            if usize::from(start) == self.transport && usize::from(offset) == field)
    }

    /// How to cut it, when it stands for several packets of the kind that its headers say.
    #[must_use]
    pub fn aggregate(&self) -> Option<Segmentation> {
        self.offload.segmentation.filter(|segmentation| match segmentation.kind {
            _ if segmentation.size == 0 => false,
            SegmentationKind::Tcp4 => self.is_ipv4() && self.is_whole(Protocol::TCP),
            SegmentationKind::Tcp6 => !self.is_ipv4() && self.is_whole(Protocol::TCP),
            SegmentationKind::Udp => self.is_whole(Protocol::UDP),
        })
    }

    /// How many packets it stands for; 1 for all but aggregates.
    #[must_use]
    pub fn pieces(&self) -> usize {
        let data = self.payload().len() - self.transport_header_length();
        self.aggregate().map_or(1, |segmentation| data.div_ceil(usize::from(segmentation.size)).max(1))
    }

    /// Length of the longest IP packet that it stands for: its own, but for aggregates, and for IPv6 packets
    /// that came in fragments, which nobody but their sender may cut and which are cut as he did.
    #[must_use]
    pub fn longest_piece(&self) -> usize {
        if let Some(fragments) = self.reassembled.filter(|_| !self.is_ipv4()) {
            return usize::from(fragments.longest);
        }
        let headers = self.transport - self.network + self.transport_header_length();
        let piece = self.aggregate().map_or(usize::MAX, |s| headers + usize::from(s.size));
        self.ip_length().min(piece)
    }

    fn is_whole(&self, protocol: Protocol) -> bool {
        self.fragment == Fragment::Whole && self.protocol() == protocol
    }

    /// The family's ICMP.
    #[must_use]
    pub const fn icmp_protocol(&self) -> Protocol {
        if self.is_ipv4() { Protocol::ICMP } else { Protocol::ICMPV6 }
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
    let packet = Packet {
        interface: frame.interface,
        bytes: frame.bytes,
        offload: frame.offload,
        destination_mac: link.destination,
        source_mac: link.source,
        network: link.payload,
        transport: link.payload + header.header_length(),
        end: link.payload + header.total_length(),
        flow: without_ports(header.protocol(), header.source().into(), header.destination().into()),
        ttl: header.ttl(),
        dont_fragment: header.dont_fragment(),
        fragment,
        fragment_header: 0,
        reassembled: None,
        cut_short: false,
        tos: header.tos(),
        tcp_flags: TcpFlags::NONE,
    };
    with_transport(packet, DropReason::MalformedIpv4)
}

fn parse_ipv6<'a>(frame: &Frame<'a>, link: &Ethernet) -> Result<Packet<'a>, DropReason> {
    let header = Ipv6::parse(&frame.bytes[link.payload..]).ok_or(DropReason::MalformedIpv6)?;
    if is_martian_v6(header.source(), header.destination()) {
        return Err(DropReason::MartianSource);
    }
    let fragment = match header.fragment() {
        None | Some((0, false)) => Fragment::Whole,
        Some((0, true)) => Fragment::First,
        Some(_) => Fragment::Later,
    };
    let packet = Packet {
        interface: frame.interface,
        bytes: frame.bytes,
        offload: frame.offload,
        destination_mac: link.destination,
        source_mac: link.source,
        network: link.payload,
        transport: link.payload + header.transport(),
        end: link.payload + header.total_length(),
        flow: without_ports(header.protocol(), header.source().into(), header.destination().into()),
        ttl: header.hop_limit(),
        dont_fragment: true,
        fragment,
        fragment_header: match header.fragment_header() {
            0 => 0,
            place => link.payload + place,
        },
        reassembled: None,
        cut_short: false,
        tos: header.traffic_class(),
        tcp_flags: TcpFlags::NONE,
    };
    with_transport(packet, DropReason::MalformedIpv6)
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
        // The rest of the transport header may follow in another fragment.
        (Fragment::Later, _) => {}
        (fragment, Protocol::TCP | Protocol::UDP | Protocol::SCTP) => {
            if payload.len() >= 4 {
                set_ports(&mut packet, u16_at(payload, 0), u16_at(payload, 2));
            }
            let needed = match packet.protocol() {
                Protocol::TCP => tcp::HEADER,
                Protocol::UDP => udp::HEADER,
                _ => sctp::HEADER,
            };
            // The rest of a fragment's header may follow in another.
            packet.cut_short = fragment == Fragment::Whole && payload.len() < needed;
            if fragment == Fragment::Whole && packet.protocol() == Protocol::TCP && !packet.cut_short {
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

const fn without_ports(protocol: Protocol, source: IpAddr, destination: IpAddr) -> FlowKey {
    FlowKey { protocol, source: Endpoint::new(source, 0), destination: Endpoint::new(destination, 0) }
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

/// As in IPv4; a host that checks whether its address is free asks a group from `::` (RFC 4862).
const fn is_martian_v6(source: Ipv6Addr, destination: Ipv6Addr) -> bool {
    source.is_multicast() || source.is_loopback() || source.is_unspecified() && !destination.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn steps_over_vlan_tags() {
        let tags = [0x88, 0xa8, 0, 7, 0x81, 0, 0, 42];
        let tagged = [&SYN[..12], &tags, &SYN[12..]].concat();
        let packet = read(&tagged).unwrap();
        assert_eq!((packet.network, packet.transport, packet.end), (22, 42, 62));
        let arp = [&SYN[..12], &tags[4..], &[8, 6], &[0; 28]].concat();
        let frame = Frame { interface: InterfaceId(3), bytes: &arp, offload: Offload::NONE };
        assert!(matches!(parse(&frame), Ok(Parsed::Other)), "ARP of a VLAN is a VLAN device's");
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
        assert_eq!(read(&syn_with(&[(3, 23)])).unwrap().flow.source.port, 0, "not even ports");
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
        assert_eq!((first.tcp_flags, first.transport_header_length()), (TcpFlags::NONE, 0));
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
