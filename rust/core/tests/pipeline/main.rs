//! Whole decisions: frames in, verdicts and frames out, in the topology of the recorded vectors.

#![allow(
    clippy::unwrap_used,
    reason = "a test's set-up that fails is a failed test; clippy sees helpers as no tests"
)]

mod director;
mod errors;
mod gone;

use crate::director::{
    CLIENT, CLIENT_LEG, Director, SERVER, SERVER_LEG, SERVER_MAC, VIP, from_client, from_server, network,
    segment, spec, tuple, unreachable,
};
use fastlvs_core::conn::{State, TcpState};
use fastlvs_core::frame::{Frame, Offload};
use fastlvs_core::net::Protocol;
use fastlvs_core::service::{Encapsulation, Method, ServerSpec, ServiceKey, ServiceSpec};
use fastlvs_core::time::{Duration, Instant};
use fastlvs_core::verdict::{DropReason, Verdict};
use std::sync::Arc;

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
