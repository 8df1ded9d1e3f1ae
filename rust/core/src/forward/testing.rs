//! Frames and ways out for the tests of this module.

use crate::frame::{Frame, NextHop, Offload};
use crate::net::{InterfaceId, Mac};
use crate::network::Output;
use crate::packet::{Packet, Parsed, parse};

/// An echo request without data from 10.0.0.2 to 10.99.0.1.
pub(super) const PING: [u8; 42] = [
    2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, // Ethernet
    0x45, 0, 0, 0x1c, 0, 7, 0, 0, 0x40, 1, 0x66, 0x75, 0x0a, 0, 0, 2, 0x0a, 0x63, 0, 1, // IPv4
    8, 0, 0xe5, 0xca, 0x12, 0x34, 0, 1, // ICMP
];

/// A SYN from 10.0.0.2:40000 to 10.99.0.1:80, sequence number 1.
pub(super) const SYN: [u8; 54] = [
    2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, // Ethernet
    0x45, 0, 0, 0x28, 0, 7, 0x40, 0, 0x40, 6, 0x26, 0x64, 0x0a, 0, 0, 2, 0x0a, 0x63, 0, 1, // IPv4
    0x9c, 0x40, 0, 0x50, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0xfe, 0xeb, 0, 0, // TCP
];

/// The packet in a frame that interface 0 received.
pub(super) fn packet(bytes: &[u8]) -> Packet<'_> {
    match parse(&Frame { interface: InterfaceId(0), bytes, offload: Offload::NONE }) {
        Ok(Parsed::Ip(packet)) => packet,
        other => panic!("{other:?}"),
    }
}

/// A way out by `interface`.
pub(super) fn out(interface: InterfaceId, mtu: u32) -> Output {
    let mac = Some(Mac([2, 0, 0, 0, 0, 9]));
    let hop = NextHop { interface, address: [10, 0, 0, 9].into(), mac };
    Output { hop, source_mac: Mac([2, 0, 0, 0, 0, 1]), mtu, source: None }
}
