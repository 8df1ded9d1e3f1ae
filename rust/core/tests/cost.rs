//! What a packet costs does not follow the number of services and servers, whatever a stranger writes into it.

#![allow(
    clippy::unwrap_used,
    reason = "a test's set-up that fails is a failed test; clippy sees helpers as no tests"
)]

use etherparse::PacketBuilder;
use fastlvs_core::capture::Capture;
use fastlvs_core::frame::{Frame, Offload};
use fastlvs_core::marks::{MarkRule, Marks};
use fastlvs_core::net::{Endpoint, InterfaceId, Mac, Prefix, Protocol};
use fastlvs_core::network::{Interface, Network, Route, RouteKind};
use fastlvs_core::pipeline::{Pipeline, Snapshot};
use fastlvs_core::service::{Encapsulation, Method, ServerSpec, ServiceKey, ServiceSpec, ServiceTable};
use fastlvs_core::time::Instant;
use fastlvs_core::wire::ipv4;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

const LEG: InterfaceId = InterfaceId(0);
const DIRECTOR: [u8; 6] = [2, 0, 0, 0, 0, 1];
const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 2];
const CLIENT: [u8; 4] = [203, 0, 113, 9];
const STRANGER: [u8; 4] = [203, 0, 113, 66];
const VIP: [u8; 4] = [172, 16, 0, 0];
const SERVER: [u8; 4] = [10, 1, 0, 0];
const FEW: u16 = 10;
const MANY: u16 = 5_000;

/// So many services, each with a VIP of the engine's own, with a server by NAT and tunnels of every kind; and as many
/// rules for marks.
fn snapshot(services: u16) -> Snapshot {
    let end = |[network, second, ..]: [u8; 4], number: u16, port| {
        let [high, low] = number.to_be_bytes();
        Endpoint::new([network, second, high, low].into(), port)
    };
    let tunnels = [
        Encapsulation::Ipip,
        Encapsulation::Gre { checksum: false },
        Encapsulation::Gue { port: 6080, checksum: false },
    ];
    let service = |number: u16| {
        let tunnel = |(host, encapsulation): (u8, Encapsulation)| ServerSpec {
            endpoint: end([10, host, 0, 0], number, 80),
            method: Method::Tunneling,
            encapsulation,
            ..ServerSpec::default()
        };
        let masqueraded = ServerSpec {
            endpoint: end(SERVER, number, 8080),
            method: Method::Masquerading,
            ..ServerSpec::default()
        };
        ServiceSpec {
            key: ServiceKey::new(Protocol::TCP, end(VIP, number, 80)),
            servers: (2..).zip(tunnels).map(tunnel).chain([masqueraded]).collect(),
            ..ServiceSpec::default()
        }
    };
    let specs: Vec<_> = (0..services).map(service).collect();
    let leg = Interface {
        name: "c".to_owned(),
        mac: Mac(DIRECTOR),
        mtu: 1500,
        addresses: vec!["192.0.2.1/24".parse().unwrap()],
    };
    let router: IpAddr = "192.0.2.2".parse().unwrap();
    let default = RouteKind::Unicast { interface: LEG, via: Some(router), mtu: None, source: None };
    let network = Network::new(vec![leg])
        .with_routes([Route { destination: "0.0.0.0/0".parse().unwrap(), kind: default, metric: 0 }])
        .with_neighbours([(LEG, router, Mac(ROUTER))])
        .with_owned((0..services).map(|number| end(VIP, number, 80).address));
    let mark = |number: u16| MarkRule {
        destination: Prefix::host(end([198, 18, 0, 0], number, 0).address),
        source: None,
        protocol: None,
        ports: 80..=80,
        mark: u32::from(number) + 1,
    };
    let marks = Arc::new(Marks::new((0..services).map(mark).collect()));
    let table = ServiceTable::default().apply(&specs, Instant::ZERO).unwrap();
    Snapshot { services: Arc::new(table), network: Arc::new(network), marks, ..Snapshot::default() }
}

fn segment(from: [u8; 4], ports: (u16, u16), to: [u8; 4]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2(ROUTER, DIRECTOR)
        .ipv4(from, to, 64)
        .tcp(ports.0, ports.1, 1000, 64000)
        .syn()
        .write(&mut bytes, &[])
        .unwrap();
    bytes
}

/// An ICMP error to the director that quotes a packet of `protocol` that it never sent, with a client's packet in it.
fn error_about(protocol: Protocol) -> Vec<u8> {
    let inner = &segment(STRANGER, (9, 80), VIP)[14..];
    let in_front: &[u8] = match protocol {
        Protocol::GRE => &[0, 0, 8, 0],
        Protocol::UDP => &[0x9c, 0x40, 0x17, 0xc0, 0, 52, 0, 0, 0, 4, 0, 0],
        _ => &[],
    };
    let mut quoted = vec![0; ipv4::HEADER];
    let fields = ipv4::Fields {
        tos: 0,
        total_length: (ipv4::HEADER + in_front.len() + inner.len()) as u16,
        identification: 7,
        fragment: 0,
        ttl: 64,
        protocol,
        source: [192, 0, 2, 1].into(),
        destination: STRANGER.into(),
    };
    fields.write(&mut quoted);
    quoted.extend_from_slice(in_front);
    quoted.extend_from_slice(inner);
    let code = etherparse::icmpv4::DestUnreachableHeader::Host;
    let error = PacketBuilder::ethernet2(ROUTER, DIRECTOR)
        .ipv4(STRANGER, [192, 0, 2, 1], 64)
        .icmpv4(etherparse::Icmpv4Type::DestinationUnreachable(code));
    let mut bytes = Vec::new();
    error.write(&mut bytes, &quoted).unwrap();
    bytes
}

/// One engine.
struct Director {
    snapshot: Snapshot,
    pipeline: Pipeline,
    capture: Capture,
}

impl Director {
    fn new(services: u16) -> Self {
        let mut snapshot = snapshot(services);
        snapshot.settings.nat_icmp_send = true;
        Self { snapshot, pipeline: Pipeline::new((1, 2)), capture: Capture::default() }
    }

    /// How long a hundred such frames take.
    fn takes(&mut self, bytes: &[u8]) -> Duration {
        let frame = Frame { interface: LEG, bytes, offload: Offload::NONE };
        let began = Clock::now();
        for _ in 0..100 {
            self.pipeline.process(&self.snapshot, &frame, Instant::ZERO, &mut self.capture);
            self.capture.frames.clear();
        }
        began.elapsed()
    }
}

#[test]
fn a_packet_costs_as_much_among_few_services_as_among_many() {
    let (mut few, mut many) = (Director::new(FEW), Director::new(MANY));
    for (what, frame) in [
        ("a packet of a connection", segment(CLIENT, (40000, 80), VIP)),
        ("a packet to a VIP of the engine's own and no service", segment(CLIENT, (40000, 81), VIP)),
        ("an error about IP in IP", error_about(Protocol::IPIP)),
        ("an error about GRE", error_about(Protocol::GRE)),
        ("an error about UDP", error_about(Protocol::UDP)),
        ("a packet of a server's and no connection", segment(SERVER, (8080, 81), [192, 0, 2, 1])),
        ("a packet of nobody's", segment(STRANGER, (8080, 81), [192, 0, 2, 1])),
        ("a packet of nobody's that passes", segment(STRANGER, (8080, 81), CLIENT)),
    ] {
        // The least of several times, since other programs run beside this one.
        let times = (0..20).map(|_| (few.takes(&frame), many.takes(&frame)));
        let (among_few, among_many) =
            times.reduce(|least, next| (least.0.min(next.0), least.1.min(next.1))).unwrap();
        assert!(among_many < among_few * 5, "{what}: {among_few:?} and {among_many:?}");
    }
}

#[test]
fn a_way_out_costs_as_much_among_few_addresses_as_among_many() {
    let network = |addresses: u16| {
        let vips = (0..addresses)
            .flat_map(|n| [format!("10.9.{}.{}/32", n >> 8, n & 255), format!("fd00:9::{n:x}/128")]);
        let leg = Interface {
            name: "c".to_owned(),
            mac: Mac(DIRECTOR),
            mtu: 1500,
            addresses: vips.map(|address| address.parse().unwrap()).collect(),
        };
        let route = |destination: &str| Route {
            destination: destination.parse().unwrap(),
            kind: RouteKind::Unicast { interface: LEG, via: None, mtu: None, source: None },
            metric: 0,
        };
        Network::new(vec![leg]).with_routes(["0.0.0.0/0", "::/0"].map(route))
    };
    let (few, many) = (network(FEW), network(MANY));
    for destination in
        ["203.0.113.9", "2001:db8::9", "fd00:9::8000"].map(|text| text.parse::<IpAddr>().unwrap())
    {
        let took = |network: &Network| {
            let began = Clock::now();
            for _ in 0..100 {
                assert!(network.path(destination).is_some() && !network.is_held(destination));
            }
            began.elapsed()
        };
        let times = (0..20).map(|_| (took(&few), took(&many)));
        let (among_few, among_many) =
            times.reduce(|least, next| (least.0.min(next.0), least.1.min(next.1))).unwrap();
        assert!(among_many < among_few * 5, "{destination}: {among_few:?} and {among_many:?}");
    }
}
