//! Telling a sender what became of its packet: ICMP (RFC 792, RFC 1812 §4.3) and ICMPv6 errors
//! (RFC 4443), built as a Linux host builds them.
//!
//! A message quotes the packet from its IP header on, as far as 576 bytes (IPv6: 1,280) hold it, or the way back
//! if that takes less. An aggregate is quoted as it is, its length and its unfinished checksum included, as Linux does: the
//! sender looks at addresses, ports and sequence number.
//!
//! Nobody is told about an ICMP error, a later fragment, or what was sent to many at once: then the
//! functions return the reason that the packet itself is dropped for.

use super::datagram::Link;
use super::decrement_ttl;
use super::relay::Quote;
use crate::frame::{Egress, Offload};
use crate::net::Protocol;
use crate::network::Output;
use crate::packet::{Fragment, Packet};
use crate::verdict::DropReason;
use crate::wire::checksum::Sum;
use crate::wire::icmp::{CHECKSUM, HEADER, v4, v6};
use crate::wire::ipv6::Ipv6;
use crate::wire::{ipv4, ipv6, set_u16, set_u32};
use std::net::{IpAddr, Ipv4Addr};

/// Longest message: what every host can take.
const LONGEST_V4: usize = 576;
const LONGEST_V6: usize = ipv6::LEAST_MTU;
/// Precedence "internetwork control".
const TOS: u8 = 0xc0;
/// Of the packet's own type of service, the bits that its error bears too.
const TOS_KEPT: u8 = 0x1e;
const TTL: u8 = 64;

/// Nobody serves that port: what a client hears when no real server may be chosen.
///
/// # Errors
/// [`DropReason::NoServer`] when the sender is not to be told, and the egress's own. So for the others.
pub fn port_unreachable<E: Egress + ?Sized>(
    packet: &Packet<'_>,
    source: IpAddr,
    identification: u16,
    out: &Output,
    egress: &mut E,
) -> Result<(), DropReason> {
    let error =
        Error { v4: (v4::UNREACHABLE, v4::PORT), v6: (v6::UNREACHABLE, v6::PORT), ..Error::default() };
    error.emit(packet, source, identification, out, egress, DropReason::NoServer)
}

/// The same for a server's packet that a router was about to send on, and had counted the hop of.
///
/// # Errors
/// [`DropReason::NoConnection`].
pub fn reply_port_unreachable<E: Egress + ?Sized>(
    packet: &Packet<'_>,
    source: IpAddr,
    identification: u16,
    out: &Output,
    egress: &mut E,
) -> Result<(), DropReason> {
    let (v4, v6) = ((v4::UNREACHABLE, v4::PORT), (v6::UNREACHABLE, v6::PORT));
    let error = Error { v4, v6, hop_counted: true, ..Error::default() };
    error.emit(packet, source, identification, out, egress, DropReason::NoConnection)
}

/// There is no way to that host.
///
/// # Errors
/// [`DropReason::NoRoute`].
pub fn host_unreachable<E: Egress + ?Sized>(
    packet: &Packet<'_>,
    source: IpAddr,
    identification: u16,
    out: &Output,
    egress: &mut E,
) -> Result<(), DropReason> {
    let error =
        Error { v4: (v4::UNREACHABLE, v4::HOST), v6: (v6::UNREACHABLE, v6::ADDRESS), ..Error::default() };
    error.emit(packet, source, identification, out, egress, DropReason::NoRoute)
}

/// The host does not speak that protocol, which IPv6 calls a parameter problem.
///
/// # Errors
/// [`DropReason::HostSilent`].
pub fn protocol_unreachable<E: Egress + ?Sized>(
    packet: &Packet<'_>,
    source: IpAddr,
    identification: u16,
    out: &Output,
    egress: &mut E,
) -> Result<(), DropReason> {
    let field = Ipv6::parse(packet.datagram()).map_or(0, |header| header.protocol_field());
    let error = Error {
        v4: (v4::UNREACHABLE, v4::PROTOCOL),
        v6: (v6::PARAMETER_PROBLEM, v6::NEXT_HEADER),
        rest: field as u32,
        ..Error::default()
    };
    error.emit(packet, source, identification, out, egress, DropReason::HostSilent)
}

/// The packet's time to live ended here. It is quoted as it came.
///
/// # Errors
/// [`DropReason::TtlExpired`].
pub fn time_exceeded<E: Egress + ?Sized>(
    packet: &Packet<'_>,
    source: IpAddr,
    identification: u16,
    out: &Output,
    egress: &mut E,
) -> Result<(), DropReason> {
    let error = Error { v4: (v4::TIME_EXCEEDED, 0), v6: (v6::TIME_EXCEEDED, 0), ..Error::default() };
    error.emit(packet, source, identification, out, egress, DropReason::TtlExpired)
}

/// The rest of the datagram did not come in time, of which `packet` is the first fragment.
///
/// # Errors
/// [`DropReason::Fragment`].
pub fn reassembly_time_exceeded<E: Egress + ?Sized>(
    packet: &Packet<'_>,
    source: IpAddr,
    hop_counted: bool,
    identification: u16,
    out: &Output,
    egress: &mut E,
) -> Result<(), DropReason> {
    let (v4, v6) = ((v4::TIME_EXCEEDED, v4::REASSEMBLY), (v6::TIME_EXCEEDED, v6::REASSEMBLY));
    let error = Error { v4, v6, hop_counted, ..Error::default() };
    error.emit(packet, source, identification, out, egress, DropReason::Fragment)
}

/// The packet may not be cut, and its way to the real server takes no more than `mtu` bytes. The hop is
/// counted in the quote, because Linux counts it before it looks at the length.
///
/// # Errors
/// [`DropReason::TooBig`].
pub fn frag_needed<E: Egress + ?Sized>(
    packet: &Packet<'_>,
    source: IpAddr,
    mtu: u32,
    identification: u16,
    out: &Output,
    egress: &mut E,
) -> Result<(), DropReason> {
    let error = Error { hop_counted: true, ..too_big(packet, mtu) };
    error.emit(packet, source, identification, out, egress, DropReason::TooBig)
}

/// The same for a reply on its way back, which is routed as any packet: Linux looks at the length
/// first, and quotes it as it came.
///
/// # Errors
/// [`DropReason::TooBig`].
pub fn reply_frag_needed<E: Egress + ?Sized>(
    packet: &Packet<'_>,
    source: IpAddr,
    mtu: u32,
    identification: u16,
    out: &Output,
    egress: &mut E,
) -> Result<(), DropReason> {
    too_big(packet, mtu).emit(packet, source, identification, out, egress, DropReason::TooBig)
}

/// An error about a packet that `quote` says `packet` quotes, from `source` to that packet's sender: what came
/// back about a tunnel, told to the client whose packet was in it. Type, code and the header's second word are
/// the caller's. IPv4 alone.
///
/// # Errors
/// [`DropReason::NoRoute`] when an address is not IPv4, and the egress's own.
pub fn relayed<E: Egress + ?Sized>(
    packet: &Packet<'_>,
    quote: &Quote,
    (kind, code, rest): (u8, u8, u32),
    source: IpAddr,
    identification: u16,
    out: &Output,
    egress: &mut E,
) -> Result<(), DropReason> {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (source, quote.flow.source.address) else {
        return Err(DropReason::NoRoute);
    };
    let error = Error { v4: (kind, code), rest, ..Error::default() };
    let about =
        About { datagram: &packet.bytes[quote.network..packet.end], tos: quote.tos, count_hop: false };
    error.emit_v4(&about, (source, destination), identification, &Link::of(packet, out), egress)
}

/// Length of the error that the functions of this module send about `packet` by `out`, from its IP header on.
#[must_use]
pub fn length(packet: &Packet<'_>, out: &Output) -> usize {
    if packet.is_ipv4() {
        length_v4(packet.ip_length(), out.mtu)
    } else {
        (ipv6::HEADER + HEADER + packet.ip_length()).min(LONGEST_V6)
    }
}

/// Length of the error that [`relayed`] sends.
#[must_use]
pub fn relayed_length(packet: &Packet<'_>, quote: &Quote, out: &Output) -> usize {
    length_v4(packet.end - quote.network, out.mtu)
}

/// Length of an error about `quoted` bytes, by a way that takes `mtu`.
fn length_v4(quoted: usize, mtu: u32) -> usize {
    (ipv4::HEADER + HEADER + quoted).min(LONGEST_V4).min(mtu as usize)
}

fn too_big(packet: &Packet<'_>, mtu: u32) -> Error {
    // IPv4 has 16 bits for it, behind 16 that are zero.
    let mtu = if packet.is_ipv4() { mtu.min(u32::from(u16::MAX)) } else { mtu };
    Error {
        v4: (v4::UNREACHABLE, v4::FRAGMENTATION_NEEDED),
        v6: (v6::PACKET_TOO_BIG, 0),
        rest: mtu,
        ..Error::default()
    }
}

/// What a message says.
#[derive(Clone, Copy, Default)]
struct Error {
    /// Type and code.
    v4: (u8, u8),
    v6: (u8, u8),
    /// The header's second word.
    rest: u32,
    /// Whether the quote shows the time to live after this hop.
    hop_counted: bool,
}

impl Error {
    fn emit<E: Egress + ?Sized>(
        self,
        packet: &Packet<'_>,
        source: IpAddr,
        identification: u16,
        out: &Output,
        egress: &mut E,
        otherwise: DropReason,
    ) -> Result<(), DropReason> {
        if !may_be_told(packet) {
            return Err(otherwise);
        }
        // A quote may end inside a long chain of extension headers, never inside an IPv4 header.
        let count_hop = self.hop_counted && packet.ttl > 0;
        let about = About { datagram: packet.datagram(), tos: packet.tos, count_hop };
        let link = Link::of(packet, out);
        match (source, packet.source()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.emit_v4(&about, (source, destination), identification, &link, egress)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let quote = packet.ip_length().min(LONGEST_V6 - ipv6::HEADER - HEADER);
                let header = ipv6::Fields {
                    traffic_class: 0,
                    payload_length: (HEADER + quote) as u16,
                    protocol: Protocol::ICMPV6,
                    hop_limit: TTL,
                    source,
                    destination,
                };
                let pseudo =
                    Sum::pseudo_header(source.into(), destination.into(), Protocol::ICMPV6, HEADER + quote);
                let length = ipv6::HEADER + HEADER + quote;
                link.emit(length, Offload::NONE, egress, |reply| {
                    let (ip, message) = reply.split_at_mut(ipv6::HEADER);
                    header.write(ip);
                    self.write(self.v6, &about, message, pseudo);
                })
            }
            _ => Err(otherwise),
        }
    }

    fn emit_v4<E: Egress + ?Sized>(
        self,
        about: &About<'_>,
        (source, destination): (Ipv4Addr, Ipv4Addr),
        identification: u16,
        link: &Link<'_>,
        egress: &mut E,
    ) -> Result<(), DropReason> {
        let length = length_v4(about.datagram.len(), link.mtu());
        if length < ipv4::HEADER + HEADER + ipv4::HEADER.min(about.datagram.len()) {
            return Err(DropReason::TooBig);
        }
        let header = ipv4::Fields {
            tos: TOS | about.tos & TOS_KEPT,
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
            self.write(self.v4, about, message, Sum::ZERO);
        })
    }

    /// Fills `message` with header and as much of the packet as there is room for.
    fn write(self, (kind, code): (u8, u8), about: &About<'_>, message: &mut [u8], pseudo: Sum) {
        let (header, quote) = message.split_at_mut(HEADER);
        header[0] = kind;
        header[1] = code;
        set_u16(header, CHECKSUM, 0);
        set_u32(header, 4, self.rest);
        quote.copy_from_slice(&about.datagram[..quote.len()]);
        if about.count_hop {
            decrement_ttl(quote);
        }
        let checksum = pseudo.bytes(message).checksum();
        set_u16(message, CHECKSUM, checksum);
    }
}

/// The packet that a message is about.
struct About<'a> {
    datagram: &'a [u8],
    tos: u8,
    /// Whether the quote shows the time to live after this hop.
    count_hop: bool,
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
            let told = port_unreachable(&packet, ping.destination(), 1, &out, &mut sent);
            assert_eq!(told, Err(DropReason::NoServer), "{name}");
        }
        assert!(sent.frames.is_empty());
        assert_eq!(host_unreachable(&ping, ping.destination(), 1, &out, &mut sent), Ok(()));
    }

    #[test]
    fn a_quote_is_as_long_as_the_way_back_takes() {
        let mut long = [&PING[..], &[0; 1000]].concat();
        set_u16(&mut long[14..], 2, 1028);
        ipv4::set_checksum(&mut long[14..34]);
        let long = packet(&long);
        for (mtu, length) in [(1500, 576), (576, 576), (552, 552), (68, 68)] {
            let (out, mut sent) = (out(InterfaceId(7), mtu), Capture::default());
            port_unreachable(&long, long.destination(), 1, &out, &mut sent).unwrap();
            assert_eq!(sent.frames[0].1.len(), 14 + length, "MTU {mtu}");
            assert_eq!(super::length(&long, &out), length, "MTU {mtu}");
        }
    }

    #[test]
    fn a_quote_shows_the_hop_where_linux_shows_it() {
        let ping = packet(&PING);
        let (out, mut sent) = (out(InterfaceId(7), 1500), Capture::default());
        let ping = Packet { tos: 0xff, ..ping };
        frag_needed(&ping, ping.destination(), 1480, 1, &out, &mut sent).unwrap();
        reply_frag_needed(&ping, ping.destination(), 70_000, 1, &out, &mut sent).unwrap();
        let quoted = |number: usize| &sent.frames[number].1[42..];
        assert_eq!((quoted(0)[8], quoted(1)[8]), (PING[22] - 1, PING[22]));
        assert_eq!(Sum::ZERO.bytes(&quoted(0)[..20]).checksum(), 0);
        assert_eq!(sent.frames[0].1[15], 0xde, "as much of the type of service as Linux repeats");
        assert_eq!(sent.frames[0].1[34..42][4..], [0, 0, 5, 200]);
        assert_eq!(sent.frames[1].1[34..42][4..], [0, 0, 255, 255]);
    }
}
