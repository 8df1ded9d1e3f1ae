//! One end of packets, where they come from or where they go: the protocols, addresses and ports that claims are made of.

use fastlvs_core::net::{Endpoint, Prefix, Protocol};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// All ports.
pub const ALL_PORTS: RangeInclusive<u16> = 0..=u16::MAX;

/// Ends of packets. What is asked for most is looked up; blocks and ranges, of which there are few, are gone through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// An address and a port each.
    pub points: BTreeSet<(Protocol, Endpoint)>,
    /// All ports of an address.
    pub hosts: BTreeSet<(Protocol, IpAddr)>,
    /// All else.
    pub ranges: BTreeSet<Range>,
}

/// A range of ports of a block of addresses; of one address and one port, if that is all.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Range {
    /// The protocol.
    pub protocol: Protocol,
    /// The block's first address and the number of bits that its addresses have in common.
    network: (IpAddr, u8),
    ports: (u16, u16),
}

impl Ends {
    /// Takes what is to be named too.
    pub fn insert(&mut self, range: &Range) {
        match range.place() {
            Place::Point(point) => self.points.insert(point),
            Place::Host(host) => self.hosts.insert(host),
            Place::Range => self.ranges.insert(range.clone()),
        };
    }

    /// Names it no longer.
    pub fn remove(&mut self, range: &Range) {
        match range.place() {
            Place::Point(point) => self.points.remove(&point),
            Place::Host(host) => self.hosts.remove(&host),
            Place::Range => self.ranges.remove(range),
        };
    }

    /// Whether just that was inserted.
    #[must_use]
    pub fn has(&self, range: &Range) -> bool {
        match range.place() {
            Place::Point(point) => self.points.contains(&point),
            Place::Host(host) => self.hosts.contains(&host),
            Place::Range => self.ranges.contains(range),
        }
    }

    /// Whether a packet with this end is named.
    #[must_use]
    pub fn contain(&self, protocol: Protocol, end: Endpoint) -> bool {
        self.points.contains(&(protocol, end))
            || self.hosts.contains(&(protocol, end.address))
            || self.ranges.iter().any(|range| range.contains(protocol, end))
    }

    /// Whether all packets of a protocol with this address are named.
    #[must_use]
    pub fn contain_all_ports(&self, protocol: Protocol, address: IpAddr) -> bool {
        let all =
            |range: &Range| range.ports() == ALL_PORTS && range.contains(protocol, Endpoint::new(address, 0));
        self.hosts.contains(&(protocol, address)) || self.ranges.iter().any(all)
    }

    /// Whether anything of `address` is named, in a block or by itself.
    #[must_use]
    pub fn cover(&self, address: IpAddr) -> bool {
        self.has_address(address) || self.ranges.iter().any(|range| range.block().contains(address))
    }

    /// Whether `address` is named by itself.
    #[must_use]
    pub fn has_address(&self, address: IpAddr) -> bool {
        if self.ranges.iter().any(|range| range.block() == Prefix::host(address)) {
            return true;
        }
        [Protocol::TCP, Protocol::UDP, Protocol::SCTP].iter().any(|protocol| {
            let end = |port| (*protocol, Endpoint::new(address, port));
            self.points.range(end(0)..=end(u16::MAX)).next().is_some()
                || self.hosts.contains(&(*protocol, address))
        })
    }

    /// The addresses that are named by themselves.
    #[must_use]
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        let hosts = self.hosts.iter().map(|(_, address)| *address);
        self.points.iter().map(|(_, end)| end.address).chain(hosts).collect()
    }

    /// Those whose address, or block's first one, is wanted.
    #[must_use]
    pub fn only(&self, wanted: impl Fn(IpAddr) -> bool) -> Self {
        Self {
            points: self.points.iter().filter(|(_, end)| wanted(end.address)).copied().collect(),
            hosts: self.hosts.iter().filter(|(_, address)| wanted(*address)).copied().collect(),
            ranges: self.ranges.iter().filter(|range| wanted(range.network.0)).cloned().collect(),
        }
    }

    /// Takes all of `other` too.
    pub fn extend(&mut self, other: &Self) {
        self.points.extend(&other.points);
        self.hosts.extend(&other.hosts);
        self.ranges.extend(other.ranges.iter().cloned());
    }

    /// Whether nothing is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.points.is_empty() && self.hosts.is_empty() && self.ranges.is_empty()
    }
}

/// Where a range is kept: where it is found soonest.
enum Place {
    Point((Protocol, Endpoint)),
    Host((Protocol, IpAddr)),
    Range,
}

impl Range {
    /// These ports of these addresses.
    #[must_use]
    pub fn new(protocol: Protocol, block: Prefix, ports: RangeInclusive<u16>) -> Self {
        Self { protocol, network: (block.network(), block.length()), ports: ports.into_inner() }
    }

    fn place(&self) -> Place {
        let (address, block) = (self.network.0, self.block());
        let is_one = block == Prefix::host(address);
        match self.ports {
            (first, last) if is_one && first == last => {
                Place::Point((self.protocol, Endpoint::new(address, first)))
            }
            _ if is_one && self.ports() == ALL_PORTS => Place::Host((self.protocol, address)),
            _ => Place::Range,
        }
    }

    /// The block of addresses.
    #[must_use]
    pub fn block(&self) -> Prefix {
        // It was made from a prefix.
        Prefix::new(self.network.0, self.network.1).unwrap_or(Prefix::host(self.network.0))
    }

    /// The ports.
    #[must_use]
    pub const fn ports(&self) -> RangeInclusive<u16> {
        self.ports.0..=self.ports.1
    }

    fn contains(&self, protocol: Protocol, end: Endpoint) -> bool {
        self.protocol == protocol && self.ports().contains(&end.port) && self.block().contains(end.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_is_kept_where_it_is_found_soonest() {
        let mut ends = Ends::default();
        for (block, ports) in [
            ("10.0.0.1/32", 80..=80),
            ("10.0.0.2/32", ALL_PORTS),
            ("10.0.0.3/32", 8000..=8999),
            ("10.0.1.9/24", ALL_PORTS),
            ("10.0.1.7/24", ALL_PORTS),
        ] {
            ends.insert(&Range::new(Protocol::TCP, block.parse().unwrap(), ports));
        }
        assert_eq!((ends.points.len(), ends.hosts.len(), ends.ranges.len()), (1, 1, 2));
        for (end, contained, covered, named) in [
            ("10.0.0.1:80", true, true, true),
            ("10.0.0.1:81", false, true, true),
            ("10.0.0.2:9", true, true, true),
            ("10.0.0.3:8999", true, true, true),
            ("10.0.0.3:9000", false, true, true),
            ("10.0.1.255:1", true, true, false),
            ("10.0.2.0:1", false, false, false),
        ] {
            let end: Endpoint = end.parse().unwrap();
            assert_eq!(ends.contain(Protocol::TCP, end), contained, "{end}");
            assert_eq!((ends.cover(end.address), ends.has_address(end.address)), (covered, named), "{end}");
            assert!(!ends.contain(Protocol::UDP, end));
        }
        let host = Range::new(Protocol::TCP, "10.0.0.2/32".parse().unwrap(), ALL_PORTS);
        assert!(ends.has(&host));
        ends.remove(&host);
        assert!(!ends.has(&host) && !ends.has_address(host.block().address()));
    }
}
