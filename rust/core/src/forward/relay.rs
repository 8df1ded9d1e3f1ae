//! ICMP errors about packets of connections: read what they quote, and translate it as the packet itself was
//! translated (RFC 5508 §4.2).
//!
//! Addresses and ports are rewritten where they are quoted, and the quoted IPv4 header's checksum with them. The
//! quoted transport checksum stays as it is, as in Linux: few errors quote all that it covers.

use super::datagram::{Cut, Datagram, Link};
use crate::frame::Egress;
use crate::net::{Endpoint, FlowKey, Protocol};
use crate::network::Output;
use crate::packet::Packet;
use crate::verdict::DropReason;
use crate::wire::checksum::Sum;
use crate::wire::icmp::{self, CHECKSUM};
use crate::wire::ipv6::Quoted6;
use crate::wire::{count_hop, ipv4, ipv6, is_ipv4, ports, set_u16, u16_at};
use std::net::IpAddr;

/// Room for the part of a message that is rewritten: ICMP header, quoted headers, quoted ports.
const PREFIX_ROOM: usize = icmp::HEADER + ipv6::HEADER_ROOM + ports::LENGTH;

/// The packet that an error is about, as far as it is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Where the quoted IP header begins, in the frame.
    pub network: usize,
    /// Where what it carries begins.
    pub transport: usize,
    /// Protocol, addresses and ports; the ports are 0 where none are quoted. Of a later fragment of IPv4 they are, as in
    /// the kernel, what stands in their place.
    pub flow: FlowKey,
    /// Whether ports are quoted.
    pub has_ports: bool,
    /// Whether it is the first fragment, or whole.
    pub is_first: bool,
    /// The quoted "don't fragment".
    pub dont_fragment: bool,
    /// The quoted type of service.
    pub tos: u8,
}

impl Quote {
    /// What the ICMP error `packet` quotes; `None` when it quotes less than an IP header, or for IPv6 no header of that
    /// version.
    #[must_use]
    pub fn of(packet: &Packet<'_>) -> Option<Self> {
        Self::at(packet, packet.transport + icmp::HEADER, packet.is_ipv4())
    }

    /// The packet whose header is quoted at `network`, a place in the frame.
    #[must_use]
    pub fn at(packet: &Packet<'_>, network: usize, is_ipv4: bool) -> Option<Self> {
        let quoted = packet.bytes.get(network..packet.end)?;
        if is_ipv4 { Self::v4(quoted, network) } else { Self::v6(quoted, network) }
    }

    fn v4(quoted: &[u8], network: usize) -> Option<Self> {
        let header: &[u8; ipv4::HEADER] = quoted.first_chunk()?;
        let (source, destination) = ipv4::ends(header);
        let length = ipv4::said_length(header);
        if length < ipv4::HEADER {
            return None;
        }
        let field = u16_at(header, ipv4::FRAGMENT);
        let quote = Self {
            network,
            transport: network + length,
            flow: FlowKey {
                protocol: Protocol(header[ipv4::PROTOCOL]),
                source: Endpoint::new(source.into(), 0),
                destination: Endpoint::new(destination.into(), 0),
            },
            has_ports: false,
            is_first: field & ipv4::OFFSET == 0,
            dont_fragment: field & ipv4::DONT_FRAGMENT != 0,
            tos: header[ipv4::TOS],
        };
        Some(quote.with_ports(quoted, true))
    }

    fn v6(quoted: &[u8], network: usize) -> Option<Self> {
        let Quoted6 { source, destination, protocol, transport, is_first, traffic_class } =
            ipv6::quoted(quoted)?;
        let quote = Self {
            network,
            transport: network + transport,
            flow: FlowKey {
                protocol,
                source: Endpoint::new(source.into(), 0),
                destination: Endpoint::new(destination.into(), 0),
            },
            has_ports: false,
            is_first,
            dont_fragment: true,
            tos: traffic_class,
        };
        Some(quote.with_ports(quoted, is_first))
    }

    /// Whether so little is quoted of a packet that has ports that they are missing.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        let in_ipv4 = self.flow.source.address.is_ipv4() && self.flow.protocol != Protocol::UDP;
        bears_ports(self.flow.protocol) && !self.has_ports && (self.is_first || in_ipv4)
    }

    fn with_ports(mut self, quoted: &[u8], has_transport: bool) -> Self {
        if let Some(transport) = quoted.get(self.transport - self.network..)
            && bears_ports(self.flow.protocol)
            && has_transport
            && transport.len() >= ports::LENGTH
        {
            self.flow.source.port = u16_at(transport, ports::SOURCE);
            self.flow.destination.port = u16_at(transport, ports::DESTINATION);
            self.has_ports = true;
        }
        self
    }
}

const fn bears_ports(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::TCP | Protocol::UDP | Protocol::SCTP)
}

/// Which way an error goes, and so what of it is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translation {
    /// To the server, about a packet to the client: the error's destination and the quoted source become
    /// the server's.
    ToServer(Endpoint),
    /// To the client, about a packet to the server: the error's source and the quoted destination become
    /// the virtual service's.
    ToClient(Endpoint),
}

/// Sends the error `packet` on, translated, out by `out`. It is cut if it is too long, "don't fragment" or not,
/// for nobody is told about it. `forwarded` says whether this is a hop that counts.
///
/// # Errors
/// [`DropReason::TtlExpired`], [`DropReason::TooBig`] for IPv6, [`DropReason::NoRoute`] when packet and
/// translation are of different families, and the egress's own.
pub fn emit<E: Egress + ?Sized>(
    packet: &Packet<'_>,
    quote: &Quote,
    translation: Translation,
    forwarded: bool,
    out: &Output,
    egress: &mut E,
) -> Result<(), DropReason> {
    if forwarded && packet.ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    let mut room = [0; ipv6::HEADER_ROOM];
    let header = room.get_mut(..packet.header().len()).ok_or(DropReason::TooBig)?;
    header.copy_from_slice(packet.header());
    let mut prefix = [0; PREFIX_ROOM];
    let (start, end) = (packet.transport, quote.transport + if quote.has_ports { ports::LENGTH } else { 0 });
    let end = end.min(packet.end);
    let prefix = prefix.get_mut(..end - start).ok_or(DropReason::TooBig)?;
    prefix.copy_from_slice(&packet.bytes[start..end]);
    let rest = &packet.bytes[end..packet.end];
    translate(quote, translation, header, prefix, start, rest)?;
    if forwarded {
        count_hop(header);
    } else if packet.is_ipv4() {
        ipv4::set_checksum(header);
    }
    let cut = Cut { forced: packet.is_ipv4(), ..Cut::of(packet) };
    Datagram { header, runs: [prefix, rest, &[], &[]], cut }.emit(&Link::of(packet, out), egress)
}

/// Translates a whole error in its own place, `datagram`, which is a copy of the packet's.
///
/// # Errors
/// [`DropReason::NoRoute`] when packet and translation are of different families.
pub fn translate_in_place(
    packet: &Packet<'_>,
    quote: &Quote,
    translation: Translation,
    datagram: &mut [u8],
) -> Result<(), DropReason> {
    let (header, message) = datagram.split_at_mut(packet.transport - packet.network);
    translate(quote, translation, header, message, packet.transport, &[])?;
    if packet.is_ipv4() {
        ipv4::set_checksum(header);
    }
    Ok(())
}

/// Rewrites an IP header and the beginning of the message behind it, which starts at `start` of the frame and
/// runs on with `rest`. The IPv4 header's checksum is left to the caller.
fn translate(
    quote: &Quote,
    translation: Translation,
    header: &mut [u8],
    message: &mut [u8],
    start: usize,
    rest: &[u8],
) -> Result<(), DropReason> {
    let quoted = &mut message[quote.network - start..];
    let transport = quote.transport - quote.network;
    match (translation, quote.flow.source.address) {
        (Translation::ToServer(Endpoint { address: IpAddr::V4(server), port }), IpAddr::V4(_)) => {
            ipv4::set_destination(header, server);
            ipv4::set_source(quoted, server);
            sum_quoted(quoted);
            set_port(quote, quoted, transport + ports::SOURCE, port);
        }
        (Translation::ToServer(Endpoint { address: IpAddr::V6(server), port }), IpAddr::V6(_)) => {
            ipv6::set_destination(header, server);
            ipv6::set_source(quoted, server);
            set_port(quote, quoted, transport + ports::SOURCE, port);
        }
        (Translation::ToClient(Endpoint { address: IpAddr::V4(asked), port }), IpAddr::V4(_)) => {
            ipv4::set_source(header, asked);
            ipv4::set_destination(quoted, asked);
            sum_quoted(quoted);
            set_port(quote, quoted, transport + ports::DESTINATION, port);
        }
        (Translation::ToClient(Endpoint { address: IpAddr::V6(asked), port }), IpAddr::V6(_)) => {
            ipv6::set_source(header, asked);
            ipv6::set_destination(quoted, asked);
            set_port(quote, quoted, transport + ports::DESTINATION, port);
        }
        _ => return Err(DropReason::NoRoute),
    }
    set_u16(message, CHECKSUM, 0);
    let pseudo = if is_ipv4(header) {
        Sum::ZERO
    } else {
        let (source, destination) = ipv6::ends(header);
        Sum::pseudo_header(source.into(), destination.into(), Protocol::ICMPV6, message.len() + rest.len())
    };
    let checksum = pseudo.bytes(message).bytes(rest).checksum();
    set_u16(message, CHECKSUM, checksum);
    Ok(())
}

fn set_port(quote: &Quote, quoted: &mut [u8], at: usize, port: u16) {
    if quote.has_ports {
        set_u16(quoted, at, port);
    }
}

/// Sums a quoted IPv4 header anew, if all of it is quoted.
fn sum_quoted(quoted: &mut [u8]) {
    let length = ipv4::said_length(quoted);
    if (ipv4::HEADER..=quoted.len()).contains(&length) {
        ipv4::set_checksum(quoted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Capture;
    use crate::forward::testing::{SYN, out, packet};
    use crate::net::InterfaceId;

    /// A port unreachable from 10.0.0.9 to 10.99.0.1, about as much of a packet as is given.
    fn about(quoted: &[u8]) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
        frame.resize(34, 0);
        let fields = ipv4::Fields {
            tos: 0,
            total_length: (28 + quoted.len()) as u16,
            identification: 5,
            fragment: ipv4::DONT_FRAGMENT,
            ttl: 9,
            protocol: Protocol::ICMP,
            source: [10, 0, 0, 9].into(),
            destination: [10, 99, 0, 1].into(),
        };
        fields.write(&mut frame[14..]);
        frame.extend([3, 3, 0, 0, 0, 0, 0, 0]);
        frame.extend(quoted);
        let checksum = Sum::ZERO.bytes(&frame[34..]).checksum();
        set_u16(&mut frame, 36, checksum);
        frame
    }

    #[test]
    fn a_quote_is_translated_as_the_packet_was() {
        let frame = about(&SYN[14..42]);
        let error = packet(&frame);
        let quote = Quote::of(&error).unwrap();
        assert_eq!(quote.flow, packet(&SYN).flow);
        let mut sent = Capture::default();
        let asked: Endpoint = "10.99.0.7:81".parse().unwrap();
        let translation = Translation::ToClient(asked);
        emit(&error, &quote, translation, true, &out(InterfaceId(7), 1500), &mut sent).unwrap();
        let relayed = packet(&sent.frames[0].1);
        assert_eq!(
            (relayed.source(), relayed.destination(), relayed.ttl),
            (asked.address, error.destination(), 8)
        );
        let quote = Quote::of(&relayed).unwrap();
        assert_eq!((quote.flow.source, quote.flow.destination), (packet(&SYN).flow.source, asked));
        assert_eq!(Sum::ZERO.bytes(relayed.payload()).checksum(), 0);
        assert_eq!(Sum::ZERO.bytes(&relayed.payload()[8..28]).checksum(), 0);
        let mut copy = error.datagram().to_vec();
        translate_in_place(&error, &quote, translation, &mut copy).unwrap();
        copy[8] -= 1;
        ipv4::set_checksum(&mut copy);
        assert_eq!(copy, relayed.datagram());
    }

    #[test]
    fn short_quotes_have_no_ports() {
        for (length, ports) in [(24, true), (23, false), (20, false)] {
            let frame = about(&SYN[14..14 + length]);
            assert_eq!(Quote::of(&packet(&frame)).unwrap().has_ports, ports, "{length}");
        }
        assert_eq!(Quote::of(&packet(&about(&SYN[14..33]))), None);
    }

    #[test]
    fn lying_lengths_are_harmless() {
        let mut quoted = SYN[14..42].to_vec();
        for first in 0x40..=0x4f {
            quoted[0] = first;
            let frame = about(&quoted);
            let error = packet(&frame);
            let Some(quote) = Quote::of(&error) else { continue };
            let mut sent = Capture::default();
            let server = Translation::ToServer("10.0.0.3:8080".parse().unwrap());
            emit(&error, &quote, server, true, &out(InterfaceId(7), 1500), &mut sent).unwrap();
            assert_eq!(Sum::ZERO.bytes(packet(&sent.frames[0].1).payload()).checksum(), 0, "{first:x}");
        }
    }
}
