//! A frame whose headers were read once. Everything below works with offsets that were checked here.

use crate::frame::{ChecksumState, Offload, Segmentation, SegmentationKind};
use crate::net::{Endpoint, FlowKey, InterfaceId, Mac, Protocol};
use crate::verdict::DropReason;
use crate::wire::arp::Arp;
use crate::wire::checksum::Sum;
use crate::wire::ipv4;
use crate::wire::ipv6;
use crate::wire::tcp::{self, Tcp};
use crate::wire::udp;
use crate::wire::{icmp, sctp};
use std::net::IpAddr;

mod parse;

pub use crate::wire::tcp::TcpFlags;
pub use parse::parse;

/// The UDP port of the Internet Key Exchange (RFC 7296).
const KEY_EXCHANGE: u16 = 500;

/// An IP packet in its frame. Made by [`parse()`] alone, which checks all of its offsets: code that
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
    /// Whether it, or a first fragment, ends inside its TCP, UDP or SCTP header.
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

    /// What its connection is found by: its own tuple, but for ESP and IPv4's AH, which have no ports and go with the
    /// key exchange of the same hosts. In IPv6, AH is an extension header: what stands behind it decides.
    #[must_use]
    pub const fn connection_flow(&self) -> FlowKey {
        match self.flow.protocol {
            Protocol::AH if !self.is_ipv4() => self.flow,
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
        self.is_whole(self.icmp_protocol()).then(|| self.payload()[icmp::TYPE])
    }

    /// Whether it is an ICMP message about another packet, about which nobody sends one in turn.
    #[must_use]
    pub fn is_icmp_error(&self) -> bool {
        let error = if self.is_ipv4() { icmp::v4::is_error } else { icmp::v6::is_error };
        self.icmp_type().is_some_and(error)
    }

    /// Whether it is an ICMP message about another packet, or the first fragment of one.
    #[must_use]
    pub fn begins_icmp_error(&self) -> bool {
        let error = if self.is_ipv4() { icmp::v4::is_error } else { icmp::v6::is_error };
        let begins = self.fragment != Fragment::Later && self.protocol() == self.icmp_protocol();
        begins && self.payload().first().is_some_and(|kind| error(*kind))
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
        if self.is_ipv4() || self.bytes[self.network + ipv6::NEXT_HEADER] != ipv6::HOP_BY_HOP {
            return None;
        }
        let header = &self.bytes[self.network + ipv6::HEADER..self.transport];
        Some(&header[..ipv6::options_length(header)])
    }

    /// Length of the transport header; 0 for protocols that the engine does not know, and in
    /// later fragments.
    #[must_use]
    pub fn transport_header_length(&self) -> usize {
        match self.protocol() {
            _ if self.fragment == Fragment::Later || self.cut_short => 0,
            // A header that says that it is shorter or longer than it can be is taken for as long as it can be.
            Protocol::TCP => tcp::said_length(self.payload()).clamp(tcp::HEADER, self.payload().len()),
            Protocol::UDP => udp::HEADER,
            Protocol::SCTP => sctp::HEADER,
            protocol if protocol == self.icmp_protocol() && self.fragment == Fragment::Whole => icmp::HEADER,
            _ => 0,
        }
    }

    /// Where in the transport header an Internet checksum stands that covers the addresses too.
    #[must_use]
    pub fn checksum_field(&self) -> Option<usize> {
        match self.protocol() {
            _ if self.fragment == Fragment::Later || self.cut_short => None,
            Protocol::TCP => Some(tcp::CHECKSUM),
            Protocol::UDP => Some(udp::CHECKSUM),
            Protocol::ICMPV6 if self.is_icmp() && !self.is_ipv4() => Some(icmp::CHECKSUM),
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
        self.fragment == Fragment::Whole && !self.cut_short && self.protocol() == protocol
    }

    /// The family's ICMP.
    #[must_use]
    pub const fn icmp_protocol(&self) -> Protocol {
        if self.is_ipv4() { Protocol::ICMP } else { Protocol::ICMPV6 }
    }
}
