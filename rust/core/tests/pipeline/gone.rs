//! Servers and services that are deleted, and what becomes of their connections.

use crate::director::{
    CLIENT, CLIENT_LEG, Director, SERVER_LEG, VIP, from_client, from_server, segment, spec,
};
use fastlvs_core::conn::{State, TcpState};
use fastlvs_core::net::Endpoint;
use fastlvs_core::service::{Method, ServerSpec, ServiceSpec};
use fastlvs_core::settings::Defence;
use fastlvs_core::time::{Duration, Instant};
use fastlvs_core::verdict::{DropReason, Verdict};
use std::sync::Arc;

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
