//! Questions of IPv6 neighbours, and who answers them.

#![allow(
    clippy::unwrap_used,
    reason = "a test's set-up that fails is a failed test; clippy sees helpers as no tests"
)]

use fastlvs_core::capture::Capture;
use fastlvs_core::frame::{Frame, Offload};
use fastlvs_core::net::{InterfaceId, Mac, Protocol};
use fastlvs_core::network::{Interface, Network};
use fastlvs_core::pipeline::{Pipeline, Snapshot};
use fastlvs_core::service::{ServiceKey, ServiceSpec, ServiceTable};
use fastlvs_core::time::Instant;
use fastlvs_core::verdict::{DropReason, Verdict};
use fastlvs_core::wire::ndp;
use std::net::Ipv6Addr;
use std::sync::Arc;

const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
const ASKER: (Ipv6Addr, Mac) = (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x100), Mac([2, 0, 0, 0, 0, 2]));
const VIP: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x81);
/// Where a frame's hop limit is.
const HOP_LIMIT: usize = 14 + 7;

/// What becomes of a frame where the engine alone has the VIP.
fn process(bytes: &[u8]) -> (Verdict, Vec<Vec<u8>>) {
    let interface = Interface {
        name: "c".to_owned(),
        mac: OWN,
        mtu: 1500,
        addresses: vec!["fd00::1/64".parse().unwrap()],
    };
    let spec = ServiceSpec {
        key: ServiceKey::new(Protocol::TCP, "[fd00::81]:80".parse().unwrap()),
        ..ServiceSpec::default()
    };
    let snapshot = Snapshot {
        services: Arc::new(ServiceTable::default().apply(&[spec], Instant::ZERO).unwrap()),
        network: Arc::new(Network::new(vec![interface]).with_owned([VIP.into()])),
        ..Snapshot::default()
    };
    let frame = Frame { interface: InterfaceId(0), bytes, offload: Offload::NONE };
    let mut sent = Capture::default();
    let mut pipeline = Pipeline::new((1, 2));
    let outcome = pipeline.process(&snapshot, &frame, Instant::ZERO, &mut sent);
    (outcome.verdict, sent.frames.into_iter().map(|(_, frame, _)| frame).collect())
}

/// A question to the host itself, as a neighbour asks who wants to know whether it is still there.
fn to_host(mut question: [u8; ndp::FRAME]) -> [u8; ndp::FRAME] {
    question[..6].copy_from_slice(&OWN.0);
    question
}

#[test]
fn the_engine_answers_for_its_own_addresses() {
    let asked = ndp::question(ASKER.1, ASKER.0, VIP);
    let answer = ndp::answer(OWN, VIP, ASKER).to_vec();
    for question in [asked, to_host(asked)] {
        assert_eq!(process(&question), (Verdict::Reply, vec![answer.clone()]));
    }
}

#[test]
fn who_is_about_to_take_an_address_is_told_along_with_all() {
    let question = ndp::question(ASKER.1, Ipv6Addr::UNSPECIFIED, VIP);
    assert_eq!(process(&question), (Verdict::Reply, vec![ndp::announcement(OWN, VIP).to_vec()]));
}

#[test]
fn all_else_is_the_hosts() {
    let others = "fd00::1".parse().unwrap();
    let about_another = ndp::question(ASKER.1, ASKER.0, others);
    let tagged = {
        let question = ndp::question(ASKER.1, ASKER.0, VIP);
        [&question[..12], &[0x81, 0, 0, 42], &question[12..]].concat()
    };
    let cases = [
        ("another's address", about_another.to_vec()),
        ("an answer", ndp::announcement(ASKER.1, VIP).to_vec()),
        ("a question in a VLAN", tagged),
    ];
    for (what, frame) in cases {
        assert_eq!(process(&frame), (Verdict::ToHost, vec![]), "{what}");
    }
}

#[test]
fn forged_questions_are_dropped() {
    for (what, place, value) in [("from beyond a router", HOP_LIMIT, 254), ("a wrong checksum", 56, 0)] {
        let mut question = ndp::question(ASKER.1, ASKER.0, VIP);
        question[place] = value;
        assert_eq!(process(&question), (Verdict::Drop(DropReason::HostSilent), vec![]), "{what}");
    }
}
