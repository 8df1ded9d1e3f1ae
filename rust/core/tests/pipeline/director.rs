//! A director in the topology of the recorded vectors, and what its clients and servers send.

use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use fastlvs_core::capture::Capture;
use fastlvs_core::conn::State;
use fastlvs_core::frame::{Frame, Offload};
use fastlvs_core::net::{InterfaceId, Mac, Protocol};
use fastlvs_core::network::{Interface, Network, Route, RouteKind};
use fastlvs_core::pipeline::{Pipeline, Snapshot};
use fastlvs_core::service::{
    Encapsulation, Method, SchedulerSpec, ServerSpec, ServiceKey, ServiceSpec, ServiceTable,
};
use fastlvs_core::time::{Duration, Instant};
use fastlvs_core::trace::{Stage, Trace};
use fastlvs_core::verdict::Verdict;
use std::sync::Arc;

pub const CLIENT_LEG: InterfaceId = InterfaceId(0);
pub const SERVER_LEG: InterfaceId = InterfaceId(1);
pub const CLIENT: [u8; 4] = [203, 0, 113, 9];
pub const VIP: [u8; 4] = [10, 99, 0, 1];
pub const SERVER: [u8; 4] = [192, 168, 1, 3];
pub const DIRECTOR: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 1, 1]];
pub const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub const SERVER_MAC: [u8; 6] = [2, 1, 192, 168, 1, 3];

pub fn network() -> Network {
    let leg = |name: &str, mac: [u8; 6], address: &str| Interface {
        name: name.to_owned(),
        mac: Mac(mac),
        mtu: 1500,
        addresses: vec![address.parse().unwrap()],
    };
    let default = RouteKind::Unicast {
        interface: CLIENT_LEG,
        via: Some("10.0.0.2".parse().unwrap()),
        mtu: None,
        source: None,
    };
    Network::new(vec![leg("c", DIRECTOR[0], "10.0.0.1/24"), leg("s", DIRECTOR[1], "192.168.0.1/16")])
        .with_routes([Route { destination: "0.0.0.0/0".parse().unwrap(), kind: default, metric: 0 }])
        .with_neighbours([
            (CLIENT_LEG, "10.0.0.2".parse().unwrap(), Mac(ROUTER)),
            (SERVER_LEG, SERVER.into(), Mac(SERVER_MAC)),
        ])
        .with_local(["10.99.0.0/16".parse().unwrap()])
}

pub fn spec(method: Method, weight: u32) -> ServiceSpec {
    let port = if method == Method::Masquerading { 8080 } else { 80 };
    ServiceSpec {
        key: ServiceKey::new(Protocol::TCP, "10.99.0.1:80".parse().unwrap()),
        scheduler: SchedulerSpec::Named("wlc".to_owned()),
        servers: vec![ServerSpec {
            endpoint: format!("192.168.1.3:{port}").parse().unwrap(),
            method,
            encapsulation: Encapsulation::default(),
            weight,
            ..ServerSpec::default()
        }],
        ..ServiceSpec::default()
    }
}

pub struct Director {
    pub snapshot: Snapshot,
    pub pipeline: Pipeline,
    pub capture: Capture,
    pub now: Instant,
    pub way: Vec<String>,
}

pub struct Way<'a>(&'a mut Vec<String>);

impl Trace for Way<'_> {
    fn stage(&mut self, stage: &Stage<'_>) {
        self.0.push(stage.to_string());
    }
}

impl Director {
    pub fn new(method: Method, weight: u32) -> Self {
        let services =
            Arc::new(ServiceTable::default().apply(&[spec(method, weight)], Instant::ZERO).unwrap());
        let snapshot = Snapshot { services, network: Arc::new(network()), ..Snapshot::default() };
        let capture = Capture::default();
        Self { snapshot, pipeline: Pipeline::new((1, 2)), capture, now: Instant::ZERO, way: Vec::new() }
    }

    pub fn takes(&mut self, interface: InterfaceId, bytes: &[u8]) -> (Verdict, Vec<(InterfaceId, Vec<u8>)>) {
        self.capture.frames.clear();
        self.way.clear();
        let frame = Frame { interface, bytes, offload: Offload::NONE };
        let mut way = Way(&mut self.way);
        let outcome =
            self.pipeline.process_traced(&self.snapshot, &frame, self.now, &mut self.capture, &mut way);
        (outcome.verdict, self.capture.frames.drain(..).map(|(leg, bytes, _)| (leg, bytes)).collect())
    }

    pub fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.pipeline.advance(&self.snapshot, self.now, &mut self.capture);
    }

    pub fn state(&self) -> Option<(State, Duration)> {
        self.pipeline.views(self.now).next().map(|view| (view.state, view.expires))
    }
}

pub fn segment(
    from: [u8; 4],
    to: [u8; 4],
    ports: (u16, u16),
    flags: &str,
    ttl: u8,
    payload: &[u8],
) -> Vec<u8> {
    let (source, destination) =
        if from == CLIENT { (ROUTER, DIRECTOR[0]) } else { (SERVER_MAC, DIRECTOR[1]) };
    let mut tcp =
        PacketBuilder::ethernet2(source, destination).ipv4(from, to, ttl).tcp(ports.0, ports.1, 1000, 64000);
    for flag in flags.chars() {
        tcp = match flag {
            'S' => tcp.syn(),
            'F' => tcp.fin(),
            'R' => tcp.rst(),
            _ => tcp.ack(7),
        };
    }
    let mut bytes = Vec::new();
    tcp.write(&mut bytes, payload).unwrap();
    bytes
}

pub fn from_client(flags: &str) -> Vec<u8> {
    segment(CLIENT, VIP, (40000, 80), flags, 64, &[])
}

pub fn from_server(flags: &str) -> Vec<u8> {
    segment(SERVER, CLIENT, (8080, 40000), flags, 64, &[])
}

/// Source and destination with their ports, as an independent reader sees them.
pub fn tuple(frame: &[u8]) -> ([u8; 4], u16, [u8; 4], u16) {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let header = packet.net.as_ref().unwrap().ipv4_ref().unwrap().header();
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else { panic!("no TCP header") };
    (header.source(), tcp.source_port(), header.destination(), tcp.destination_port())
}

/// An ICMP error from `from` to `to` that quotes the packet in `about`, a frame, as far as 28 bytes.
pub fn unreachable(leg: InterfaceId, from: [u8; 4], to: [u8; 4], about: &[u8]) -> Vec<u8> {
    let (source, destination) =
        if leg == CLIENT_LEG { (ROUTER, DIRECTOR[0]) } else { (SERVER_MAC, DIRECTOR[1]) };
    let code = etherparse::icmpv4::DestUnreachableHeader::Host;
    let error = PacketBuilder::ethernet2(source, destination)
        .ipv4(from, to, 64)
        .icmpv4(etherparse::Icmpv4Type::DestinationUnreachable(code));
    let mut bytes = Vec::new();
    error.write(&mut bytes, &about[14..14 + 28]).unwrap();
    bytes
}
