//! Storms through the whole pipeline, both families and every method: nothing panics, and whatever leaves is a
//! packet whose lengths and checksums etherparse finds right.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use etherparse::checksum::Sum16BitWords;
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use fastlvs_core::capture::Capture;
use fastlvs_core::forward::segment;
use fastlvs_core::frame::{ChecksumState, Frame, Offload, Segmentation, SegmentationKind};
use fastlvs_core::net::{Endpoint, InterfaceId, Mac, Protocol};
use fastlvs_core::network::{Interface, Network, Route, RouteKind};
use fastlvs_core::packet::{Packet, Parsed, parse};
use fastlvs_core::pipeline::{Pipeline, Snapshot};
use fastlvs_core::service::{
    Encapsulation, Method, SchedulerSpec, ServerSpec, ServiceKey, ServiceSpec, ServiceTable,
};
use fastlvs_core::settings::Settings;
use fastlvs_core::time::{Duration, Instant};
use fastlvs_core::verdict::Verdict;
use fastlvs_core::wire::checksum::Sum;
use fastlvs_core::wire::ipv4;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

const LEGS: [InterfaceId; 2] = [InterfaceId(0), InterfaceId(1)];
const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 1, 1]];
const FAR: [u8; 6] = [2, 0, 0, 0, 0, 2];
const ETHERNET: usize = 14;

/// What happens to one frame of a storm.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
struct Shot {
    v6: bool,
    from_server: bool,
    tcp: bool,
    port: u8,
    client: u8,
    flags: u8,
    length: usize,
    error: Option<usize>,
    fragment: Option<(u16, bool, u8)>,
    changes: Vec<(usize, u8)>,
    /// What its sender left to the network card: to cut it into pieces of so much data, or only the checksum (0).
    unfinished: Option<u16>,
    output: bool,
}

fn shot() -> impl Strategy<Value = Shot> {
    let kind = any::<(bool, bool, bool, bool)>();
    let ends = (0..7_u8, 0..3_u8, any::<u8>());
    let length = prop_oneof![0..64_usize, Just(1400), Just(1460)];
    let unfinished = prop_oneof![7 => Just(None), 1 => Just(Some(0)), 2 => (0..1500_u16).prop_map(Some)];
    let error = prop::option::weighted(0.2, 0..200_usize);
    let fragment = prop::option::weighted(0.2, (0..20_u16, any::<bool>(), 0..2_u8));
    let changes = prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::vec((ETHERNET..120, any::<u8>()), 1..4),
    ];
    (kind, ends, length, error, fragment, changes, unfinished).prop_map(
        |(
            (v6, from_server, tcp, output),
            (port, client, flags),
            length,
            error,
            fragment,
            changes,
            unfinished,
        )| {
            // An aggregate has something to cut.
            let length = length * if unfinished.is_some_and(|size| size > 0) { 13 } else { 1 };
            let output = output && flags.is_multiple_of(4);
            Shot {
                v6,
                from_server,
                tcp,
                port,
                client,
                flags,
                length,
                error,
                fragment,
                changes,
                unfinished,
                output,
            }
        },
    )
}

impl Shot {
    fn frame(&self) -> (InterfaceId, Vec<u8>, Offload) {
        let leg = usize::from(self.from_server);
        let client = (address(self.v6, 100, self.client), 1000 + u16::from(self.client));
        let (vip, server) = (address(self.v6, 99, 1), address(self.v6, 50, 3));
        let port = 80 + u16::from(self.port);
        let (source, destination) =
            if self.from_server { ((server, port + 1000), client) } else { (client, (vip, port)) };
        let mut frame = packet(MACS[leg], source, destination, self.tcp, self.flags, self.length);
        if let Some(quoted) = self.error {
            // About a packet that ran the other way.
            let about = packet(FAR, destination, source, self.tcp, self.flags, self.length);
            let about = &about[ETHERNET..about.len().min(ETHERNET + 20 + quoted)];
            frame = error(MACS[leg], address(self.v6, 77, 7), destination.0, about);
        }
        let offload = self.offload(&mut frame);
        if let Some((start, more, number)) = self.fragment {
            frame = fragment(frame, self.v6, start, more, number);
        }
        for (at, value) in &self.changes {
            if let Some(byte) = frame.get_mut(*at) {
                *byte = *value;
            }
        }
        let header = frame.get(ETHERNET).map_or(0, |first| usize::from(first & 0xf) * 4);
        if !self.v6 && header >= 20 && frame.len() >= ETHERNET + header {
            ipv4::set_checksum(&mut frame[ETHERNET..]);
        }
        (LEGS[leg], frame, offload)
    }

    /// Leaves the checksum unfinished, and perhaps more, as the sender did.
    fn offload(&self, frame: &mut [u8]) -> Offload {
        let Some(size) = self.unfinished else { return Offload::NONE };
        let (start, offset, flow, length) = {
            let packet = read(frame, Offload::NONE);
            let Some(field) = packet.checksum_field() else { return Offload::NONE };
            (packet.transport, field, packet.flow, packet.payload().len())
        };
        let sum = Sum::pseudo_header(flow.source.address, flow.destination.address, flow.protocol, length);
        frame[start + offset..][..2].copy_from_slice(&sum.folded().to_be_bytes());
        let kind = match (self.tcp, self.v6) {
            (false, _) => SegmentationKind::Udp,
            (true, false) => SegmentationKind::Tcp4,
            (true, true) => SegmentationKind::Tcp6,
        };
        let segmentation =
            (size > 0 && self.error.is_none()).then_some(Segmentation { size, kind, ecn: false });
        let checksum = ChecksumState::Partial { start: start as u16, offset: offset as u16 };
        Offload { checksum, segmentation }
    }
}

fn read(bytes: &[u8], offload: Offload) -> Packet<'_> {
    match parse(&Frame { interface: LEGS[0], bytes, offload }) {
        Ok(Parsed::Ip(packet)) => packet,
        other => panic!("{other:?}: {:02x?}", &bytes[..bytes.len().min(80)]),
    }
}

fn address(v6: bool, network: u8, host: u8) -> IpAddr {
    if v6 {
        Ipv6Addr::new(0xfd00, network.into(), 0, 0, 0, 0, 0, host.into()).into()
    } else {
        Ipv4Addr::new(10, network, 0, host).into()
    }
}

fn packet(
    mac: [u8; 6],
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
    tcp: bool,
    flags: u8,
    length: usize,
) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(FAR, mac);
    let builder = match (source.0, destination.0) {
        (IpAddr::V4(from), IpAddr::V4(to)) => builder.ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => builder.ipv6(from.octets(), to.octets(), 64),
        ends => panic!("{ends:?}"),
    };
    let (data, mut frame) = (vec![7; length], Vec::new());
    if tcp {
        let mut builder = builder.tcp(source.1, destination.1, 1, 1000);
        builder = if flags & 2 != 0 { builder.syn() } else { builder.ack(1) };
        builder = if flags & 0x10 != 0 { builder.fin() } else { builder };
        builder.write(&mut frame, &data).unwrap();
    } else {
        builder.udp(source.1, destination.1).write(&mut frame, &data).unwrap();
    }
    frame
}

fn error(mac: [u8; 6], source: IpAddr, destination: IpAddr, about: &[u8]) -> Vec<u8> {
    let (builder, mut frame) = (PacketBuilder::ethernet2(FAR, mac), Vec::new());
    match (source, destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let host = etherparse::icmpv4::DestUnreachableHeader::Host;
            let kind = etherparse::Icmpv4Type::DestinationUnreachable(host);
            builder.ipv4(from.octets(), to.octets(), 64).icmpv4(kind).write(&mut frame, about).unwrap();
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let address = etherparse::icmpv6::DestUnreachableCode::Address;
            let kind = etherparse::Icmpv6Type::DestinationUnreachable(address);
            builder.ipv6(from.octets(), to.octets(), 64).icmpv6(kind).write(&mut frame, about).unwrap();
        }
        ends => panic!("{ends:?}"),
    }
    frame
}

/// The frame made a fragment: all of its payload, at a place in eights of bytes.
fn fragment(mut frame: Vec<u8>, v6: bool, start: u16, more: bool, number: u8) -> Vec<u8> {
    if !v6 {
        frame[ETHERNET + 5] = number;
        let field = start | if more { 0x2000 } else { 0 };
        frame[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&field.to_be_bytes());
        return frame;
    }
    let field = (start << 3 | u16::from(more)).to_be_bytes();
    let header = [frame[ETHERNET + 6], 0, field[0], field[1], 0, 0, 0, number];
    frame[ETHERNET + 6] = 44;
    let length = u16::from_be_bytes([frame[ETHERNET + 4], frame[ETHERNET + 5]]) + 8;
    frame[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&length.to_be_bytes());
    frame.splice(ETHERNET + 40..ETHERNET + 40, header);
    frame
}

fn snapshot() -> Snapshot {
    let leg = |name: &str, mac: [u8; 6], networks: [&str; 2]| Interface {
        name: name.to_owned(),
        mac: Mac(mac),
        mtu: 1500,
        addresses: networks.iter().map(|network| network.parse().unwrap()).collect(),
    };
    let interfaces = vec![
        leg("c", MACS[0], ["10.1.0.1/24", "fd00:1::1/64"]),
        leg("s", MACS[1], ["10.50.0.1/16", "fd00:50::1/64"]),
    ];
    // The addresses of both families are written with the same numbers, which IPv6 reads in hexadecimal.
    let via = |router: &str, all: &str| Route {
        destination: all.parse().unwrap(),
        kind: RouteKind::Unicast {
            interface: LEGS[0],
            via: Some(router.parse().unwrap()),
            mtu: None,
            source: None,
        },
        metric: 0,
    };
    let server_link = Route {
        destination: "fd00:32::/64".parse().unwrap(),
        kind: RouteKind::Unicast { interface: LEGS[1], via: None, mtu: None, source: None },
        metric: 0,
    };
    let network = Network::new(interfaces)
        .with_routes([via("10.1.0.2", "0.0.0.0/0"), via("fd00:1::2", "::/0"), server_link])
        .with_neighbours([
            (LEGS[0], "10.1.0.2".parse().unwrap(), Mac(FAR)),
            (LEGS[0], "fd00:1::2".parse().unwrap(), Mac(FAR)),
            (LEGS[1], address(false, 50, 3), Mac(FAR)),
            (LEGS[1], address(true, 50, 3), Mac(FAR)),
        ])
        .with_local(["10.99.0.0/16".parse().unwrap(), "fd00:63::/64".parse().unwrap()]);
    let methods = [
        (Method::Masquerading, Encapsulation::Ipip),
        (Method::Gatewaying, Encapsulation::Ipip),
        (Method::Tunneling, Encapsulation::Ipip),
        (Method::Tunneling, Encapsulation::Gue { port: 6080, checksum: true }),
        (Method::Tunneling, Encapsulation::Gre { checksum: true }),
    ];
    let mut services = Vec::new();
    for v6 in [false, true] {
        for protocol in [Protocol::TCP, Protocol::UDP] {
            for (port, (method, encapsulation)) in (80..).zip(methods) {
                let other = if method == Method::Masquerading { 1000 } else { 0 };
                services.push(ServiceSpec {
                    key: ServiceKey::new(protocol, Endpoint::new(address(v6, 99, 1), port)),
                    scheduler: SchedulerSpec::Named("rr".to_owned()),
                    servers: vec![ServerSpec {
                        endpoint: Endpoint::new(address(v6, 50, 3), port + other),
                        method,
                        encapsulation,
                        ..ServerSpec::default()
                    }],
                    ..ServiceSpec::default()
                });
            }
        }
    }
    Snapshot {
        services: Arc::new(ServiceTable::default().apply(&services, Instant::ZERO).unwrap()),
        network: Arc::new(network),
        settings: Settings { schedule_icmp: true, nat_icmp_send: true, ..Settings::default() },
        ..Snapshot::default()
    }
}

/// Panics unless the IP header's lengths and checksum are right and, where `undamaged` says that it came so, the
/// transport's checksum.
fn judge(frame: &[u8], undamaged: bool) {
    let shown = &frame[..frame.len().min(80)];
    assert!(frame.len() <= ETHERNET + 1500, "longer than the link takes: {shown:02x?}");
    let packet = &frame[ETHERNET..];
    match frame[12..14] {
        [8, 0] => {
            let (header, _) = etherparse::Ipv4Header::from_slice(packet).unwrap();
            // Over the bytes as they are: etherparse's own sum leaves out the reserved flag.
            let sum = Sum16BitWords::new().add_slice(&packet[..header.header_len()]);
            assert_eq!(sum.ones_complement(), 0, "{shown:02x?}");
            assert_eq!(usize::from(header.total_len), packet.len(), "{shown:02x?}");
        }
        [0x86, 0xdd] => {
            let (header, _) = etherparse::Ipv6Header::from_slice(packet).unwrap();
            assert_eq!(usize::from(header.payload_length), packet.len() - 40, "{shown:02x?}");
        }
        _ => panic!("{shown:02x?}"),
    }
    if undamaged {
        judge_transport(frame, shown);
    }
}

fn judge_transport(frame: &[u8], shown: &[u8]) {
    let packet = SlicedPacket::from_ethernet(frame).unwrap_or_else(|error| panic!("{error}: {shown:02x?}"));
    let right = match (packet.transport.as_ref(), packet.net.as_ref().unwrap()) {
        (Some(TransportSlice::Tcp(tcp)), NetSlice::Ipv4(ip)) => {
            let ip = ip.header();
            tcp.calc_checksum_ipv4(ip.source(), ip.destination()).unwrap() == tcp.checksum()
        }
        (Some(TransportSlice::Tcp(tcp)), NetSlice::Ipv6(ip)) => {
            let ip = ip.header();
            tcp.calc_checksum_ipv6(ip.source(), ip.destination()).unwrap() == tcp.checksum()
        }
        (Some(TransportSlice::Icmpv4(icmp)), _) => {
            icmp.icmp_type().calc_checksum(icmp.payload()) == icmp.checksum()
        }
        (Some(TransportSlice::Icmpv6(icmp)), NetSlice::Ipv6(ip)) => {
            icmp.is_checksum_valid(ip.header().source(), ip.header().destination())
        }
        _ => true,
    };
    assert!(right, "{shown:02x?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_comes_what_leaves_is_well_formed(shots in prop::collection::vec(shot(), 1..120)) {
        let (snapshot, mut pipeline) = (snapshot(), Pipeline::new((1, 2)));
        let (mut capture, mut now, mut room) = (Capture::default(), Instant::ZERO, vec![0; 70_000]);
        for shot in &shots {
            let (interface, bytes, offload) = shot.frame();
            let frame = Frame { interface, bytes: &bytes, offload };
            let outcome = if shot.output {
                pipeline.process_output(&snapshot, &frame, now, &mut capture)
            } else {
                pipeline.process(&snapshot, &frame, now, &mut capture)
            };
            prop_assert_eq!(outcome.for_host.is_some(), outcome.verdict == Verdict::ToHost);
            let undamaged = shot.changes.is_empty() && shot.fragment.is_none();
            for (_, sent, left) in capture.frames.drain(..) {
                if left == Offload::NONE {
                    judge(&sent, undamaged);
                } else if undamaged {
                    segment::finished(&read(&sent, left), &mut room, |piece| { judge(piece, true); Ok(()) }).unwrap();
                }
            }
            now += Duration::from_millis(500);
            pipeline.advance(&snapshot, now, &mut capture);
            capture.frames.drain(..).for_each(|(_, told, _)| judge(&told, true));
        }
        let counters = pipeline.counters();
        prop_assert_eq!(counters.frames(), shots.len() as u64);
    }
}
