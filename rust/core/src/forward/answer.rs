//! What a host says. The engine says it for addresses that no kernel holds.

use super::datagram::{Cut, Datagram, Link};
use super::icmp::{self, Error, Speaker};
use crate::frame::{Egress, NextHop, Offload};
use crate::net::{InterfaceId, Mac, Protocol};
use crate::network::Output;
use crate::packet::{Fragment, Packet, TcpFlags};
use crate::verdict::DropReason;
use crate::wire::arp::Arp;
use crate::wire::checksum::Sum;
use crate::wire::icmp::{CHECKSUM, HEADER, TYPE, v4, v6};
use crate::wire::tcp::{self, Tcp};
use crate::wire::{ipv4, ipv6, ndp, ports, set_u16, set_u32, u16_at, udp};
use std::net::{IpAddr, Ipv6Addr};

const TTL: u8 = 64;

/// Answers an ARP request: its target is at `mac`, the address of `interface`.
///
/// # Errors
/// The egress's own.
pub fn arp_reply<E: Egress + ?Sized>(
    request: &Arp,
    interface: InterfaceId,
    mac: Mac,
    egress: &mut E,
) -> Result<(), DropReason> {
    let hop = NextHop { interface, address: request.sender().into(), mac: Some(request.sender_mac()) };
    request.write_reply(mac, egress.slot(&hop, Arp::REPLY_FRAME)?);
    egress.send(Arp::REPLY_FRAME, Offload::NONE);
    Ok(())
}

/// Answers an IPv6 neighbour's question, `packet`: the address is at `mac`, the address of the interface that it came
/// in on.
///
/// # Errors
/// The egress's own.
pub fn advertisement<E: Egress + ?Sized>(
    packet: &Packet<'_>,
    target: Ipv6Addr,
    mac: Mac,
    egress: &mut E,
) -> Result<(), DropReason> {
    let IpAddr::V6(asker) = packet.source() else { return Err(DropReason::HostSilent) };
    let frame = ndp::answer(mac, target, (asker, packet.source_mac));
    let mac = Some(packet.source_mac);
    let hop = NextHop { interface: packet.interface, address: asker.into(), mac };
    egress.slot(&hop, frame.len())?[..frame.len()].copy_from_slice(&frame);
    egress.send(frame.len(), Offload::NONE);
    Ok(())
}

/// Answers `packet` as a host does that holds its destination and serves nothing: an echo is sent back, a
/// TCP segment is reset, for UDP the port is unreachable, for anything else the protocol. The answer
/// leaves by `out`, which is the way to the packet's source.
///
/// # Errors
/// [`DropReason::HostSilent`] where a host says nothing: to a reset, an ICMP message that asks nothing, a
/// wrong checksum, a fragment, what was sent to many at once. And the egress's own.
pub fn as_host<E: Egress + ?Sized>(
    packet: &Packet<'_>,
    identification: u16,
    out: &Output,
    egress: &mut E,
) -> Result<(), DropReason> {
    let many = packet.destination_mac.is_group();
    let whole = packet.fragment == Fragment::Whole && !packet.cut_short;
    if many || !whole || !checksum_is_right(packet) {
        return Err(DropReason::HostSilent);
    }
    let mut tell = |error| {
        let speaker = Speaker { address: packet.destination(), identification, out };
        icmp::emit(error, packet, &speaker, egress).map(drop)
    };
    match (packet.protocol(), packet.tcp(), packet.icmp_type()) {
        (Protocol::TCP, Some(segment), _) => tcp_reset(packet, &segment, out, egress),
        (Protocol::TCP, None, _) => Err(DropReason::HostSilent),
        (Protocol::UDP, _, _) => tell(Error::PORT_UNREACHABLE.or(DropReason::HostSilent)),
        (_, _, Some(v4::ECHO_REQUEST)) if packet.is_ipv4() => {
            echo_reply(packet, v4::ECHO_REPLY, identification, out, egress)
        }
        (_, _, Some(v6::ECHO_REQUEST)) if !packet.is_ipv4() => {
            echo_reply(packet, v6::ECHO_REPLY, identification, out, egress)
        }
        (_, _, Some(_)) => Err(DropReason::HostSilent),
        // One that could not be walked.
        (extension, ..) if !packet.is_ipv4() && ipv6::is_extension(extension) => Err(DropReason::HostSilent),
        _ => tell(Error::PROTOCOL_UNREACHABLE),
    }
}

/// Sends an echo request back as its reply.
fn echo_reply<E: Egress + ?Sized>(
    packet: &Packet<'_>,
    reply: u8,
    identification: u16,
    out: &Output,
    egress: &mut E,
) -> Result<(), DropReason> {
    let (request, data) = packet.payload().split_at(HEADER);
    let mut message = [0; HEADER];
    message.copy_from_slice(request);
    message[TYPE] = reply;
    // Summed anew: of a reply that is all zeros no update of the request's checksum yields the right one.
    set_u16(&mut message, CHECKSUM, 0);
    let length = packet.payload().len();
    let pseudo = if packet.is_ipv4() {
        Sum::ZERO
    } else {
        Sum::pseudo_header(packet.destination(), packet.source(), Protocol::ICMPV6, length)
    };
    let checksum = pseudo.bytes(&message).bytes(data).checksum();
    set_u16(&mut message, CHECKSUM, checksum);
    let mut header = [0; ipv6::HEADER];
    let header = ip_header(packet, packet.payload().len(), packet.tos, Some(identification), &mut header)?;
    let cut = Cut { identification: Some(u32::from(identification)), ..Cut::default() };
    Datagram { header, runs: [&message, data, &[], &[]], cut }.emit(&Link::of(packet, out), egress)
}

/// Refuses a segment of no connection (RFC 9293 §3.10.7.1).
fn tcp_reset<E: Egress + ?Sized>(
    packet: &Packet<'_>,
    segment: &Tcp<'_>,
    out: &Output,
    egress: &mut E,
) -> Result<(), DropReason> {
    let flags = segment.flags();
    if flags.rst() {
        return Err(DropReason::HostSilent);
    }
    let data = packet.payload().len() - segment.header_length();
    let length = data as u32 + u32::from(flags.syn()) + u32::from(flags.fin());
    let mut reset = [0; tcp::HEADER];
    set_u16(&mut reset, ports::SOURCE, packet.flow.destination.port);
    set_u16(&mut reset, ports::DESTINATION, packet.flow.source.port);
    reset[tcp::DATA_OFFSET] = (tcp::HEADER as u8 / 4) << 4;
    if flags.ack() {
        set_u32(&mut reset, tcp::SEQUENCE, segment.acknowledgement());
        reset[tcp::FLAGS] = TcpFlags::RST.0;
    } else {
        set_u32(&mut reset, tcp::ACKNOWLEDGEMENT, segment.sequence().wrapping_add(length));
        reset[tcp::FLAGS] = TcpFlags::RST.with(TcpFlags::ACK).0;
    }
    let pseudo = Sum::pseudo_header(packet.destination(), packet.source(), Protocol::TCP, reset.len());
    let checksum = pseudo.bytes(&reset).checksum();
    set_u16(&mut reset, tcp::CHECKSUM, checksum);
    let mut header = [0; ipv6::HEADER];
    let header = ip_header(packet, reset.len(), packet.tos, None, &mut header)?;
    let cut = Cut::default();
    Datagram { header, runs: [&reset, &[], &[], &[]], cut }.emit(&Link::of(packet, out), egress)
}

/// Writes the header of an answer with `length` bytes of payload; without `identification` it may not
/// be fragmented.
fn ip_header<'a>(
    packet: &Packet<'_>,
    length: usize,
    tos: u8,
    identification: Option<u16>,
    header: &'a mut [u8; ipv6::HEADER],
) -> Result<&'a [u8], DropReason> {
    match (packet.destination(), packet.source()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let fields = ipv4::Fields {
                tos,
                total_length: (ipv4::HEADER + length) as u16,
                identification: identification.unwrap_or(0),
                fragment: if identification.is_some() { 0 } else { ipv4::DONT_FRAGMENT },
                ttl: TTL,
                protocol: packet.protocol(),
                source,
                destination,
            };
            fields.write(header);
            Ok(&header[..ipv4::HEADER])
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let fields = ipv6::Fields {
                traffic_class: tos,
                payload_length: length as u16,
                protocol: packet.protocol(),
                hop_limit: TTL,
                source,
                destination,
            };
            fields.write(header);
            Ok(&header[..])
        }
        _ => Err(DropReason::HostSilent),
    }
}

/// Whether a host would look at the packet: a checksum that is there and finished is right.
fn checksum_is_right(packet: &Packet<'_>) -> bool {
    if packet.checksum_is_partial() {
        return true;
    }
    let payload = packet.payload();
    let covered = match packet.protocol() {
        Protocol::UDP => match payload.get(..usize::from(u16_at(payload, udp::LENGTH))) {
            Some(covered) if covered.len() >= udp::HEADER => covered,
            _ => return false,
        },
        Protocol::ICMP if packet.is_ipv4() => return Sum::ZERO.bytes(payload).checksum() == 0,
        _ if packet.checksum_field().is_some() => payload,
        _ => return true,
    };
    if packet.protocol() == Protocol::UDP && packet.is_ipv4() && u16_at(payload, udp::CHECKSUM) == 0 {
        return true;
    }
    let pseudo = Sum::pseudo_header(packet.source(), packet.destination(), packet.protocol(), covered.len());
    pseudo.bytes(covered).checksum() == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Capture;
    use crate::forward::testing::{PING, SYN, out, packet};

    /// What the host says to a frame whose bytes were changed at some places, checksums apart.
    fn say(frame: &[u8], changes: &[(usize, u8)]) -> Result<Vec<u8>, DropReason> {
        let mut frame = frame.to_vec();
        for (at, value) in changes {
            frame[*at] = *value;
        }
        let mut sent = Capture::default();
        as_host(&packet(&frame), 9, &out(InterfaceId(0), 1500), &mut sent)?;
        Ok(sent.frames.remove(0).1)
    }

    #[test]
    fn an_echo_is_sent_back() {
        let echo = say(&PING, &[]).unwrap();
        assert_eq!((echo[34], u16_at(&echo, 18), echo[22]), (v4::ECHO_REPLY, 9, TTL));
        assert_eq!(Sum::ZERO.bytes(&echo[34..]).checksum(), 0);
        assert_eq!(echo[26..34], [&PING[30..34], &PING[26..30]].concat());
    }

    #[test]
    fn an_echo_reply_of_zeros_has_the_checksum_of_zeros() {
        let mut ping = PING;
        ping[34..].fill(0);
        ping[34] = v4::ECHO_REQUEST;
        let checksum = Sum::ZERO.bytes(&ping[34..]).checksum();
        set_u16(&mut ping, 34 + CHECKSUM, checksum);
        let echo = say(&ping, &[]).unwrap();
        assert_eq!(u16_at(&echo, 34 + CHECKSUM), 0xffff);
        assert!(echo[38..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_host_is_silent_where_it_should_be() {
        let silent = Err(DropReason::HostSilent);
        assert_eq!(say(&PING, &[(41, 2)]), silent, "wrong checksum");
        // An echo reply with the checksum that goes with it.
        assert_eq!(say(&PING, &[(34, 0), (36, PING[36] + 8)]), silent, "an echo reply");
        assert_eq!(say(&PING, &[(0, 1)]), silent, "a group's frame");
        assert_eq!(say(&SYN, &[(51, SYN[51] ^ 1)]), silent, "wrong TCP checksum");
        // RST instead of SYN.
        assert_eq!(say(&SYN, &[(47, 4), (51, SYN[51] - 2)]), silent, "a reset");
        assert!(say(&SYN, &[]).is_ok());
    }

    #[test]
    fn a_reset_acknowledges_what_it_refuses() {
        let reset = say(&SYN, &[]).unwrap();
        let segment = Tcp::parse(&reset[34..]).unwrap();
        assert_eq!(segment.flags(), TcpFlags::RST.with(TcpFlags::ACK));
        assert_eq!((segment.sequence(), segment.acknowledgement()), (0, 2));
        // ACK and FIN instead of SYN: refused at the number that the sender expects.
        let reset = say(&SYN, &[(47, 0x11), (51, SYN[51] - 0xf)]).unwrap();
        let segment = Tcp::parse(&reset[34..]).unwrap();
        assert_eq!((segment.flags(), segment.sequence()), (TcpFlags::RST, 0));
    }

    #[test]
    fn an_arp_request_is_answered_with_the_interfaces_address() {
        let request = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 10, 99, 0, 1];
        let mut sent = Capture::default();
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        arp_reply(&Arp::parse(&request).unwrap(), InterfaceId(4), mac, &mut sent).unwrap();
        let (interface, frame, _) = &sent.frames[0];
        assert_eq!(*interface, InterfaceId(4));
        assert_eq!(frame[..14], [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 6]);
        let reply = Arp::parse(&frame[14..]).unwrap();
        assert!(reply.is_reply());
        assert_eq!((reply.sender_mac(), reply.sender()), (mac, [10, 99, 0, 1].into()));
    }
}
