//! What senders are told, and errors that come from others.

use crate::director::{
    CLIENT, CLIENT_LEG, Director, SERVER, SERVER_LEG, SERVER_MAC, VIP, from_client, from_server, segment,
    spec, unreachable,
};
use etherparse::Ipv4Header;
use fastlvs_core::conn::{State, TcpState};
use fastlvs_core::service::{Method, SchedulerSpec, ServerSpec, ServiceSpec, ServiceTable};
use fastlvs_core::time::{Duration, Instant};
use fastlvs_core::verdict::{DropReason, Verdict};
use std::sync::Arc;

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

/// What stands where ports are in a first fragment, and nothing where the quote ends before.
#[test]
fn quotes_of_later_fragments_and_cut_ones_are_read_as_by_the_kernel() {
    let mut director = Director::new(Method::Masquerading, 1);
    let sent = director.takes(CLIENT_LEG, &from_client("S")).1.remove(0).1;
    let error = |change: fn(&mut [u8])| {
        let mut about = sent.clone();
        change(&mut about[14..34]);
        unreachable(SERVER_LEG, [192, 168, 0, 2], CLIENT, &about)
    };
    let later = error(|header| header[6..8].copy_from_slice(&[0x20, 10]));
    assert_eq!(director.takes(SERVER_LEG, &later).0, Verdict::Forward);
    let cut = error(|header| header[0] = 0x4f);
    assert_eq!(director.takes(SERVER_LEG, &cut).0, Verdict::ToHost);
    director.snapshot.settings.schedule_icmp = true;
    assert_eq!(director.takes(SERVER_LEG, &cut).0, Verdict::Drop(DropReason::MalformedIcmp));
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
