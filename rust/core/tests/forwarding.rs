//! Properties of forwarding. etherparse writes the packets and judges what becomes of them.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use etherparse::{NetHeaders, PacketBuilder, PacketHeaders, TransportHeader};
use fastlvs_core::capture::Capture;
use fastlvs_core::forward::icmp::{Error, Speaker};
use fastlvs_core::forward::relay::{self, Quote, Translation};
use fastlvs_core::forward::{self, Rewrite, Tunnel, answer, gateway, icmp, masquerade, segment, tunnel};
use fastlvs_core::frame::{ChecksumState, Frame, NextHop, Offload, Segmentation, SegmentationKind};
use fastlvs_core::net::{Endpoint, InterfaceId, Mac, Protocol};
use fastlvs_core::network::Output;
use fastlvs_core::packet::{Packet, Parsed, TcpFlags, parse};
use fastlvs_core::reassembly::{Reassembled, Reassembly};
use fastlvs_core::service::Encapsulation;
use fastlvs_core::time::Instant;
use fastlvs_core::verdict::DropReason;
use fastlvs_core::wire::checksum::Sum;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const DIRECTOR: [u8; 6] = [2, 0, 0, 0, 0, 1];
const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 2];
const SERVER: [u8; 6] = [2, 1, 0, 0, 0, 3];
const ETHERNET: usize = 14;
/// Where the servers of the tests take GUE: a port that nothing else is sent to.
const GUE: u16 = 6080;

/// A packet as a random client sends it.
#[derive(Clone, Debug)]
struct Sent {
    ends: (Endpoint, Endpoint),
    tcp: bool,
    tos: u8,
    ttl: u8,
    dont_fragment: bool,
    identification: u16,
    sequence: u32,
    data: Vec<u8>,
}

impl Sent {
    fn frame(&self) -> Vec<u8> {
        let (source, destination) = (self.ends.0, self.ends.1);
        let ip = match (source.address, destination.address) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut header = etherparse::Ipv4Header::new(
                    0,
                    self.ttl,
                    etherparse::IpNumber(0),
                    from.octets(),
                    to.octets(),
                )
                .unwrap();
                header.dscp = (self.tos >> 2).try_into().unwrap();
                header.ecn = (self.tos & 3).try_into().unwrap();
                header.dont_fragment = self.dont_fragment;
                header.identification = self.identification;
                etherparse::IpHeaders::Ipv4(header, etherparse::Ipv4Extensions::default())
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => etherparse::IpHeaders::Ipv6(
                etherparse::Ipv6Header {
                    traffic_class: self.tos,
                    hop_limit: self.ttl,
                    source: from.octets(),
                    destination: to.octets(),
                    ..Default::default()
                },
                etherparse::Ipv6Extensions::default(),
            ),
            ends => panic!("{ends:?}"),
        };
        let builder = PacketBuilder::ethernet2(CLIENT, DIRECTOR).ip(ip);
        let mut frame = Vec::new();
        if self.tcp {
            let tcp = builder
                .tcp(source.port, destination.port, self.sequence, 1000)
                .ack(7)
                .psh()
                .fin()
                .cwr()
                .options(&[etherparse::TcpOptionElement::Timestamp(1, 2)])
                .unwrap();
            tcp.write(&mut frame, &self.data).unwrap();
        } else {
            builder.udp(source.port, destination.port).write(&mut frame, &self.data).unwrap();
        }
        frame
    }

    /// The frame as a sender with offloads hands it over: its checksum unfinished.
    fn unfinished(&self) -> (Vec<u8>, ChecksumState) {
        let mut frame = self.frame();
        let (start, offset, length) = {
            let packet = read(&frame, Offload::NONE);
            (packet.transport, packet.checksum_field().unwrap(), packet.payload().len())
        };
        let protocol = if self.tcp { Protocol::TCP } else { Protocol::UDP };
        let pseudo = Sum::pseudo_header(self.ends.0.address, self.ends.1.address, protocol, length);
        frame[start + offset..][..2].copy_from_slice(&pseudo.folded().to_be_bytes());
        (frame, ChecksumState::Partial { start: start as u16, offset: offset as u16 })
    }

    fn aggregate(&self, size: u16) -> (Vec<u8>, Offload) {
        let (frame, checksum) = self.unfinished();
        let kind = match (self.tcp, self.ends.0.address) {
            (true, IpAddr::V4(_)) => SegmentationKind::Tcp4,
            (true, IpAddr::V6(_)) => SegmentationKind::Tcp6,
            (false, _) => SegmentationKind::Udp,
        };
        (frame, Offload { checksum, segmentation: Some(Segmentation { size, kind, ecn: true }) })
    }
}

fn sent(data: std::ops::Range<usize>) -> impl Strategy<Value = Sent> {
    let header = (any::<(bool, bool, bool)>(), any::<(u8, u16, u32)>(), 2..=255_u8);
    let ports = (any::<u16>(), port());
    let data = prop::collection::vec(any::<u8>(), data);
    (header, ports, data).prop_map(
        |(((v6, tcp, dont_fragment), (tos, identification, sequence), ttl), (from, to), data)| Sent {
            ends: (Endpoint::new(address(v6, 1), from), Endpoint::new(address(v6, 2), to)),
            tcp,
            tos,
            ttl,
            dont_fragment,
            identification,
            sequence,
            data,
        },
    )
}

/// A destination port that is not GUE's.
fn port() -> impl Strategy<Value = u16> {
    any::<u16>().prop_map(|port| port ^ u16::from(port == GUE))
}

/// IPv4 that anybody may fragment.
fn cuttable(data: std::ops::Range<usize>) -> impl Strategy<Value = Sent> {
    sent(data).prop_map(|sent| Sent {
        ends: (
            Endpoint::new(address(false, 1), sent.ends.0.port),
            Endpoint::new(address(false, 2), sent.ends.1.port),
        ),
        dont_fragment: false,
        ..sent
    })
}

fn address(v6: bool, host: u8) -> IpAddr {
    if v6 {
        Ipv6Addr::new(0x2001, 0xdb8, 0x1234, 0xffff, 0, 0, 0xff00, u16::from(host)).into()
    } else {
        Ipv4Addr::new(198, 51, 100, host).into()
    }
}

fn read(bytes: &[u8], offload: Offload) -> Packet<'_> {
    match parse(&Frame { interface: InterfaceId(0), bytes, offload }) {
        Ok(Parsed::Ip(packet)) => packet,
        other => panic!("{other:?}"),
    }
}

fn out(mtu: u32) -> Output {
    let hop = NextHop { interface: InterfaceId(1), address: address(false, 9), mac: Some(Mac(SERVER)) };
    Output { hop, source_mac: Mac(DIRECTOR), mtu, source: None }
}

/// Panics unless etherparse finds every length and every checksum of the IP packet right. The transport
/// of a fragment cannot be judged.
fn judge(packet: &[u8]) {
    let headers = PacketHeaders::from_ip_slice(packet).unwrap();
    let payload = headers.payload.slice();
    let fragmented = matches!(&headers.net, Some(NetHeaders::Ipv4(ip, _)) if ip.is_fragmenting_payload());
    if let Some(NetHeaders::Ipv4(ip, _)) = &headers.net {
        assert_eq!(ip.header_checksum, ip.calc_header_checksum());
        assert_eq!(usize::from(ip.total_len), packet.len());
    }
    if fragmented {
        return;
    }
    let carried = match &headers.net {
        Some(NetHeaders::Ipv4(ip, _)) => ip.protocol.0,
        Some(NetHeaders::Ipv6(ip, _)) => ip.next_header.0,
        other => panic!("{other:?}"),
    };
    if carried == Protocol::IPIP.0 || carried == Protocol::IPV6.0 {
        return judge(payload);
    }
    if carried == Protocol::GRE.0 {
        let header = if payload[0] & 0x80 == 0 { 4 } else { 8 };
        assert!(header == 4 || ones_complement(payload) == 0xffff, "the sum of all of it");
        return judge(&payload[header..]);
    }
    if let Some(TransportHeader::Udp(udp)) = &headers.transport
        && udp.destination_port == GUE
    {
        judge(&payload[4..]);
        if udp.checksum == 0 {
            return;
        }
    }
    match (&headers.transport, &headers.net) {
        (Some(TransportHeader::Tcp(tcp)), Some(NetHeaders::Ipv4(ip, _))) => {
            assert_eq!(tcp.checksum, tcp.calc_checksum_ipv4(ip, payload).unwrap());
        }
        (Some(TransportHeader::Tcp(tcp)), Some(NetHeaders::Ipv6(ip, _))) => {
            assert_eq!(tcp.checksum, tcp.calc_checksum_ipv6(ip, payload).unwrap());
        }
        (Some(TransportHeader::Udp(udp)), Some(NetHeaders::Ipv4(ip, _))) => {
            assert_eq!(usize::from(udp.length), 8 + payload.len());
            assert_eq!(udp.checksum, udp.calc_checksum_ipv4(ip, payload).unwrap());
        }
        (Some(TransportHeader::Udp(udp)), Some(NetHeaders::Ipv6(ip, _))) => {
            assert_eq!(usize::from(udp.length), 8 + payload.len());
            assert_eq!(udp.checksum, udp.calc_checksum_ipv6(ip, payload).unwrap());
        }
        (Some(TransportHeader::Icmpv4(icmp)), _) => {
            assert_eq!(icmp.checksum, icmp.icmp_type.calc_checksum(payload));
        }
        (Some(TransportHeader::Icmpv6(icmp)), Some(NetHeaders::Ipv6(ip, _))) => {
            let sum = icmp.icmp_type.calc_checksum(ip.source, ip.destination, payload).unwrap();
            assert_eq!(icmp.checksum, sum);
        }
        (None, _) => {}
        other => panic!("{other:?}"),
    }
}

/// The sum of 16-bit words, as RFC 1071 words it.
fn ones_complement(bytes: &[u8]) -> u16 {
    bytes.chunks(2).fold(0, |sum: u16, word| {
        let (sum, carry) =
            sum.overflowing_add(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]));
        sum + u16::from(carry)
    })
}

fn time_to_live(packet: &[u8]) -> u8 {
    if packet[0] >> 4 == 4 { packet[8] } else { packet[7] }
}

/// Masquerades, and hands back the one frame that leaves.
fn masqueraded(packet: &Packet<'_>, source: Endpoint, destination: Endpoint) -> (Vec<u8>, Offload) {
    let mut capture = Capture::default();
    masquerade::emit(packet, &Rewrite { source, destination }, &out(u32::MAX), &mut capture).unwrap();
    assert_eq!(capture.frames.len(), 1);
    let (_, frame, offload) = capture.frames.remove(0);
    (frame, offload)
}

/// Puts the payloads of IPv4 fragments together behind the first one's header.
fn reassembled(fragments: &[(InterfaceId, Vec<u8>, Offload)], mtu: usize) -> Vec<u8> {
    let mut datagram = Vec::new();
    let last = fragments.len() - 1;
    for (number, (_, frame, offload)) in fragments.iter().enumerate() {
        let fragment = &frame[ETHERNET..];
        judge(fragment);
        assert_eq!(*offload, Offload::NONE);
        assert!(fragment.len() <= mtu, "{} bytes in {mtu}", fragment.len());
        let header = usize::from(fragment[0] & 0xf) * 4;
        let field = u16::from_be_bytes([fragment[6], fragment[7]]);
        assert_eq!(field & 0x2000 != 0, number < last, "more fragments");
        if number == 0 {
            datagram.extend(&fragment[..header]);
        }
        assert_eq!(usize::from(field & 0x1fff) * 8, datagram.len() - header, "offset");
        datagram.extend(&fragment[header..]);
    }
    let length = datagram.len() as u16;
    datagram[2..4].copy_from_slice(&length.to_be_bytes());
    datagram[6] &= !0x20;
    fastlvs_core::wire::ipv4::set_checksum(&mut datagram);
    datagram
}

/// Every kind of error, and what one says that is about a way's MTU.
fn errors(mtu: u32) -> [Error; 6] {
    [
        Error::PORT_UNREACHABLE,
        Error::HOST_UNREACHABLE,
        Error::PROTOCOL_UNREACHABLE,
        Error::TIME_EXCEEDED,
        Error::REASSEMBLY_TIME_EXCEEDED,
        Error::too_big(mtu),
    ]
}

/// Every kind of tunnel, by the family of its outer header.
fn tunnels() -> Vec<(bool, Encapsulation)> {
    let both = |encapsulation| [(false, encapsulation), (true, encapsulation)];
    let checked = |checksum| {
        [Encapsulation::Gue { port: GUE, checksum }, Encapsulation::Gre { checksum }]
            .into_iter()
            .flat_map(both)
    };
    both(Encapsulation::Ipip).into_iter().chain(checked(false)).chain(checked(true)).collect()
}

proptest! {
    #[test]
    fn every_method_sends_right_checksums(sent in sent(0..1400), port in port(), unfinished: bool) {
        let (frame, checksum) = if unfinished { sent.unfinished() } else { (sent.frame(), ChecksumState::Finished) };
        let packet = read(&frame, Offload { checksum, segmentation: None });
        let v6 = !packet.is_ipv4();
        let server = Endpoint::new(address(v6, 77), port);
        let mut capture = Capture::default();
        let rewrite = Rewrite { source: sent.ends.0, destination: server };
        masquerade::emit(&packet, &rewrite, &out(1500), &mut capture).unwrap();
        gateway::emit(&packet, &out(1500), &mut capture).unwrap();
        for (outer_v6, encapsulation) in tunnels() {
            let (source, destination) = (address(outer_v6, 8), address(outer_v6, 9));
            let tunnel = Tunnel { encapsulation, ..Tunnel::ipip(source, destination, 5) };
            tunnel::emit(&packet, &tunnel, &out(1552), &mut capture).unwrap();
        }
        prop_assert_eq!(capture.frames.len(), 2 + tunnels().len());
        for (interface, frame, offload) in &mut capture.frames {
            prop_assert_eq!(*interface, InterfaceId(1));
            prop_assert_eq!(&frame[..12], &[SERVER, DIRECTOR].concat()[..]);
            forward::finish_checksum(frame, *offload);
            judge(&frame[ETHERNET..]);
            prop_assert_eq!(time_to_live(&frame[ETHERNET..]), sent.ttl - 1);
            prop_assert!(frame.ends_with(&sent.data));
        }
        let rewritten = read(&capture.frames[0].1, Offload::NONE);
        prop_assert_eq!((rewritten.flow.source, rewritten.flow.destination), (sent.ends.0, server));
    }

    #[test]
    fn masquerading_there_and_back_changes_the_time_to_live_alone(sent in sent(0..200), port in port(), damage: u16, unfinished: bool) {
        let (mut frame, checksum) = if unfinished { sent.unfinished() } else { (sent.frame(), ChecksumState::Finished) };
        let offload = Offload { checksum, segmentation: None };
        let field = { let packet = read(&frame, offload); packet.transport + packet.checksum_field().unwrap() };
        // A damaged packet has to stay damaged; 0 is none for UDP.
        if damage != 0 && !unfinished {
            frame[field..field + 2].copy_from_slice(&damage.to_be_bytes());
        }
        let packet = read(&frame, offload);
        prop_assume!(packet.ttl > 2);
        let (there, offload_there) = masqueraded(&packet, Endpoint::new(address(!packet.is_ipv4(), 3), port), sent.ends.1);
        let (back, offload_back) = masqueraded(&read(&there, offload_there), sent.ends.0, sent.ends.1);
        prop_assert_eq!(offload_back, offload);
        let mut expected = frame.clone();
        expected[..12].copy_from_slice(&[SERVER, DIRECTOR].concat());
        if packet.is_ipv4() {
            expected[ETHERNET + 8] -= 2;
            fastlvs_core::wire::ipv4::set_checksum(&mut expected[ETHERNET..]);
        } else {
            expected[ETHERNET + 7] -= 2;
        }
        // One's complement has two zeros.
        let number = |frame: &[u8]| u16::from_be_bytes([frame[field], frame[field + 1]]) % 0xffff;
        prop_assert_eq!(number(&back), number(&expected));
        let mut back = back;
        back[field..field + 2].copy_from_slice(&expected[field..field + 2]);
        prop_assert_eq!(back, expected);
    }

    #[test]
    fn an_aggregate_is_cut_into_the_packets_that_it_stands_for(sent in sent(1..20_000), size in 500_u16..9000) {
        let (frame, offload) = sent.aggregate(size);
        let packet = read(&frame, offload);
        let mut pieces = Vec::new();
        segment::finished(&packet, &mut vec![0; 70_000], |piece| { pieces.push(piece.to_vec()); Ok(()) }).unwrap();
        prop_assert_eq!(pieces.len(), packet.pieces());
        let mut data: Vec<u8> = Vec::new();
        for (number, frame) in pieces.iter().enumerate() {
            judge(&frame[ETHERNET..]);
            let piece = read(frame, Offload::NONE);
            prop_assert_eq!(piece.flow, packet.flow);
            prop_assert!(piece.ip_length() <= packet.longest_piece());
            if piece.is_ipv4() {
                let identification = u16::from_be_bytes([frame[ETHERNET + 4], frame[ETHERNET + 5]]);
                prop_assert_eq!(identification, sent.identification.wrapping_add(number as u16));
            }
            if let Some(header) = piece.tcp() {
                prop_assert_eq!(header.sequence(), sent.sequence.wrapping_add(data.len() as u32));
                let (first, last) = (number == 0, number + 1 == pieces.len());
                prop_assert_eq!(header.flags().fin(), last);
                prop_assert_eq!(header.flags().0 & TcpFlags::PSH.0 != 0, last);
                prop_assert_eq!(header.flags().0 & TcpFlags::CWR.0 != 0, first);
                prop_assert!(header.flags().ack());
            }
            data.extend(&piece.payload()[piece.transport_header_length()..]);
        }
        prop_assert_eq!(data, sent.data);
    }

    #[test]
    fn an_aggregate_is_passed_on_whole_or_tunneled_in_pieces(sent in sent(3000..20_000), port in port()) {
        let (frame, offload) = sent.aggregate(1300);
        let packet = read(&frame, offload);
        let server = Endpoint::new(address(!packet.is_ipv4(), 77), port);
        let (whole, left) = masqueraded(&packet, sent.ends.0, server);
        prop_assert_eq!(left, offload);
        segment::finished(&read(&whole, left), &mut vec![0; 70_000], |piece| { judge(&piece[ETHERNET..]); Ok(()) }).unwrap();
        let mut capture = Capture::default();
        let tunnel = Tunnel::ipip(address(false, 8), address(false, 9), u16::MAX);
        tunnel::emit(&packet, &tunnel, &out(1420), &mut capture).unwrap();
        prop_assert_eq!(capture.frames.len(), packet.pieces());
        for (number, (_, frame, offload)) in capture.frames.iter().enumerate() {
            prop_assert_eq!(*offload, Offload::NONE);
            judge(&frame[ETHERNET..]);
            judge(&frame[ETHERNET + 20..]);
            let identification = u16::from_be_bytes([frame[ETHERNET + 4], frame[ETHERNET + 5]]);
            let numbered = !(packet.is_ipv4() && sent.dont_fragment);
            prop_assert_eq!(identification, if numbered { u16::MAX.wrapping_add(number as u16) } else { 0 });
        }
    }

    #[test]
    fn fragments_add_up_to_the_datagram(sent in cuttable(1500..9000), mtu in 68_u32..1500, unfinished: bool, port in port()) {
        let (frame, checksum) = if unfinished { sent.unfinished() } else { (sent.frame(), ChecksumState::Finished) };
        let packet = read(&frame, Offload { checksum, segmentation: None });
        let rewrite = Rewrite { source: sent.ends.0, destination: Endpoint::new(address(false, 77), port) };
        let mut capture = Capture::default();
        masquerade::emit(&packet, &rewrite, &out(mtu), &mut capture).unwrap();
        judge(&reassembled(&capture.frames, mtu as usize));
        let mut capture = Capture::default();
        gateway::emit(&packet, &out(mtu), &mut capture).unwrap();
        let mut expected = frame.clone();
        forward::finish_checksum(&mut expected, packet.offload);
        expected[ETHERNET + 8] -= 1;
        fastlvs_core::wire::ipv4::set_checksum(&mut expected[ETHERNET..]);
        prop_assert_eq!(&reassembled(&capture.frames, mtu as usize)[..], &expected[ETHERNET..]);
        let mut capture = Capture::default();
        let tunnel = Tunnel::ipip(address(false, 8), address(false, 9), 3);
        tunnel::emit(&packet, &tunnel, &out(mtu), &mut capture).unwrap();
        prop_assert_eq!(&reassembled(&capture.frames, mtu as usize)[20..], &expected[ETHERNET..]);
    }

    #[test]
    fn an_aggregate_that_may_be_cut_is_cut_twice(sent in cuttable(4000..9000), mtu in 300_u32..1000) {
        let (frame, offload) = sent.aggregate(1448);
        let packet = read(&frame, offload);
        let rewrite = Rewrite { source: sent.ends.0, destination: Endpoint::new(address(false, 77), 8080) };
        let mut capture = Capture::default();
        masquerade::emit(&packet, &rewrite, &out(mtu), &mut capture).unwrap();
        let ends = |frame: &(InterfaceId, Vec<u8>, Offload)| frame.1[ETHERNET + 6] & 0x20 == 0;
        let datagrams: Vec<_> = capture.frames.split_inclusive(ends).collect();
        prop_assert_eq!(datagrams.len(), packet.pieces());
        for fragments in datagrams {
            judge(&reassembled(fragments, mtu as usize));
        }
    }

    #[test]
    fn errors_and_answers_are_well_formed(sent in sent(0..2000)) {
        let frame = sent.frame();
        let packet = read(&frame, Offload::NONE);
        let (from, mut capture) = (packet.destination(), Capture::default());
        let out = out(1500);
        let speaker = Speaker { address: from, identification: 1, out: &out };
        for error in errors(1400) {
            icmp::emit(error, &packet, &speaker, &mut capture).unwrap();
            icmp::emit(error.behind_hop(), &packet, &speaker, &mut capture).unwrap();
        }
        answer::as_host(&packet, 1, &out, &mut capture).unwrap();
        prop_assert_eq!(capture.frames.len(), 2 * errors(1400).len() + 1);
        for (_, frame, _) in &capture.frames {
            judge(&frame[ETHERNET..]);
            let longest = if packet.is_ipv4() { 576 } else { 1280 };
            prop_assert!(frame.len() <= ETHERNET + longest);
            let answer = read(frame, Offload::NONE);
            prop_assert_eq!((answer.source(), answer.destination()), (from, packet.source()));
            // Nobody answers an error in turn.
            if answer.is_icmp_error() {
                let mut nothing = Capture::default();
                let told = icmp::emit(Error::PORT_UNREACHABLE, &answer, &speaker, &mut nothing);
                prop_assert_eq!(told, Err(DropReason::NoServer));
                prop_assert!(nothing.frames.is_empty());
            }
        }
    }

    #[test]
    fn no_frame_whatever_makes_anything_panic(
        sent in sent(0..300),
        noise in prop::collection::vec((0_usize..120, any::<u8>()), 0..6),
        cut in 0_usize..400,
        offload in offload(),
        mtu in 0_u32..600,
        repair: bool,
    ) {
        let mut frame = sent.frame();
        for (at, value) in noise {
            if let Some(byte) = frame.get_mut(at) { *byte = value; }
        }
        frame.truncate(cut);
        // A wrong header checksum would end most of them at once.
        let header = frame.get(ETHERNET).map_or(0, |first| usize::from(first & 0xf) * 4);
        if repair && header >= 20 && frame.len() >= ETHERNET + header {
            fastlvs_core::wire::ipv4::set_checksum(&mut frame[ETHERNET..]);
        }
        drive(&frame, offload, mtu);
    }

    #[test]
    fn no_bytes_whatever_make_anything_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), ethertype in 0_usize..3, offload in offload()) {
        let mut bytes = bytes;
        if let Some(place) = bytes.get_mut(12..14) {
            place.copy_from_slice(&[[0x08, 0x00], [0x86, 0xdd], [0x08, 0x06]][ethertype]);
        }
        drive(&bytes, offload, 100);
    }
}

fn offload() -> impl Strategy<Value = Offload> {
    let checksum = prop_oneof![
        Just(ChecksumState::Finished),
        (0_u16..120, 0_u16..20).prop_map(|(start, offset)| ChecksumState::Partial { start, offset }),
        any::<(u16, u16)>().prop_map(|(start, offset)| ChecksumState::Partial { start, offset }),
        Just(ChecksumState::Partial { start: 34, offset: 16 }),
        Just(ChecksumState::Partial { start: 34, offset: 6 }),
    ];
    let kind =
        prop_oneof![Just(SegmentationKind::Tcp4), Just(SegmentationKind::Tcp6), Just(SegmentationKind::Udp)];
    let segmentation = prop::option::of((0_u16..100, kind, any::<bool>()));
    (checksum, segmentation).prop_map(|(checksum, segmentation)| Offload {
        checksum,
        segmentation: segmentation.map(|(size, kind, ecn)| Segmentation { size, kind, ecn }),
    })
}

/// Does everything to a frame that can be done to it. Only a panic fails.
fn drive(bytes: &[u8], offload: Offload, mtu: u32) {
    let mut capture = Capture::default();
    let packet = match parse(&Frame { interface: InterfaceId(1), bytes, offload }) {
        Ok(Parsed::Ip(packet)) => packet,
        Ok(Parsed::Arp(arp)) => {
            answer::arp_reply(&arp, InterfaceId(0), Mac(DIRECTOR), &mut capture).unwrap();
            return;
        }
        Ok(Parsed::Other) | Err(_) => return,
    };
    let out = out(mtu);
    for v6 in [false, true] {
        let end = Endpoint::new(address(v6, 1), 1);
        let _ = masquerade::emit(&packet, &Rewrite { source: end, destination: end }, &out, &mut capture);
        for (_, encapsulation) in tunnels() {
            let tunnel = Tunnel { encapsulation, ..Tunnel::ipip(end.address, end.address, 0) };
            let _ = tunnel::emit(&packet, &tunnel, &out, &mut capture);
        }
        let speaker = Speaker { address: end.address, identification: 0, out: &out };
        for error in errors(1) {
            let _ = icmp::emit(error.behind_hop(), &packet, &speaker, &mut capture);
        }
    }
    if let Some(quote) = packet.is_icmp().then(|| Quote::of(&packet)).flatten() {
        for translation in [
            Translation::ToServer(Endpoint::new(address(!packet.is_ipv4(), 3), 1)),
            Translation::ToClient(Endpoint::new(address(!packet.is_ipv4(), 3), 1)),
        ] {
            let mut copy = packet.datagram().to_vec();
            let _ = relay::translate_in_place(&packet, &quote, translation, &mut copy);
            let _ = relay::emit(&packet, &quote, translation, true, &out, &mut capture);
        }
        let speaker = Speaker { address: address(false, 1), identification: 0, out: &out };
        let _ = icmp::emit_about(Error::relayed(3, 3, 0), &packet, &quote, &speaker, &mut capture);
    }
    if let Reassembled::Complete(complete) = Reassembly::default().add(&packet, Instant::ZERO) {
        let _ = parse(&Frame { interface: InterfaceId(1), bytes: complete.bytes(), offload: Offload::NONE });
    }
    let _ = gateway::emit(&packet, &out, &mut capture);
    let _ = answer::as_host(&packet, 0, &out, &mut capture);
    let _ = segment::finished(&packet, &mut [0; 300], |_| Ok(()));
    let _ = (packet.pieces(), packet.icmp_type(), packet.tcp(), forward::fits(&packet, mtu));
}
