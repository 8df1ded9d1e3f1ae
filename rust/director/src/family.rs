//! How nftables speaks of IPv4 and IPv6: the one vocabulary of all chains and sets of the director's table.

use crate::claims::in_fragments;
use crate::ends::Range;
use fastlvs_core::net::{Endpoint, Protocol};
use std::net::IpAddr;

/// Matches frames of VLANs, which are not the interface's own, by the tag that the kernel has taken out of them already.
/// VLAN 0 is none: such a tag has a priority alone.
pub const OTHER_VLANS: &str = "@ll,96,16 { 0x8100, 0x88a8 } @ll,112,16 & 0x0fff != 0";

/// How nft speaks of a family.
pub struct Family {
    /// Whether it is IPv4.
    pub v4: bool,
    /// The end of its sets' names.
    pub suffix: char,
    /// The type of its addresses.
    pub address: &'static str,
    /// Its header.
    pub ip: &'static str,
    /// Matches its fragments.
    pub fragment: &'static str,
    /// Matches the ICMP errors that are relayed, if they are whole.
    pub error: &'static str,
}

/// Both.
pub const FAMILIES: [Family; 2] = [
    Family {
        v4: true,
        suffix: '4',
        address: "ipv4_addr",
        ip: "ip",
        fragment: "ip frag-off & 0x3fff != 0",
        error: "icmp type { 3, 4, 11 } ip frag-off & 0x3fff == 0",
    },
    Family {
        v4: false,
        suffix: '6',
        address: "ipv6_addr",
        ip: "ip6",
        fragment: "exthdr frag exists",
        error: "icmpv6 type < 128 exthdr frag missing",
    },
];

impl Family {
    const fn has(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.v4
    }

    /// Of these addresses with protocols and ports its own, as elements of a set.
    pub fn points<'a>(&self, points: impl IntoIterator<Item = &'a (Protocol, Endpoint)>) -> Vec<String> {
        let ours = points.into_iter().filter(|(_, end)| self.has(end.address));
        ours.map(|(Protocol(number), end)| format!("{number} . {} . {}", end.address, end.port)).collect()
    }

    /// Of these addresses with protocols its own.
    pub fn hosts<'a>(&self, hosts: impl IntoIterator<Item = &'a (Protocol, IpAddr)>) -> Vec<String> {
        let ours = hosts.into_iter().filter(|(_, address)| self.has(*address));
        ours.map(|(Protocol(number), address)| format!("{number} . {address}")).collect()
    }

    /// Of these addresses its own.
    pub fn addresses<'a>(&self, addresses: impl IntoIterator<Item = &'a IpAddr>) -> Vec<String> {
        addresses.into_iter().filter(|address| self.has(**address)).map(ToString::to_string).collect()
    }

    /// What matches packets with a range at one end (`s` or `d`), and fragments, which need not bear the port.
    pub fn rules(&self, range: &Range, end: &str) -> Vec<String> {
        let Range { protocol: Protocol(number), .. } = range;
        let (block, ports) = (range.block(), range.ports());
        if !self.has(block.address()) {
            return Vec::new();
        }
        let (ip, fragment) = (self.ip, self.fragment);
        let protocols = in_fragments(self.v4).map(|Protocol(number)| number.to_string()).join(", ");
        let ports = match (ports.start(), ports.end()) {
            (0, &u16::MAX) => String::new(),
            (first, last) => format!(" th {end}port {first}-{last}"),
        };
        vec![
            format!("meta l4proto {number} {ip} {end}addr {block}{ports}"),
            format!("{fragment} meta l4proto {{ {protocols} }} {ip} {end}addr {block}"),
        ]
    }
}
