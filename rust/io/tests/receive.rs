//! Which frames of a link come out of an interface's rings, and which groups it listens to.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests, and the reason of a skipped one"
)]

mod namespace;

use fastlvs_core::net::Mac;
use fastlvs_core::wire::arp::Arp;
use fastlvs_core::wire::ndp;
use fastlvs_io::af_packet::{AfPacket, FrameSocket, RingReceiver};
use fastlvs_io::device::{Device, Receiver};
use fastlvs_io::groups::Groups;
use fastlvs_io::netlink::Monitor;
use namespace::{in_namespace, ip, wait_until};
use std::net::Ipv6Addr;

const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
const PEER: Mac = Mac([2, 0, 0, 0, 0, 2]);
const VIP: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0x12, 0x3456);

fn pair() -> (u32, u32) {
    ip(&format!("link add near address {OWN} type veth peer name far address {PEER}"));
    ip("link set near up");
    ip("link set far up");
    let monitor = Monitor::open().unwrap();
    let index = |name| monitor.state().link(name).unwrap().index;
    (index("near"), index("far"))
}

/// A frame of `length` bytes to `destination`, marked by its last byte.
fn frame(destination: [u8; 6], ethertype: [u8; 2], length: usize, mark: u8) -> Vec<u8> {
    let mut frame = [&destination[..], &PEER.0, &ethertype].concat();
    frame.resize(length, 0);
    frame[length - 1] = mark;
    frame
}

fn marked(mut frame: Vec<u8>, mark: u8) -> Vec<u8> {
    frame.push(mark);
    frame
}

#[test]
fn rings_hold_what_is_addressed_to_the_host_and_questions_to_all() {
    in_namespace("rings_hold_what_is_addressed_to_the_host_and_questions_to_all", || {
        let (near, far) = pair();
        let (mut receiver, _) = AfPacket::open(near, 1500, 7).unwrap().split();
        let sender = FrameSocket::open(far).unwrap();
        let (ipv4, ipv6, group) = ([8, 0], [0x86, 0xdd], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        let asker = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x100);
        let redirect = {
            let mut frame = ndp::question(PEER, asker, VIP).to_vec();
            frame[54] = 137;
            frame
        };
        let frames = [
            frame(OWN.0, ipv4, 60, 1),
            frame(OWN.0, ipv6, 1514, 2),
            marked(Arp::question(PEER, [10, 0, 0, 2].into(), [10, 0, 0, 81].into()).to_vec(), 3),
            marked(ndp::question(PEER, asker, VIP).to_vec(), 4),
            marked(ndp::announcement(PEER, VIP).to_vec(), 5),
            frame(Mac::BROADCAST.0, ipv4, 60, 101),
            frame(group, ipv6, 100, 102),
            frame(group, ipv4, 100, 103),
            marked(redirect, 104),
            frame([1, 0, 0x5e, 0, 0, 1], ipv4, 60, 105),
            frame([2, 0, 0, 0, 0, 9], ipv4, 60, 106),
            frame(OWN.0, ipv4, 60, 6),
        ];
        for frame in &frames {
            sender.send(frame).unwrap();
        }
        let mut marks = Vec::new();
        wait_until("the last frame", || {
            // The kernel's own chatter has no marks that count.
            receiver.receive(64, |received| marks.extend(received.bytes.last()));
            marks.contains(&6)
        });
        marks.retain(|mark| (1..=6).contains(mark) || (101..=106).contains(mark));
        assert_eq!(marks, [1, 2, 3, 4, 5, 6]);
    });
}

#[test]
fn rings_of_a_loopback_hold_what_was_moved_there() {
    in_namespace("rings_of_a_loopback_hold_what_was_moved_there", || {
        ip("link set lo up");
        let index = Monitor::open().unwrap().state().link("lo").unwrap().index;
        let mut receiver = RingReceiver::open_moved(index, 0x0200_0000).unwrap();
        let sender = FrameSocket::open(index).unwrap();
        let (ipv4, own) = ([8, 0], [0; 6]);
        let other_owner = [&PEER.0[..], &[2, 0, 0, 1, 0, 0], &ipv4, &[0; 46]].concat();
        let frames = [
            frame(PEER.0, ipv4, 60, 1),
            frame(own, ipv4, 60, 101),
            frame(PEER.0, ipv4, 40_000, 2),
            marked(other_owner, 102),
            frame(PEER.0, [0x86, 0xdd], 1900, 3),
            frame([0xff; 6], ipv4, 60, 103),
            frame(PEER.0, ipv4, 1899, 4),
        ];
        for frame in &frames {
            sender.send(frame).unwrap();
        }
        let mut marks = Vec::new();
        wait_until("the last frame", || {
            receiver.receive(64, |received| marks.extend(received.bytes.last()));
            marks.contains(&4)
        });
        assert_eq!(marks, [1, 2, 3, 4]);
    });
}

#[test]
fn a_joined_group_is_one_of_the_interfaces() {
    in_namespace("a_joined_group_is_one_of_the_interfaces", || {
        let (near, _) = pair();
        let group = ndp::solicited_node(VIP);
        let listens = || {
            let groups = std::fs::read_to_string("/proc/net/igmp6").unwrap();
            groups.contains("ff0200000000000000000001ff123456")
        };
        let groups = Groups::open().unwrap();
        groups.join(near, group).unwrap();
        assert!(listens());
        assert_eq!(groups.join(near, group).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
        groups.leave(near, group).unwrap();
        assert!(!listens());
        groups.join(near, group).unwrap();
        drop(groups);
        assert!(!listens());
        assert!(Groups::open().unwrap().join(u32::MAX, group).is_err());
    });
}
