//! Masquerading (NAT): addresses and ports are rewritten, in either direction.
//!
//! TCP and UDP checksums are updated, not computed anew, so a packet that was damaged before it came
//! here is still seen to be. Two exceptions, both as in Linux: a UDP packet without checksum gets one,
//! and SCTP's, which cannot be updated, is computed anew when a port changes.

use super::datagram::{Link, offload_behind};
use super::{Rewrite, fits, segment};
use crate::frame::{ChecksumState, Egress};
use crate::net::Protocol;
use crate::network::Output;
use crate::packet::{Fragment, Packet};
use crate::verdict::DropReason;
use crate::wire::checksum::{Delta, Sum};
use crate::wire::sctp::{self, Crc32c};
use crate::wire::{count_hop, ethernet, ipv4, ipv6, ports, set_u16, u16_at, udp};
use std::net::IpAddr;

/// Sends `packet` from `rewrite.source` to `rewrite.destination`, out by `out`. Ports are rewritten
/// where the protocol has them.
///
/// # Errors
/// Those of the module, and the egress's own; [`DropReason::Fragment`] for fragments that carry no port,
/// and [`DropReason::NoRoute`] when packet and rewrite are of different families.
pub fn emit<E: Egress + ?Sized>(
    packet: &Packet<'_>,
    rewrite: &Rewrite,
    out: &Output,
    egress: &mut E,
) -> Result<(), DropReason> {
    if packet.ttl <= 1 {
        return Err(DropReason::TtlExpired);
    }
    send(packet, rewrite, count_hop, out, egress)
}

/// The same for a packet of the director's own host, for which the hop does not count.
///
/// # Errors
/// As [`emit`], but for the time to live.
pub fn emit_own<E: Egress + ?Sized>(
    packet: &Packet<'_>,
    rewrite: &Rewrite,
    out: &Output,
    egress: &mut E,
) -> Result<(), DropReason> {
    send(packet, rewrite, ipv4::sum_if_v4, out, egress)
}

/// Rewrites a packet where it is: `datagram` is a copy of it. The hop does not count.
///
/// # Errors
/// As [`emit`]'s, but for the way out. Nothing was changed then.
pub fn translate(packet: &Packet<'_>, rewrite: &Rewrite, datagram: &mut [u8]) -> Result<(), DropReason> {
    check(packet, rewrite)?;
    let (header, payload) = datagram.split_at_mut(packet.transport - packet.network);
    let (transport, data) = payload.split_at_mut(packet.transport_header_length());
    rewrite_addresses(header, rewrite);
    ipv4::sum_if_v4(header);
    rewrite_transport(packet, rewrite, packet.checksum_is_partial(), transport, data);
    Ok(())
}

/// `hop` ends the rewriting of an IP header.
fn send<E: Egress + ?Sized>(
    packet: &Packet<'_>,
    rewrite: &Rewrite,
    hop: fn(&mut [u8]),
    out: &Output,
    egress: &mut E,
) -> Result<(), DropReason> {
    check(packet, rewrite)?;
    let link = Link::of(packet, out);
    let fits_way = fits(packet, out.mtu);
    if fits_way && packet.reassembled.is_none() {
        let unfinished = packet.checksum_is_partial();
        let offload = offload_behind(packet, packet.network - ethernet::HEADER);
        return link.emit(packet.ip_length(), offload, egress, |datagram| {
            datagram.copy_from_slice(packet.datagram());
            let (header, payload) = datagram.split_at_mut(packet.transport - packet.network);
            let (transport, data) = payload.split_at_mut(packet.transport_header_length());
            rewrite_addresses(header, rewrite);
            hop(header);
            rewrite_transport(packet, rewrite, unfinished, transport, data);
        });
    }
    if packet.dont_fragment && !fits_way {
        return Err(DropReason::TooBig);
    }
    segment::pieces(packet, |piece| {
        let (header, transport, data) = piece.parts();
        rewrite_addresses(header, rewrite);
        hop(header);
        rewrite_transport(packet, rewrite, false, transport, data);
        piece.datagram().emit(&link, egress)
    })
}

/// Whether the packet has what is to be rewritten.
fn check(packet: &Packet<'_>, rewrite: &Rewrite) -> Result<(), DropReason> {
    if packet.fragment == Fragment::Later {
        return Err(DropReason::Fragment);
    }
    if packet.cut_short {
        return Err(packet.cut_reason());
    }
    let family = |address: IpAddr| address.is_ipv4() == packet.is_ipv4();
    if !family(rewrite.source.address) || !family(rewrite.destination.address) {
        return Err(DropReason::NoRoute);
    }
    Ok(())
}

fn rewrite_addresses(header: &mut [u8], rewrite: &Rewrite) {
    match (rewrite.source.address, rewrite.destination.address) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            ipv4::set_source(header, source);
            ipv4::set_destination(header, destination);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            ipv6::set_source(header, source);
            ipv6::set_destination(header, destination);
        }
        _ => {}
    }
}

fn rewrite_transport(
    packet: &Packet<'_>,
    rewrite: &Rewrite,
    unfinished: bool,
    transport: &mut [u8],
    data: &[u8],
) {
    let has_ports = matches!(packet.protocol(), Protocol::TCP | Protocol::UDP | Protocol::SCTP);
    if has_ports {
        set_u16(transport, ports::SOURCE, rewrite.source.port);
        set_u16(transport, ports::DESTINATION, rewrite.destination.port);
    }
    if packet.protocol() == Protocol::SCTP {
        let same_ports = packet.flow.source.port == rewrite.source.port
            && packet.flow.destination.port == rewrite.destination.port;
        if !same_ports && packet.offload.checksum == ChecksumState::Finished {
            set_sctp_checksum(transport, data);
        }
        return;
    }
    let Some(field) = packet.checksum_field() else { return };
    let addresses = Delta::new()
        .address(packet.source(), rewrite.source.address)
        .address(packet.destination(), rewrite.destination.address);
    let old = u16_at(transport, field);
    let is_udp = packet.protocol() == Protocol::UDP;
    let new = if unfinished {
        // The ports are summed by whoever finishes the checksum.
        addresses.apply_unfinished(old)
    } else if is_udp && old == 0 {
        // Somebody else's unfinished checksum within the data cannot be summed yet.
        if packet.offload.checksum != ChecksumState::Finished {
            return;
        }
        udp_checksum(rewrite, transport, data)
    } else {
        let ports = if has_ports {
            addresses
                .word(packet.flow.source.port, rewrite.source.port)
                .word(packet.flow.destination.port, rewrite.destination.port)
        } else {
            addresses
        };
        let checksum = ports.apply(old);
        if is_udp { udp::never_zero(checksum) } else { checksum }
    };
    set_u16(transport, field, new);
}

/// The checksum of a UDP packet whose field is 0, over as much of the data as its length says.
fn udp_checksum(rewrite: &Rewrite, transport: &[u8], data: &[u8]) -> u16 {
    // A length that cannot be is not the length that a receiver sums by.
    let said = usize::from(u16_at(transport, udp::LENGTH));
    let whole = udp::HEADER + data.len();
    let length = if (udp::HEADER..=whole).contains(&said) { said } else { whole };
    let data = &data[..length - udp::HEADER];
    let source = rewrite.source.address;
    let sum = Sum::pseudo_header(source, rewrite.destination.address, Protocol::UDP, length);
    udp::never_zero(sum.bytes(transport).bytes(data).checksum())
}

fn set_sctp_checksum(header: &mut [u8], chunks: &[u8]) {
    header[sctp::CHECKSUM..sctp::HEADER].fill(0);
    let checksum = Crc32c::START.bytes(header).bytes(chunks).checksum();
    header[sctp::CHECKSUM..sctp::HEADER].copy_from_slice(&checksum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Capture;
    use crate::forward::testing::{PING, SYN, out, packet};
    use crate::net::{Endpoint, InterfaceId};
    use proptest::prelude::*;

    /// What leaves when `transport`, of `protocol`, goes to 10.99.0.1 by another port.
    fn masqueraded(protocol: Protocol, transport: &[u8], port: u16) -> Vec<u8> {
        let mut frame = [&SYN[..34], transport].concat();
        frame[17] = (20 + transport.len()) as u8;
        frame[23] = protocol.0;
        ipv4::set_checksum(&mut frame[14..34]);
        let packet = packet(&frame);
        let destination = Endpoint::new(packet.destination(), port);
        let rewrite = Rewrite { source: packet.flow.source, destination };
        let mut sent = Capture::default();
        emit(&packet, &rewrite, &out(InterfaceId(7), 1500), &mut sent).unwrap();
        sent.frames.remove(0).1.split_off(34)
    }

    #[test]
    fn udp_never_says_that_it_has_no_checksum_when_it_has_one() {
        // Port 0 becomes 1: the checksum, which is 1, becomes 0.
        let sent = masqueraded(Protocol::UDP, &[0x9c, 0x40, 0, 0, 0, 8, 0, 1], 1);
        assert_eq!(sent, [0x9c, 0x40, 0, 1, 0, 8, 0xff, 0xff]);
    }

    #[test]
    fn sctp_is_summed_only_when_a_port_changes() {
        let header = [0x9c, 0x40, 0, 80, 1, 2, 3, 4, 9, 9, 9, 9];
        assert_eq!(masqueraded(Protocol::SCTP, &header, 80), header, "a wrong checksum stays");
        let sent = masqueraded(Protocol::SCTP, &header, 81);
        let expected = Crc32c::START.bytes(&[0x9c, 0x40, 0, 81, 1, 2, 3, 4, 0, 0, 0, 0]).checksum();
        assert_eq!(sent[8..], expected);
    }

    #[test]
    fn protocols_without_ports_keep_their_payload() {
        assert_eq!(masqueraded(Protocol::GRE, &[1, 2, 3, 4, 5], 81), [1, 2, 3, 4, 5]);
        assert_eq!(masqueraded(Protocol::ICMP, &PING[34..], 81), PING[34..]);
    }

    #[test]
    fn a_first_fragment_is_translated_where_its_header_is_whole() {
        let (syn, out, mut sent) = (packet(&SYN), out(InterfaceId(7), 1500), Capture::default());
        let rewrite =
            Rewrite { source: syn.flow.source, destination: Endpoint::new(syn.destination(), 8080) };
        emit(&syn, &rewrite, &out, &mut sent).unwrap();
        let mut first = SYN;
        first[20] = 0x20;
        ipv4::set_checksum(&mut first[14..34]);
        emit(&packet(&first), &rewrite, &out, &mut sent).unwrap();
        assert_eq!(sent.frames[0].1[34..], sent.frames[1].1[34..], "ports and checksum");
        first[17] = 39;
        ipv4::set_checksum(&mut first[14..34]);
        let cut = emit(&packet(&first), &rewrite, &out, &mut sent);
        assert_eq!(cut, Err(DropReason::MalformedTcp));
    }

    #[test]
    fn later_fragments_and_other_families_are_refused() {
        let (syn, out, mut sent) = (packet(&SYN), out(InterfaceId(7), 1500), Capture::default());
        let rewrite = Rewrite { source: syn.flow.source, destination: syn.flow.destination };
        let fragment = Packet { fragment: Fragment::Later, ..syn };
        assert_eq!(emit(&fragment, &rewrite, &out, &mut sent), Err(DropReason::Fragment));
        let mixed = Rewrite { destination: "[2001:db8::1]:80".parse().unwrap(), ..rewrite };
        assert_eq!(emit(&syn, &mixed, &out, &mut sent), Err(DropReason::NoRoute));
        assert!(sent.frames.is_empty());
    }

    /// Words as they come, and those that are zero in one's complement.
    fn words(length: usize) -> impl Strategy<Value = Vec<u16>> {
        prop::collection::vec(prop_oneof![Just(0), Just(0xffff), any::<u16>()], length)
    }

    /// Where a packet's checksum is to come to zero.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Zero {
        Nowhere,
        Before,
        Behind,
    }

    proptest! {
        /// In both families, for TCP and UDP, finished and not: also where the sum is zero before or behind.
        #[test]
        fn an_updated_checksum_is_what_a_new_sum_gives(
            (v6, tcp, unfinished) in any::<(bool, bool, bool)>(),
            (transport, ends) in (words(12), words(8)),
            zero in prop_oneof![Just(Zero::Nowhere), Just(Zero::Before), Just(Zero::Behind)],
        ) {
            let address = |place: usize| -> IpAddr {
                let (high, low) = (ends[place], ends[place + 1]);
                if v6 {
                    [0xfd00, high, 0, 0, 0xffff, 0, 0, low].into()
                } else {
                    [10, high as u8, (low >> 8) as u8, low as u8].into()
                }
            };
            let (client, vip, server) = (address(0), address(2), address(4));
            let (protocol, field) = if tcp { (Protocol::TCP, 16) } else { (Protocol::UDP, udp::CHECKSUM) };
            let mut transport: Vec<u8> = transport.iter().flat_map(|word| word.to_be_bytes()).collect();
            if tcp {
                transport[12] = 0x50;
            } else {
                set_u16(&mut transport, 4, 24);
            }
            let sum = |transport: &[u8], destination: IpAddr| {
                let mut bare = transport.to_vec();
                set_u16(&mut bare, field, 0);
                let sum = Sum::pseudo_header(client, destination, protocol, bare.len()).bytes(&bare);
                if tcp { sum.checksum() } else { udp::never_zero(sum.checksum()) }
            };
            let port = ends[6];
            let translated = |transport: &[u8]| {
                let mut translated = transport.to_vec();
                set_u16(&mut translated, 2, port);
                translated
            };
            set_u16(&mut transport, 22, 0);
            match zero {
                Zero::Nowhere => {}
                Zero::Before => { let rest = sum(&transport, vip); set_u16(&mut transport, 22, rest); }
                Zero::Behind => { let rest = sum(&translated(&transport), server); set_u16(&mut transport, 22, rest); }
            }
            let checksum = if unfinished {
                Sum::pseudo_header(client, vip, protocol, transport.len()).folded()
            } else {
                sum(&transport, vip)
            };
            set_u16(&mut transport, field, checksum);
            let frame = framed(protocol, client, vip, &transport);
            let start = frame.len() - transport.len();
            let partial = ChecksumState::Partial { start: start as u16, offset: field as u16 };
            let checksum = if unfinished { partial } else { ChecksumState::Finished };
            let offload = crate::frame::Offload { checksum, segmentation: None };
            let packet = Packet { offload, ..packet(&frame) };
            let rewrite =
                Rewrite { source: packet.flow.source, destination: Endpoint::new(server, port) };
            let mut sent = Capture::default();
            emit(&packet, &rewrite, &out(InterfaceId(7), 1500), &mut sent).unwrap();
            let (_, mut frame, left) = sent.frames.remove(0);
            crate::forward::finish_checksum(&mut frame, left);
            let expected = sum(&translated(&transport), server);
            prop_assert_eq!(u16_at(&frame, start + field), expected);
            let zero_behind = if tcp { 0 } else { 0xffff };
            prop_assert!(zero != Zero::Behind || expected == zero_behind);
        }
    }

    /// A packet in a frame.
    fn framed(protocol: Protocol, source: IpAddr, destination: IpAddr, transport: &[u8]) -> Vec<u8> {
        let mut frame = SYN[..ethernet::HEADER].to_vec();
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let total_length = (ipv4::HEADER + transport.len()) as u16;
                let fields = ipv4::Fields {
                    tos: 0,
                    total_length,
                    identification: 7,
                    fragment: 0,
                    ttl: 64,
                    protocol,
                    source,
                    destination,
                };
                frame.resize(ethernet::HEADER + ipv4::HEADER, 0);
                fields.write(&mut frame[ethernet::HEADER..]);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let fields = ipv6::Fields {
                    traffic_class: 0,
                    payload_length: transport.len() as u16,
                    protocol,
                    hop_limit: 64,
                    source,
                    destination,
                };
                set_u16(&mut frame, 12, ethernet::IPV6);
                frame.resize(ethernet::HEADER + ipv6::HEADER, 0);
                fields.write(&mut frame[ethernet::HEADER..]);
            }
            ends => panic!("{ends:?}"),
        }
        frame.extend(transport);
        frame
    }

    #[test]
    fn an_unfinished_checksum_moves_with_its_packet() {
        let tagged = [&SYN[..12], &[0x81, 0, 0, 0], &SYN[12..]].concat();
        let checksum = ChecksumState::Partial { start: 38, offset: 16 };
        let offload = crate::frame::Offload { checksum, segmentation: None };
        let syn = Packet { offload, ..packet(&tagged) };
        let rewrite = Rewrite { source: syn.flow.source, destination: syn.flow.destination };
        let mut sent = Capture::default();
        for interface in [syn.interface, InterfaceId(7)] {
            emit(&syn, &rewrite, &out(interface, 1500), &mut sent).unwrap();
        }
        for (_, _, offload) in &sent.frames {
            assert_eq!(
                offload.checksum,
                ChecksumState::Partial { start: 34, offset: 16 },
                "its tag stays behind"
            );
        }
    }
}
