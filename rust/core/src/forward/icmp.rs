//! Telling a sender what became of its packet: ICMP (RFC 792, RFC 1812 §4.3) and ICMPv6 errors
//! (RFC 4443), built as a Linux host builds them.
//!
//! A message quotes the packet from its IP header on, as far as 576 bytes (IPv6: 1,280) hold it, or the way back
//! if that takes less. An aggregate is quoted as it is, its length and its unfinished checksum included, as Linux does: the
//! sender looks at addresses, ports and sequence number.
//!
//! Nobody is told about an ICMP error, a later fragment, or what was sent to many at once.

use super::datagram::Link;
use super::relay::Quote;
use crate::frame::{Egress, Offload};
use crate::net::Protocol;
use crate::network::Output;
use crate::packet::{Fragment, Packet};
use crate::verdict::DropReason;
use crate::wire::checksum::Sum;
use crate::wire::icmp::{self, HEADER, v4, v6};
use crate::wire::ipv6::Ipv6;
use crate::wire::{count_hop, ipv4, ipv6};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest message: what every host can take.
const LONGEST_V4: usize = 576;
const LONGEST_V6: usize = ipv6::LEAST_MTU;
/// Precedence "internetwork control".
const TOS: u8 = 0xc0;
/// Of the packet's own type of service, the bits that its error bears too.
const TOS_KEPT: u8 = 0x1e;
const TTL: u8 = 64;

/// What a sender is told, and what becomes of its packet where it is not to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    what: What,
    hop_counted: bool,
    otherwise: DropReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    PortUnreachable,
    HostUnreachable,
    ProtocolUnreachable,
    TimeExceeded,
    ReassemblyTimeExceeded,
    TooBig(u32),
    Relayed(Header),
}

/// The beginning of a message: type, code, and the header's second word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    kind: u8,
    code: u8,
    rest: u32,
}

impl Error {
    /// Nobody serves that port: what a client hears when no real server may be chosen.
    pub const PORT_UNREACHABLE: Self = Self::new(What::PortUnreachable, DropReason::NoServer);
    /// There is no way to that host.
    pub const HOST_UNREACHABLE: Self = Self::new(What::HostUnreachable, DropReason::NoRoute);
    /// The host does not speak that protocol, which IPv6 calls a parameter problem.
    pub const PROTOCOL_UNREACHABLE: Self = Self::new(What::ProtocolUnreachable, DropReason::HostSilent);
    /// The packet's time to live ended here.
    pub const TIME_EXCEEDED: Self = Self::new(What::TimeExceeded, DropReason::TtlExpired);
    /// The rest of a datagram did not come in time, of which the packet is the first fragment.
    pub const REASSEMBLY_TIME_EXCEEDED: Self = Self::new(What::ReassemblyTimeExceeded, DropReason::Fragment);

    /// The packet may not be cut, and its way takes no more than `mtu` bytes.
    #[must_use]
    pub const fn too_big(mtu: u32) -> Self {
        Self::new(What::TooBig(mtu), DropReason::TooBig)
    }

    /// Somebody else's IPv4 error: type, code and the header's second word.
    #[must_use]
    pub const fn relayed(kind: u8, code: u8, rest: u32) -> Self {
        Self::new(What::Relayed(Header { kind, code, rest }), DropReason::NoRoute)
    }

    /// The same where the hop was counted before: the quote shows the time to live after it.
    #[must_use]
    pub const fn behind_hop(self) -> Self {
        Self { hop_counted: true, ..self }
    }

    /// The same, about a packet that is dropped for another `reason` where its sender is not to be told.
    #[must_use]
    pub const fn or(self, reason: DropReason) -> Self {
        Self { otherwise: reason, ..self }
    }

    /// What the packet is dropped for where its sender is not to be told.
    #[must_use]
    pub const fn otherwise(self) -> DropReason {
        self.otherwise
    }

    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.what {
            What::PortUnreachable => "port unreachable",
            What::HostUnreachable => "host unreachable",
            What::ProtocolUnreachable => "protocol unreachable",
            What::TimeExceeded | What::ReassemblyTimeExceeded => "time exceeded",
            What::TooBig(_) => "fragmentation needed",
            What::Relayed(_) => "another's error",
        }
    }

    const fn new(what: What, otherwise: DropReason) -> Self {
        Self { what, hop_counted: false, otherwise }
    }

    fn header_v4(self) -> Header {
        let (kind, code, rest) = match self.what {
            What::PortUnreachable => (v4::UNREACHABLE, v4::PORT, 0),
            What::HostUnreachable => (v4::UNREACHABLE, v4::HOST, 0),
            What::ProtocolUnreachable => (v4::UNREACHABLE, v4::PROTOCOL, 0),
            What::TimeExceeded => (v4::TIME_EXCEEDED, 0, 0),
            What::ReassemblyTimeExceeded => (v4::TIME_EXCEEDED, v4::REASSEMBLY, 0),
            // 16 bits are for it, behind 16 that are zero.
            What::TooBig(mtu) => (v4::UNREACHABLE, v4::FRAGMENTATION_NEEDED, mtu.min(u32::from(u16::MAX))),
            What::Relayed(header) => return header,
        };
        Header { kind, code, rest }
    }

    /// `None` for what only IPv4 has.
    fn header_v6(self, about: &About<'_>) -> Option<Header> {
        let (kind, code, rest) = match self.what {
            What::PortUnreachable => (v6::UNREACHABLE, v6::PORT, 0),
            What::HostUnreachable => (v6::UNREACHABLE, v6::ADDRESS, 0),
            What::ProtocolUnreachable => {
                let field = Ipv6::parse(about.datagram).map_or(0, |header| header.protocol_field());
                (v6::PARAMETER_PROBLEM, v6::NEXT_HEADER, field as u32)
            }
            What::TimeExceeded => (v6::TIME_EXCEEDED, 0, 0),
            What::ReassemblyTimeExceeded => (v6::TIME_EXCEEDED, v6::REASSEMBLY, 0),
            What::TooBig(mtu) => (v6::PACKET_TOO_BIG, 0, mtu),
            What::Relayed(_) => return None,
        };
        Some(Header { kind, code, rest })
    }
}

/// Who tells, and by which way.
#[derive(Clone, Copy, Debug)]
pub struct Speaker<'a> {
    /// The message's source.
    pub address: IpAddr,
    /// Its IP identification.
    pub identification: u16,
    /// The way to who is told.
    pub out: &'a Output,
}

/// Tells the sender of `packet`; returns the message's length, from its IP header on.
///
/// # Errors
/// [`Error::otherwise`] when the sender is not to be told, [`DropReason::TooBig`] when the way takes no message, and the
/// egress's own.
pub fn emit<E: Egress + ?Sized>(
    error: Error,
    packet: &Packet<'_>,
    speaker: &Speaker<'_>,
    egress: &mut E,
) -> Result<usize, DropReason> {
    if !may_be_told(packet) {
        return Err(error.otherwise);
    }
    let about =
        About { datagram: packet.datagram(), tos: packet.tos, ttl: packet.ttl, sender: packet.source() };
    about.emit(error, packet, speaker, egress)
}

/// Tells the sender of the packet that `quote` says `packet` quotes: what came back about a tunnel, told to the client
/// whose packet was in it. IPv4 alone. Returns the message's length, from its IP header on.
///
/// # Errors
/// As [`emit`]'s; nobody needs not to be told.
pub fn emit_about<E: Egress + ?Sized>(
    error: Error,
    packet: &Packet<'_>,
    quote: &Quote,
    speaker: &Speaker<'_>,
    egress: &mut E,
) -> Result<usize, DropReason> {
    let datagram = &packet.bytes[quote.network..packet.end];
    let about = About { datagram, tos: quote.tos, ttl: 0, sender: quote.flow.source.address };
    about.emit(error, packet, speaker, egress)
}

/// The packet that a message is about.
struct About<'a> {
    /// From its IP header on.
    datagram: &'a [u8],
    tos: u8,
    ttl: u8,
    /// Who is told.
    sender: IpAddr,
}

impl About<'_> {
    /// Sends the message, as an answer to `packet`.
    fn emit<E: Egress + ?Sized>(
        &self,
        error: Error,
        packet: &Packet<'_>,
        speaker: &Speaker<'_>,
        egress: &mut E,
    ) -> Result<usize, DropReason> {
        let link = Link::of(packet, speaker.out);
        match (speaker.address, self.sender) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.emit_v4(error, (source, destination), speaker.identification, &link, egress)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                self.emit_v6(error, (source, destination), &link, egress)
            }
            _ => Err(error.otherwise),
        }
    }

    fn emit_v4<E: Egress + ?Sized>(
        &self,
        error: Error,
        (source, destination): (Ipv4Addr, Ipv4Addr),
        identification: u16,
        link: &Link<'_>,
        egress: &mut E,
    ) -> Result<usize, DropReason> {
        let room = LONGEST_V4.min(link.mtu() as usize);
        let length = (ipv4::HEADER + HEADER + self.datagram.len()).min(room);
        // A quote never ends inside an IPv4 header.
        if length < ipv4::HEADER + HEADER + ipv4::HEADER.min(self.datagram.len()) {
            return Err(DropReason::TooBig);
        }
        let header = ipv4::Fields {
            tos: TOS | self.tos & TOS_KEPT,
            total_length: length as u16,
            identification,
            fragment: 0,
            ttl: TTL,
            protocol: Protocol::ICMP,
            source,
            destination,
        };
        link.emit(length, Offload::NONE, egress, |reply| {
            let (ip, message) = reply.split_at_mut(ipv4::HEADER);
            header.write(ip);
            self.write(error, error.header_v4(), message, Sum::ZERO);
        })?;
        Ok(length)
    }

    fn emit_v6<E: Egress + ?Sized>(
        &self,
        error: Error,
        (source, destination): (Ipv6Addr, Ipv6Addr),
        link: &Link<'_>,
        egress: &mut E,
    ) -> Result<usize, DropReason> {
        let Some(message_header) = error.header_v6(self) else { return Err(error.otherwise) };
        // A quote may end inside a long chain of extension headers.
        let quote = self.datagram.len().min(LONGEST_V6 - ipv6::HEADER - HEADER);
        let header = ipv6::Fields {
            traffic_class: 0,
            payload_length: (HEADER + quote) as u16,
            protocol: Protocol::ICMPV6,
            hop_limit: TTL,
            source,
            destination,
        };
        let pseudo = Sum::pseudo_header(source.into(), destination.into(), Protocol::ICMPV6, HEADER + quote);
        let length = ipv6::HEADER + HEADER + quote;
        link.emit(length, Offload::NONE, egress, |reply| {
            let (ip, message) = reply.split_at_mut(ipv6::HEADER);
            header.write(ip);
            self.write(error, message_header, message, pseudo);
        })?;
        Ok(length)
    }

    /// Fills `message` with header and as much of the packet as there is room for.
    fn write(&self, error: Error, header: Header, message: &mut [u8], pseudo: Sum) {
        let quote = &mut message[HEADER..];
        quote.copy_from_slice(&self.datagram[..quote.len()]);
        if error.hop_counted && self.ttl > 0 {
            count_hop(quote);
        }
        icmp::write_header(header.kind, header.code, header.rest, message);
        icmp::set_checksum(message, pseudo);
    }
}

/// Whether an error about `packet` may be sent at all.
fn may_be_told(packet: &Packet<'_>) -> bool {
    let group = match packet.destination() {
        IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_multicast(),
    };
    !group
        && !packet.destination_mac.is_group()
        && !packet.source().is_unspecified()
        && packet.fragment != Fragment::Later
        && !packet.begins_icmp_error()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Capture;
    use crate::forward::testing::{PING, out, packet};
    use crate::net::{InterfaceId, Mac};
    use crate::wire::set_u16;

    /// Whom the packet was sent to.
    fn speaker<'a>(packet: &Packet<'_>, out: &'a Output) -> Speaker<'a> {
        Speaker { address: packet.destination(), identification: 1, out }
    }

    #[test]
    fn nobody_is_told_about_errors_fragments_and_groups() {
        let ping = packet(&PING);
        let mut unreachable = PING;
        unreachable[34] = v4::UNREACHABLE;
        let group: IpAddr = [224, 0, 0, 1].into();
        let mut from_nobody = ping;
        from_nobody.flow.source.address = [0, 0, 0, 0].into();
        let mut to_group = ping;
        to_group.flow.destination.address = group;
        let cases = [
            ("an error", packet(&unreachable)),
            ("a fragment", Packet { fragment: Fragment::Later, ..ping }),
            ("a group", to_group),
            ("nobody", from_nobody),
            ("a broadcast", Packet { destination_mac: Mac::BROADCAST, ..ping }),
        ];
        let (out, mut sent) = (out(InterfaceId(7), 1500), Capture::default());
        for (name, packet) in cases {
            let told = emit(Error::PORT_UNREACHABLE, &packet, &speaker(&ping, &out), &mut sent);
            assert_eq!(told, Err(DropReason::NoServer), "{name}");
            let error = Error::PORT_UNREACHABLE.or(DropReason::NoConnection);
            let told = emit(error, &packet, &speaker(&ping, &out), &mut sent);
            assert_eq!(told, Err(DropReason::NoConnection), "{name}");
        }
        assert!(sent.frames.is_empty());
        assert_eq!(emit(Error::HOST_UNREACHABLE, &ping, &speaker(&ping, &out), &mut sent), Ok(56));
    }

    #[test]
    fn an_error_quotes_options_and_repeats_none() {
        let mut recorded = [&PING[..34], &[7, 7, 4, 0, 0, 0, 0, 0], &PING[34..]].concat();
        recorded[14] = 0x47;
        set_u16(&mut recorded[14..], ipv4::TOTAL_LENGTH, 36);
        ipv4::set_checksum(&mut recorded[14..42]);
        let recorded = packet(&recorded);
        let (out, mut sent) = (out(InterfaceId(7), 1500), Capture::default());
        let told = emit(Error::TIME_EXCEEDED, &recorded, &speaker(&recorded, &out), &mut sent);
        assert_eq!((told, sent.frames[0].1[14]), (Ok(28 + 36), 0x45));
        assert_eq!(&sent.frames[0].1[42..], recorded.datagram());
    }

    #[test]
    fn a_quote_is_as_long_as_the_way_back_takes() {
        let mut long = [&PING[..], &[0; 1000]].concat();
        set_u16(&mut long[14..], 2, 1028);
        ipv4::set_checksum(&mut long[14..34]);
        let long = packet(&long);
        for (mtu, length) in [(1500, 576), (576, 576), (552, 552), (68, 68)] {
            let (out, mut sent) = (out(InterfaceId(7), mtu), Capture::default());
            let told = emit(Error::PORT_UNREACHABLE, &long, &speaker(&long, &out), &mut sent);
            assert_eq!((told, sent.frames[0].1.len()), (Ok(length), 14 + length), "MTU {mtu}");
        }
    }

    #[test]
    fn a_quote_shows_the_hop_where_linux_shows_it() {
        let ping = packet(&PING);
        let (out, mut sent) = (out(InterfaceId(7), 1500), Capture::default());
        let ping = Packet { tos: 0xff, ..ping };
        emit(Error::too_big(1480).behind_hop(), &ping, &speaker(&ping, &out), &mut sent).unwrap();
        emit(Error::too_big(70_000), &ping, &speaker(&ping, &out), &mut sent).unwrap();
        let quoted = |number: usize| &sent.frames[number].1[42..];
        assert_eq!((quoted(0)[8], quoted(1)[8]), (PING[22] - 1, PING[22]));
        assert_eq!(Sum::ZERO.bytes(&quoted(0)[..20]).checksum(), 0);
        assert_eq!(sent.frames[0].1[15], 0xde, "as much of the type of service as Linux repeats");
        assert_eq!(sent.frames[0].1[34..42][4..], [0, 0, 5, 200]);
        assert_eq!(sent.frames[1].1[34..42][4..], [0, 0, 255, 255]);
    }
}
