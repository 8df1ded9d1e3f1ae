//! Whole decisions: frames in, verdicts and frames out, in the topology of the recorded vectors.

#![allow(
    clippy::unwrap_used,
    reason = "a test's set-up that fails is a failed test; clippy sees helpers as no tests"
)]

use etherparse::{Ipv4Header, PacketBuilder, SlicedPacket, TransportSlice};
use fastlvs_core::capture::Capture;
use fastlvs_core::conn::{State, TcpState};
use fastlvs_core::frame::{Frame, Offload};
use fastlvs_core::net::{Endpoint, InterfaceId, Mac, Protocol};
use fastlvs_core::network::{Interface, Network, Route, RouteKind};
use fastlvs_core::pipeline::{Pipeline, Snapshot};
use fastlvs_core::service::{
    Encapsulation, Method, SchedulerSpec, ServerSpec, ServiceKey, ServiceSpec, ServiceTable,
};
use fastlvs_core::settings::Defence;
use fastlvs_core::time::{Duration, Instant};
use fastlvs_core::trace::{Stage, Trace};
use fastlvs_core::verdict::{DropReason, Verdict};
use std::sync::Arc;

const CLIENT_LEG: InterfaceId = InterfaceId(0);
const SERVER_LEG: InterfaceId = InterfaceId(1);
const CLIENT: [u8; 4] = [203, 0, 113, 9];
const VIP: [u8; 4] = [10, 99, 0, 1];
const SERVER: [u8; 4] = [192, 168, 1, 3];
const DIRECTOR: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 1, 1]];
const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 2];
const SERVER_MAC: [u8; 6] = [2, 1, 192, 168, 1, 3];

fn network() -> Network {
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

fn spec(method: Method, weight: u32) -> ServiceSpec {
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

struct Director {
    snapshot: Snapshot,
    pipeline: Pipeline,
    capture: Capture,
    now: Instant,
    way: Vec<String>,
}

struct Way<'a>(&'a mut Vec<String>);

impl Trace for Way<'_> {
    fn stage(&mut self, stage: &Stage<'_>) {
        self.0.push(stage.to_string());
    }
}

impl Director {
    fn new(method: Method, weight: u32) -> Self {
        let services =
            Arc::new(ServiceTable::default().apply(&[spec(method, weight)], Instant::ZERO).unwrap());
        let snapshot = Snapshot { services, network: Arc::new(network()), ..Snapshot::default() };
        let capture = Capture::default();
        Self { snapshot, pipeline: Pipeline::new((1, 2)), capture, now: Instant::ZERO, way: Vec::new() }
    }

    fn takes(&mut self, interface: InterfaceId, bytes: &[u8]) -> (Verdict, Vec<(InterfaceId, Vec<u8>)>) {
        self.capture.frames.clear();
        self.way.clear();
        let frame = Frame { interface, bytes, offload: Offload::NONE };
        let mut way = Way(&mut self.way);
        let outcome =
            self.pipeline.process_traced(&self.snapshot, &frame, self.now, &mut self.capture, &mut way);
        (outcome.verdict, self.capture.frames.drain(..).map(|(leg, bytes, _)| (leg, bytes)).collect())
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.pipeline.advance(&self.snapshot, self.now, &mut self.capture);
    }

    fn state(&self) -> Option<(State, Duration)> {
        self.pipeline.views(self.now).next().map(|view| (view.state, view.expires))
    }
}

fn segment(from: [u8; 4], to: [u8; 4], ports: (u16, u16), flags: &str, ttl: u8, payload: &[u8]) -> Vec<u8> {
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

fn from_client(flags: &str) -> Vec<u8> {
    segment(CLIENT, VIP, (40000, 80), flags, 64, &[])
}

fn from_server(flags: &str) -> Vec<u8> {
    segment(SERVER, CLIENT, (8080, 40000), flags, 64, &[])
}

/// Source and destination with their ports, as an independent reader sees them.
fn tuple(frame: &[u8]) -> ([u8; 4], u16, [u8; 4], u16) {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let header = packet.net.as_ref().unwrap().ipv4_ref().unwrap().header();
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else { panic!("no TCP header") };
    (header.source(), tcp.source_port(), header.destination(), tcp.destination_port())
}

#[test]
fn a_connection_that_both_sides_have_closed_is_over_until_it_is_opened_anew() {
    let mut director = Director::new(Method::Masquerading, 1);
    let server = Arc::clone(&director.snapshot.services.services()[0].servers()[0]);
    let mut after = |leg, frame: &[u8]| {
        director.takes(leg, frame);
        (server.active(), server.inactive(), server.unfinished())
    };
    assert_eq!(after(CLIENT_LEG, &from_client("S")), (1, 0, 1));
    assert_eq!(after(SERVER_LEG, &from_server("SA")), (1, 0, 1));
    assert_eq!(after(CLIENT_LEG, &from_client("A")), (1, 0, 1));
    assert_eq!(after(SERVER_LEG, &from_server("FA")), (0, 1, 1), "half closed");
    assert_eq!(after(CLIENT_LEG, &from_client("FA")), (0, 1, 0), "TIME_WAIT");
    assert_eq!(after(CLIENT_LEG, &from_client("S")), (1, 1, 1), "another, beside the old one's last moment");
    assert_eq!(after(SERVER_LEG, &from_server("R")), (0, 2, 0), "CLOSE");
    assert_eq!(after(SERVER_LEG, &from_server("S")), (1, 1, 1), "the server opens what was closed");
    director.wait(1000);
    assert_eq!((server.inactive(), server.unfinished()), (0, 0));
}

#[test]
fn who_sent_the_first_fragment_hears_that_the_rest_is_late() {
    let mut director = Director::new(Method::Masquerading, 1);
    for (leg, mut fragment, from) in
        [(CLIENT_LEG, from_client("A"), VIP), (SERVER_LEG, from_server("A"), [192, 168, 0, 1])]
    {
        let (mut header, _) = Ipv4Header::from_slice(&fragment[14..]).unwrap();
        (header.more_fragments, header.dont_fragment) = (true, false);
        header.header_checksum = header.calc_header_checksum();
        fragment[14..34].copy_from_slice(&header.to_bytes());
        assert_eq!(director.takes(leg, &fragment), (Verdict::Queued, vec![]));
        director.wait(29);
        assert!(director.capture.frames.is_empty());
        director.wait(2);
        let (back, error, _) = director.capture.frames.pop().expect("nobody was told");
        assert_eq!((back, &error[26..30], &error[34..36]), (leg, &from[..], &[11, 1][..]));
        assert_eq!(error[50], if leg == CLIENT_LEG { 64 } else { 63 }, "a router has counted the hop");
        assert_eq!(error[62..], fragment[34..50], "a multiple of 8 bytes was kept");
        // Another had the fragment too.
        director.takes(leg, &fragment);
        director.now += Duration::from_secs(31);
        let Director { pipeline, snapshot, now, capture, .. } = &mut director;
        pipeline.advance_where(snapshot, *now, capture, |first| first.ttl != 64);
        assert!(capture.frames.is_empty());
    }
}

#[test]
fn a_masqueraded_connection_from_syn_to_expiry() {
    let mut director = Director::new(Method::Masquerading, 1);
    let (verdict, out) = director.takes(CLIENT_LEG, &from_client("S"));
    assert_eq!((verdict, out.len(), out[0].0), (Verdict::Forward, 1, SERVER_LEG));
    assert_eq!(tuple(&out[0].1), (CLIENT, 40000, SERVER, 8080));
    assert_eq!(
        director.way.join(" → "),
        "PREROUTING c → INPUT (service tcp 10.99.0.1:80 wlc) → \
         real server 192.168.1.3:8080 masq → POSTROUTING s"
    );
    let (verdict, out) = director.takes(SERVER_LEG, &from_server("SA"));
    assert_eq!((verdict, out[0].0), (Verdict::Forward, CLIENT_LEG));
    assert_eq!(tuple(&out[0].1), (VIP, 80, CLIENT, 40000));
    director.takes(CLIENT_LEG, &from_client("A"));
    assert_eq!(director.state(), Some((State::Tcp(TcpState::Established), Duration::from_secs(900))));
    let server = Arc::clone(&director.snapshot.services.services()[0].servers()[0]);
    assert_eq!((server.active(), server.inactive()), (1, 0));
    director.takes(SERVER_LEG, &from_server("FA"));
    assert_eq!(director.state(), Some((State::Tcp(TcpState::FinWait), Duration::from_secs(120))));
    assert_eq!((server.active(), server.inactive()), (0, 1));
    director.wait(119);
    assert!(director.state().is_some());
    director.wait(1);
    assert_eq!(director.state(), None);
    assert_eq!((server.active(), server.inactive()), (0, 0));
    let counted = server.statistics.values();
    assert_eq!((counted.connections, counted.in_packets, counted.out_packets), (1, 2, 2));
    assert_eq!((counted.in_bytes, counted.out_bytes), (80, 80));
}

#[test]
fn a_routed_connection_changes_the_link_addresses_alone() {
    let mut director = Director::new(Method::Gatewaying, 1);
    let (verdict, out) = director.takes(CLIENT_LEG, &from_client("S"));
    assert_eq!(verdict, Verdict::Forward);
    assert_eq!((&out[0].1[..6], tuple(&out[0].1)), (&SERVER_MAC[..], (CLIENT, 40000, VIP, 80)));
    director.takes(CLIENT_LEG, &from_client("A"));
    director.takes(CLIENT_LEG, &from_client("FA"));
    assert_eq!(director.state().unwrap().0, State::Tcp(TcpState::FinWait), "only the client is seen");
}

#[test]
fn a_tunneled_packet_travels_in_one_of_the_director() {
    let mut director = Director::new(Method::Tunneling, 1);
    let (verdict, out) = director.takes(CLIENT_LEG, &from_client("S"));
    assert_eq!((verdict, out[0].0), (Verdict::Forward, SERVER_LEG));
    let outer = &out[0].1[14..];
    assert_eq!((outer[9], &outer[12..16], &outer[16..20]), (4, &[192, 168, 0, 1][..], &SERVER[..]));
    assert_eq!(&outer[36..40], &VIP);
}

#[test]
fn what_cannot_go_on_is_told_to_the_sender() {
    let mut director = Director::new(Method::Masquerading, 0);
    let (verdict, out) = director.takes(CLIENT_LEG, &from_client("S"));
    assert_eq!((verdict, &out[0].1[34..36]), (Verdict::Reply, &[3, 3][..]), "no server: port unreachable");
    assert!(director.state().is_none());

    let mut director = Director::new(Method::Masquerading, 1);
    let (verdict, out) = director.takes(CLIENT_LEG, &segment(CLIENT, VIP, (40000, 80), "S", 1, &[]));
    assert_eq!((verdict, &out[0].1[34..36]), (Verdict::Reply, &[11, 0][..]), "time exceeded");
    assert!(director.state().is_some(), "counted all the same, as the kernel does");

    let mut director = Director::new(Method::Tunneling, 1);
    director.takes(CLIENT_LEG, &from_client("S"));
    let mut long = segment(CLIENT, VIP, (40000, 80), "A", 64, &[7; 1450]);
    long[20] |= 0x40;
    let sum: u32 = (14..34)
        .step_by(2)
        .filter(|at| *at != 24)
        .map(|at| u32::from(u16::from_be_bytes([long[at], long[at + 1]])))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    long[24..26].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
    let (verdict, out) = director.takes(CLIENT_LEG, &long);
    assert_eq!((verdict, &out[0].1[34..36]), (Verdict::Reply, &[3, 4][..]));
    assert_eq!(u16::from_be_bytes([out[0].1[40], out[0].1[41]]), 1480);
}

#[test]
fn what_is_not_ours_is_left_to_the_host() {
    let mut director = Director::new(Method::Masquerading, 1);
    assert_eq!(director.takes(CLIENT_LEG, &from_client("A")).0, Verdict::ToHost, "no connection");
    let other_port = segment(CLIENT, VIP, (40000, 81), "S", 64, &[]);
    assert_eq!(director.takes(CLIENT_LEG, &other_port).0, Verdict::ToHost);
    assert_eq!(director.takes(SERVER_LEG, &from_server("SA")).0, Verdict::ToHost, "not a reply");
    let owned = network().with_owned([VIP.into()]);
    director.snapshot.network = Arc::new(owned);
    let (verdict, out) = director.takes(CLIENT_LEG, &other_port);
    assert_eq!(verdict, Verdict::Reply);
    assert_eq!(tuple(&out[0].1), (VIP, 81, CLIENT, 40000), "a reset, as a host would");
}

#[test]
fn a_deleted_server_silences_its_connections() {
    let mut director = Director::new(Method::Masquerading, 1);
    director.takes(CLIENT_LEG, &from_client("S"));
    let empty = ServiceSpec { servers: Vec::new(), ..spec(Method::Masquerading, 1) };
    director.snapshot.services = Arc::new(director.snapshot.services.apply(&[empty], Instant::ZERO).unwrap());
    let verdict = director.takes(CLIENT_LEG, &from_client("A")).0;
    assert_eq!(verdict, Verdict::Drop(DropReason::ServerGone));
    assert_eq!(director.takes(SERVER_LEG, &from_server("SA")).0, Verdict::Forward, "replies still pass");
    director.snapshot.settings.expire_nodest_conn = true;
    assert_eq!(director.takes(CLIENT_LEG, &from_client("A")).0, Verdict::ToHost);
}

#[test]
fn a_syn_on_a_closed_connection_is_a_new_one() {
    let mut director = Director::new(Method::Masquerading, 1);
    for frame in ["S", "A", "R", "S"] {
        director.takes(CLIENT_LEG, &from_client(frame));
    }
    assert_eq!(director.pipeline.connections().len(), 2, "the old one goes with the next tick");
    director.wait(1);
    assert_eq!(director.pipeline.connections().len(), 1);
    let server = &director.snapshot.services.services()[0].servers()[0];
    assert_eq!((server.active(), server.statistics.values().connections), (1, 2));
}

#[test]
fn every_frame_is_counted_once() {
    let mut director = Director::new(Method::Masquerading, 1);
    let syn = from_client("S");
    for length in 0..syn.len() {
        director.takes(CLIENT_LEG, &syn[..length]);
    }
    let counters = director.pipeline.counters();
    let dropped: u64 = DropReason::ALL.iter().map(|reason| counters.dropped(*reason)).sum();
    assert_eq!(counters.frames(), syn.len() as u64);
    assert_eq!(dropped + counters.to_host() + counters.forwarded() + counters.replied(), counters.frames());
}

/// An ICMP error from `from` to `to` that quotes the packet in `about`, a frame, as far as 28 bytes.
fn unreachable(leg: InterfaceId, from: [u8; 4], to: [u8; 4], about: &[u8]) -> Vec<u8> {
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

#[test]
fn errors_about_a_connection_go_its_way_and_others_are_the_hosts() {
    let mut director = Director::new(Method::Masquerading, 1);
    let sent = director.takes(CLIENT_LEG, &from_client("S")).1.remove(0).1;
    let replied = director.takes(SERVER_LEG, &from_server("SA")).1.remove(0).1;
    let router = [192, 168, 0, 2];
    let (verdict, out) = director.takes(SERVER_LEG, &unreachable(SERVER_LEG, router, CLIENT, &sent));
    assert_eq!((verdict, out[0].0), (Verdict::Forward, CLIENT_LEG));
    let (packet, quoted) = (&out[0].1[14..], &out[0].1[14 + 28..]);
    assert_eq!((&packet[12..16], &packet[16..20]), (&VIP[..], &CLIENT[..]));
    assert_eq!((&quoted[12..16], &quoted[16..20], &quoted[22..24]), (&CLIENT[..], &VIP[..], &[0, 80][..]));
    let (verdict, out) = director.takes(CLIENT_LEG, &unreachable(CLIENT_LEG, CLIENT, VIP, &replied));
    assert_eq!((verdict, out[0].0), (Verdict::Forward, SERVER_LEG));
    let (packet, quoted) = (&out[0].1[14..], &out[0].1[14 + 28..]);
    assert_eq!((&packet[12..16], &packet[16..20]), (&CLIENT[..], &SERVER[..]));
    assert_eq!((&quoted[12..16], &quoted[20..22]), (&SERVER[..], &8080_u16.to_be_bytes()[..]));
    let server = &director.snapshot.services.services()[0].servers()[0];
    let counted = server.statistics.values();
    assert_eq!((counted.in_packets, counted.out_packets), (2, 2), "errors are counted too");
    let foreign = segment(VIP, CLIENT, (80, 39999), "A", 64, &[]);
    let error = unreachable(CLIENT_LEG, CLIENT, VIP, &foreign);
    assert_eq!(director.takes(CLIENT_LEG, &error).0, Verdict::ToHost);
}

#[test]
fn an_error_about_an_unknown_packet_may_begin_a_connection() {
    let mut director = Director::new(Method::Gatewaying, 1);
    director.snapshot.settings.schedule_icmp = true;
    let foreign = segment(VIP, CLIENT, (80, 40000), "A", 64, &[]);
    let (verdict, out) = director.takes(CLIENT_LEG, &unreachable(CLIENT_LEG, CLIENT, VIP, &foreign));
    assert_eq!((verdict, &out[0].1[..6]), (Verdict::Forward, &SERVER_MAC[..]));
    assert_eq!(director.state(), Some((State::Tcp(TcpState::None), Duration::from_secs(3))));
}

/// dh goes by the destination of the quoted packet, which is the client, and an FTP server's data is no client's.
#[test]
fn an_error_that_is_scheduled_goes_by_what_it_quotes() {
    let mut director = Director::new(Method::Gatewaying, 1);
    director.snapshot.settings.schedule_icmp = true;
    let servers = ["192.168.1.4:80", "192.168.1.3:80"];
    let servers = servers.map(|s| ServerSpec { endpoint: s.parse().unwrap(), ..ServerSpec::default() });
    let dh = ServiceSpec {
        scheduler: SchedulerSpec::Named("dh".to_owned()),
        servers: servers.to_vec(),
        ..spec(Method::Gatewaying, 1)
    };
    director.snapshot.services = Arc::new(ServiceTable::default().apply(&[dh], Instant::ZERO).unwrap());
    // The VIP and two clients: buckets 21, 64 and 101 of 256; the server that was added last has the even ones.
    for (client, known) in [([203, 0, 113, 9], true), ([203, 0, 113, 12], false)] {
        let foreign = segment(VIP, client, (80, 40000), "A", 64, &[]);
        let (verdict, _) = director.takes(CLIENT_LEG, &unreachable(CLIENT_LEG, client, VIP, &foreign));
        assert_eq!(verdict == Verdict::Forward, known, "{client:?}");
    }
    let data = segment(VIP, CLIENT, (80, 20), "A", 64, &[]);
    let error = unreachable(CLIENT_LEG, CLIENT, VIP, &data);
    assert_eq!(director.takes(CLIENT_LEG, &error).0, Verdict::ToHost);
}

/// `nat_icmp_send`: before any scheduling a server's packet of no connection is refused in the name of the address that
/// it was for.
#[test]
fn a_server_is_told_of_packets_to_the_director_that_no_connection_is_known_to() {
    let mut director = Director::new(Method::Masquerading, 1);
    let to = |destination, ports, flags| segment(SERVER, destination, ports, flags, 64, &[]);
    let own = [10, 0, 0, 1];
    let unwanted = [to(VIP, (8080, 80), "S"), to(VIP, (8080, 81), "A"), to(own, (8080, 22), "S")];
    assert_ne!(director.takes(SERVER_LEG, &unwanted[0]).0, Verdict::Reply, "not without the setting");
    let mut director = Director::new(Method::Masquerading, 1);
    director.snapshot.settings.nat_icmp_send = true;
    for (packet, asked) in unwanted.iter().zip([VIP, VIP, own]) {
        let (verdict, out) = director.takes(SERVER_LEG, packet);
        assert_eq!((verdict, out[0].0), (Verdict::Reply, SERVER_LEG));
        let error = &out[0].1[14..];
        assert_eq!((&error[12..16], &error[16..20], &error[20..22]), (&asked[..], &SERVER[..], &[3, 3][..]));
        assert_eq!(error[28 + 8], 64, "no hop is counted of a packet that has arrived");
    }
    assert_eq!(director.takes(SERVER_LEG, &to(own, (8080, 22), "R")).0, Verdict::ToHost);
    assert_eq!(
        director.takes(SERVER_LEG, &to(own, (8081, 22), "S")).0,
        Verdict::ToHost,
        "not where it serves"
    );
    assert_eq!(director.takes(SERVER_LEG, &to(VIP, (8081, 80), "S")).0, Verdict::Forward);
}

#[test]
fn without_services_the_engine_is_switched_off() {
    let mut director = Director::new(Method::Masquerading, 1);
    director.takes(CLIENT_LEG, &from_client("S"));
    let nothing = director.snapshot.services.apply(&[], Instant::ZERO).unwrap();
    director.snapshot.services = Arc::new(nothing);
    assert_eq!(director.takes(CLIENT_LEG, &from_client("A")).0, Verdict::ToHost);
    assert_eq!(director.takes(SERVER_LEG, &from_server("SA")).0, Verdict::ToHost, "untranslated");
}

#[test]
fn what_the_host_sends_for_a_connection_is_translated() {
    let mut director = Director::new(Method::Masquerading, 1);
    let own = ServerSpec {
        endpoint: "10.0.0.1:8080".parse().unwrap(),
        method: Method::Masquerading,
        encapsulation: Encapsulation::default(),
        weight: 1,
        ..ServerSpec::default()
    };
    let local = ServiceSpec { servers: vec![own], ..spec(Method::Masquerading, 1) };
    director.snapshot.services = Arc::new(director.snapshot.services.apply(&[local], Instant::ZERO).unwrap());
    let syn = from_client("S");
    let frame = Frame { interface: CLIENT_LEG, bytes: &syn, offload: Offload::NONE };
    let outcome = director.pipeline.process(&director.snapshot, &frame, director.now, &mut director.capture);
    assert_eq!(outcome.verdict, Verdict::ToHost);
    assert_eq!(tuple(outcome.for_host.unwrap().frame.bytes), (CLIENT, 40000, [10, 0, 0, 1], 8080));
    let answer = segment([10, 0, 0, 1], CLIENT, (8080, 40000), "SA", 64, &[]);
    let frame = Frame { bytes: &answer, ..frame };
    let outcome =
        director.pipeline.process_output(&director.snapshot, &frame, director.now, &mut director.capture);
    assert_eq!((outcome.verdict, outcome.for_host.is_none()), (Verdict::Forward, true));
    let (_, sent, _) = director.capture.frames.remove(0);
    assert_eq!((tuple(&sent), sent[22]), ((VIP, 80, CLIENT, 40000), 64), "no hop is counted");
}

#[test]
fn half_a_datagram_waits_for_the_other() {
    let mut director = Director::new(Method::Masquerading, 1);
    let whole = segment(CLIENT, VIP, (40000, 80), "S", 64, &[7; 100]);
    let part = |from: usize, to: usize, field: u16| {
        let mut bytes = [&whole[..34], &whole[34 + from..34 + to]].concat();
        bytes[16..18].copy_from_slice(&(20 + to as u16 - from as u16).to_be_bytes());
        bytes[20..22].copy_from_slice(&field.to_be_bytes());
        fastlvs_core::wire::ipv4::set_checksum(&mut bytes[14..34]);
        bytes
    };
    assert_eq!(director.takes(CLIENT_LEG, &part(64, 120, 8)), (Verdict::Queued, vec![]));
    let (verdict, out) = director.takes(CLIENT_LEG, &part(0, 64, 0x2000));
    assert_eq!((verdict, out.len()), (Verdict::Forward, 2), "cut as it came");
    director.takes(CLIENT_LEG, &part(0, 64, 0x2000));
    director.wait(31);
    assert_eq!(
        director.takes(CLIENT_LEG, &part(64, 120, 8)).0,
        Verdict::Queued,
        "the first half is forgotten"
    );
    assert_eq!(director.pipeline.counters().queued(), 3);
}

/// A second service that leads to the same port of the same server as the first.
fn with_twin(mut director: Director) -> Director {
    let first = spec(Method::Masquerading, 1);
    let twin = ServiceSpec {
        key: ServiceKey::new(Protocol::TCP, "10.99.0.1:81".parse().unwrap()),
        ..spec(Method::Masquerading, 1)
    };
    director.snapshot.services =
        Arc::new(director.snapshot.services.apply(&[first, twin], Instant::ZERO).unwrap());
    director
}

#[test]
fn of_two_connections_with_one_reply_tuple_the_newest_is_found_and_then_the_older() {
    let mut director = with_twin(Director::new(Method::Masquerading, 1));
    let router = [192, 168, 0, 2];
    let about = director.takes(CLIENT_LEG, &from_client("S")).1.remove(0).1;
    director.takes(CLIENT_LEG, &segment(CLIENT, VIP, (40000, 81), "S", 64, &[]));
    let replies = |director: &mut Director| {
        let reply = director.takes(SERVER_LEG, &from_server("SA")).1;
        let error = director.takes(SERVER_LEG, &unreachable(SERVER_LEG, router, CLIENT, &about)).1;
        (tuple(&reply[0].1), error[0].1[14 + 28 + 22..][..2].to_vec())
    };
    assert_eq!(replies(&mut director), ((VIP, 81, CLIENT, 40000), 81_u16.to_be_bytes().to_vec()));
    director.takes(CLIENT_LEG, &segment(CLIENT, VIP, (40000, 81), "R", 64, &[]));
    director.wait(9);
    assert_eq!(tuple(&director.takes(SERVER_LEG, &from_server("R")).1[0].1).1, 81, "whatever its state");
    director.wait(10);
    assert_eq!(director.pipeline.connections().len(), 1);
    assert_eq!(replies(&mut director), ((VIP, 80, CLIENT, 40000), 80_u16.to_be_bytes().to_vec()));
}

#[test]
fn no_packet_from_port_0_belongs_to_a_connection_but_replies_do() {
    let mut director = Director::new(Method::Masquerading, 1);
    let from = |flags| segment(CLIENT, VIP, (0, 80), flags, 64, &[]);
    let reply = segment(SERVER, CLIENT, (8080, 0), "SA", 64, &[]);
    for connections in 1..=2 {
        assert_eq!(director.takes(CLIENT_LEG, &from("S")).0, Verdict::Forward);
        assert_eq!(director.pipeline.connections().len(), connections, "each is scheduled anew");
    }
    assert_eq!(director.takes(CLIENT_LEG, &from("A")).0, Verdict::ToHost);
    let (verdict, replied) = director.takes(SERVER_LEG, &reply);
    assert_eq!((verdict, tuple(&replied[0].1)), (Verdict::Forward, (VIP, 80, CLIENT, 0)));
    let error = unreachable(CLIENT_LEG, CLIENT, VIP, &replied[0].1);
    assert_eq!(director.takes(CLIENT_LEG, &error).0, Verdict::ToHost);
    director.wait(60);
    assert_eq!(director.takes(SERVER_LEG, &reply).0, Verdict::ToHost, "both have gone");
}

#[test]
fn only_the_deletion_of_a_server_ends_connections_without_one() {
    let mut director = Director::new(Method::Masquerading, 1);
    let server = Arc::clone(&director.snapshot.services.services()[0].servers()[0]);
    director.takes(CLIENT_LEG, &from_client("S"));
    let change = |director: &mut Director, servers: &[&str]| {
        let server = |endpoint: &&str| ServerSpec {
            endpoint: endpoint.parse().unwrap(),
            method: Method::Masquerading,
            ..ServerSpec::default()
        };
        let servers = servers.iter().map(server).collect();
        let wish = ServiceSpec { servers, ..spec(Method::Masquerading, 1) };
        let table = director.snapshot.services.apply(&[wish], director.now).unwrap();
        director.snapshot.services = Arc::new(table);
        director.pipeline.services_changed(&director.snapshot, director.now);
        director.wait(1);
        director.pipeline.connections().len()
    };
    assert_eq!(change(&mut director, &["192.168.1.4:8080"]), 1, "deleted without the setting");
    director.snapshot.settings.expire_nodest_conn = true;
    assert_eq!(change(&mut director, &["192.168.1.4:8080", "192.168.1.5:8080"]), 1, "one was added");
    assert_eq!(server.idle_since(), None);
    let deleted = director.now;
    assert_eq!(change(&mut director, &["192.168.1.4:8080"]), 0, "one was deleted, whichever");
    assert_eq!(
        server.idle_since(),
        Some(deleted + Duration::from_millis(10)),
        "when it went, not its deadline"
    );
}

#[test]
fn many_that_lose_their_server_go_in_portions_between_which_packets_pass() {
    let mut director = Director::new(Method::Masquerading, 1);
    director.snapshot.settings.expire_nodest_conn = true;
    let syn = |port: u16| segment(CLIENT, VIP, (port, 80), "S", 64, &[]);
    for port in 10_000..13_000 {
        assert_eq!(director.takes(CLIENT_LEG, &syn(port)).0, Verdict::Forward);
    }
    let change = |director: &mut Director, host: u8| {
        let endpoint = Endpoint::new([192, 168, 1, host].into(), 8080);
        let server = ServerSpec { endpoint, ..spec(Method::Masquerading, 1).servers[0] };
        let wish = ServiceSpec { servers: vec![server], ..spec(Method::Masquerading, 1) };
        let table = director.snapshot.services.apply(&[wish], director.now).unwrap();
        director.snapshot.services = Arc::new(table);
        director.pipeline.services_changed(&director.snapshot, director.now);
    };
    change(&mut director, 4);
    director.wait(1);
    let mut left = vec![director.pipeline.connections().len()];
    while left.last() > Some(&1) {
        if left.len() == 1 {
            director.takes(CLIENT_LEG, &syn(13_000));
        }
        director.wait(0);
        left.push(director.pipeline.connections().len());
    }
    assert_eq!(left, [1976, 953, 1], "the last one has a server");
    // Another deletion meanwhile looks at all again.
    (10_000..13_000).for_each(|port| drop(director.takes(CLIENT_LEG, &syn(port))));
    change(&mut director, 5);
    director.wait(1);
    (20_000..21_000).for_each(|port| drop(director.takes(CLIENT_LEG, &syn(port))));
    change(&mut director, 6);
    director.wait(1);
    (0..4).for_each(|_| director.wait(0));
    assert_eq!(director.pipeline.connections().len(), 0);
}

#[test]
fn a_server_is_idle_from_when_its_last_connection_was_dropped() {
    let mut director = Director::new(Method::Masquerading, 1);
    let server = Arc::clone(&director.snapshot.services.services()[0].servers()[0]);
    director.snapshot.settings.drop_entry = Defence::Always;
    director.snapshot.settings.timeouts.set(State::Tcp(TcpState::SynReceived), Duration::from_secs(10_000));
    director.takes(CLIENT_LEG, &from_client("S"));
    // One of 32 entries is looked at each second, by lot: in ten minutes this one will have been.
    let dropped = (0..600).find_map(|_| {
        director.wait(1);
        director.takes(CLIENT_LEG, &segment(CLIENT, VIP, (40001, 81), "S", 64, &[]));
        director.pipeline.connections().is_empty().then_some(director.now)
    });
    assert!(dropped.is_some());
    assert_eq!(server.idle_since(), dropped, "not its deadline");
}

#[test]
fn a_service_that_goes_takes_the_connections_of_its_servers_along() {
    let mut director = Director::new(Method::Masquerading, 1);
    director.snapshot.settings.expire_nodest_conn = true;
    director.takes(CLIENT_LEG, &from_client("S"));
    director.snapshot.services = Arc::new(director.snapshot.services.apply(&[], Instant::ZERO).unwrap());
    director.pipeline.services_changed(&director.snapshot, director.now);
    director.wait(1);
    assert_eq!(director.pipeline.connections().len(), 0);
}
