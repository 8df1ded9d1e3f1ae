//! Where a fragment belongs: which datagram it is of, and which part.

use crate::net::Protocol;
use crate::packet::{Fragment, Packet};
use crate::wire::{icmp, ipv4, ipv6, tcp, u16_at, u32_at, udp};
use std::net::IpAddr;

/// Longest payload.
const LONGEST: usize = u16::MAX as usize - ipv4::HEADER;

/// What tells the fragments of a datagram from those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) identification: u32,
    /// The protocol, which is part of the name in IPv4 alone.
    pub(super) protocol: Option<Protocol>,
}

/// Where a fragment belongs.
pub(super) struct Piece {
    pub(super) key: Key,
    pub(super) start: usize,
    /// Where in the frame its payload begins.
    pub(super) from: usize,
    pub(super) length: usize,
    pub(super) last: bool,
}

impl Piece {
    /// `None` when it belongs nowhere.
    pub(super) fn of(packet: &Packet<'_>) -> Option<Self> {
        let (source, destination) = (packet.source(), packet.destination());
        let (start, more, from, key) = if packet.is_ipv4() {
            let header = packet.datagram();
            let field = u16_at(header, ipv4::FRAGMENT);
            let protocol = Some(packet.protocol());
            let identification = u32::from(u16_at(header, ipv4::IDENTIFICATION));
            let start = usize::from(field & ipv4::OFFSET) * 8;
            let key = Key { source, destination, identification, protocol };
            (start, field & ipv4::MORE_FRAGMENTS != 0, packet.transport, key)
        } else if packet.fragment_header == 0 {
            return None;
        } else {
            let header = &packet.bytes[packet.fragment_header..];
            let field = u16_at(header, ipv6::FRAGMENT_PLACE);
            let key = Key {
                source,
                destination,
                identification: u32_at(header, ipv6::FRAGMENT_IDENTIFICATION),
                protocol: None,
            };
            let from = packet.fragment_header + ipv6::FRAGMENT_HEADER;
            (usize::from(field & !7), field & ipv6::MORE_FRAGMENTS != 0, from, key)
        };
        let length = packet.end.checked_sub(from)?;
        // Where more follow, the next one's place is counted in eights.
        let length = if more { length & !7 } else { length };
        let fits = start + length <= LONGEST;
        fits.then_some(Self { key, start, from, length, last: !more })
    }
}

/// Why a fragment is not kept, but left as it is: for another machine, or for the host, to judge (RFC 8200 §4.5).
pub(super) enum Apart {
    /// No other can begin where it ends: its datagram is given up.
    Uneven,
    /// It is the first, or the only one, and has not its whole transport header.
    CutShort,
}

impl Apart {
    /// `None` for a fragment that is kept: all of IPv4's are.
    pub(super) fn of(packet: &Packet<'_>) -> Option<Self> {
        if packet.is_ipv4() || packet.fragment_header == 0 {
            return None;
        }
        let header = match packet.protocol() {
            Protocol::TCP => tcp::HEADER,
            Protocol::UDP => udp::HEADER,
            Protocol::ICMPV6 => icmp::HEADER,
            _ => 1,
        };
        let place = u16_at(packet.bytes, packet.fragment_header + ipv6::FRAGMENT_PLACE);
        let more = place & ipv6::MORE_FRAGMENTS != 0;
        let payload = packet.end - packet.fragment_header - ipv6::FRAGMENT_HEADER;
        match packet.fragment {
            Fragment::First | Fragment::Whole if packet.payload().len() < header => Some(Self::CutShort),
            _ if more && !payload.is_multiple_of(8) => Some(Self::Uneven),
            _ => None,
        }
    }
}
