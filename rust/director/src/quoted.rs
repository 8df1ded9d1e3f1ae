//! What ICMP errors quote, as far as claims ask for it: read by the worker and by nftables' rules in the same places.
//!
//! A rule can look at fixed places alone. So both read as if the quoted IP header had neither options nor extension
//! headers. Where it has some, both see other bytes in the port's place, or another protocol. Whether that is claimed is
//! luck, but they agree, and that is what counts.

use crate::ends::{ALL_PORTS, Ends, Range};
use fastlvs_core::net::{Endpoint, Protocol};
use fastlvs_core::packet::Packet;
use fastlvs_core::wire::{icmp, ipv4, ipv6};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// One end of the packets that ICMP errors of a family are about: where it stands, in bytes from the ICMP header on.
#[derive(Clone, Copy, Debug)]
pub struct QuotedEnd {
    ipv4: bool,
    protocol: usize,
    address: usize,
    port: usize,
}

impl QuotedEnd {
    /// Where the quoted packet came from.
    pub const fn source(ipv4: bool) -> Self {
        if ipv4 { Self::at(true, 12, 0) } else { Self::at(false, 8, 0) }
    }

    /// Where it was to go.
    pub const fn destination(ipv4: bool) -> Self {
        if ipv4 { Self::at(true, 16, 2) } else { Self::at(false, 24, 2) }
    }

    /// Its address stands at that place of the quoted header, its port at that place behind the header.
    const fn at(ipv4: bool, address: usize, port: usize) -> Self {
        let (protocol, header) = if ipv4 { (9, ipv4::HEADER) } else { (6, ipv6::HEADER) };
        let quoted = icmp::HEADER;
        Self { ipv4, protocol: quoted + protocol, address: quoted + address, port: quoted + header + port }
    }

    /// Whether this end of what the error `packet` quotes is one of `ends`.
    pub fn is_in(&self, ends: &Ends, packet: &Packet<'_>) -> bool {
        // A rule does not see where an IP packet ends before its frame does.
        let message = &packet.bytes[packet.transport..];
        let (Some(protocol), Some(address)) = (message.get(self.protocol), self.read_address(message)) else {
            return false;
        };
        let protocol = Protocol(*protocol);
        match message.get(self.port..).and_then(<[u8]>::first_chunk) {
            Some(port) => ends.contain(protocol, Endpoint::new(address, u16::from_be_bytes(*port))),
            None => ends.contain_all_ports(protocol, address),
        }
    }

    fn read_address(&self, message: &[u8]) -> Option<IpAddr> {
        let bytes = message.get(self.address..)?;
        Some(if self.ipv4 {
            Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()
        } else {
            Ipv6Addr::from(*bytes.first_chunk::<16>()?).into()
        })
    }

    /// What nft calls the end: its protocol, address and port; and the first two alone.
    pub fn names(&self) -> (String, String) {
        let (protocol, address, port) = self.fields();
        (format!("{protocol} . {address} . {port}"), format!("{protocol} . {address}"))
    }

    /// Of these addresses with protocols and ports the family's, as elements of a set.
    pub fn points<'a>(&self, points: impl IntoIterator<Item = &'a (Protocol, Endpoint)>) -> Vec<String> {
        let ours = points.into_iter().filter(|(_, end)| end.address.is_ipv4() == self.ipv4);
        ours.map(|(Protocol(number), end)| format!("{number} . {:#x} . {}", bits(end.address), end.port))
            .collect()
    }

    /// Of these addresses with protocols the family's.
    pub fn hosts<'a>(&self, hosts: impl IntoIterator<Item = &'a (Protocol, IpAddr)>) -> Vec<String> {
        let ours = hosts.into_iter().filter(|(_, address)| address.is_ipv4() == self.ipv4);
        ours.map(|(Protocol(number), address)| format!("{number} . {:#x}", bits(*address))).collect()
    }

    /// The conditions of nftables' rules that match what lies in blocks and ranges, of the family's.
    pub fn ranges(&self, ends: &Ends) -> Vec<String> {
        let ours = ends.ranges.iter().filter(|range| range.block().address().is_ipv4() == self.ipv4);
        ours.map(|range| self.condition(range)).collect()
    }

    /// Those that match all errors about `ends`, of the family's.
    pub fn conditions(&self, ends: &Ends) -> Vec<String> {
        let (point, host) = self.names();
        let sets = [(point, self.points(&ends.points)), (host, self.hosts(&ends.hosts))].into_iter();
        let sets = sets.filter(|(_, values)| !values.is_empty());
        sets.map(|(name, values)| format!("{name} {{ {} }}", values.join(", ")))
            .chain(self.ranges(ends))
            .collect()
    }

    fn condition(&self, range: &Range) -> String {
        let (Protocol(number), block) = (range.protocol, range.block());
        let (protocol, address, port) = self.fields();
        let mut condition = format!("{protocol} {number}");
        if block.length() > 0 {
            let first = bits(block.network());
            let last = first | ((1 << (self.address_bits() - block.length())) - 1);
            let _ = write!(condition, " {address} {}", between(first..=last));
        }
        if range.ports() != ALL_PORTS {
            let (first, last) = range.ports().into_inner();
            let _ = write!(condition, " {port} {}", between(first.into()..=last.into()));
        }
        condition
    }

    /// What nft calls protocol, address and port.
    fn fields(&self) -> (String, String, String) {
        let field = |byte: usize, bits: u8| format!("@th,{},{bits}", byte * 8);
        (field(self.protocol, 8), field(self.address, self.address_bits()), field(self.port, 16))
    }

    const fn address_bits(&self) -> u8 {
        if self.ipv4 { 32 } else { 128 }
    }
}

/// How nft writes a range; it takes none of a single value.
fn between(range: RangeInclusive<u128>) -> String {
    match range.into_inner() {
        (first, last) if first == last => format!("{first:#x}"),
        (first, last) => format!("{first:#x}-{last:#x}"),
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastlvs_core::frame::{Frame, Offload};
    use fastlvs_core::net::{InterfaceId, Prefix};
    use fastlvs_core::packet::{Parsed, parse};
    use fastlvs_core::wire::ipv4::Fields;

    /// A port with each protocol, a host, a range, a block: of IPv4, and the same of IPv6.
    fn ends() -> Ends {
        let mut ends = Ends::default();
        for (protocol, block, ports) in [
            (Protocol::UDP, "10.1.0.11/32", 8080..=8080),
            (Protocol::TCP, "10.1.0.12/32", ALL_PORTS),
            (Protocol::UDP, "10.1.0.13/32", 8000..=8999),
            (Protocol::SCTP, "192.0.2.16/28", ALL_PORTS),
            (Protocol::UDP, "2001:db8::11/128", 8080..=8080),
            (Protocol::TCP, "2001:db8::12/128", ALL_PORTS),
            (Protocol::UDP, "2001:db8::13/128", 8000..=8999),
            (Protocol::SCTP, "2001:db8:1::/48", ALL_PORTS),
        ] {
            let block: Prefix = block.parse().unwrap();
            ends.insert(&Range::new(protocol, block, ports));
        }
        ends
    }

    #[test]
    fn rules_match_what_is_quoted() {
        assert_eq!(
            QuotedEnd::source(true).conditions(&ends()),
            [
                "@th,136,8 . @th,160,32 . @th,224,16 { 17 . 0xa01000b . 8080 }",
                "@th,136,8 . @th,160,32 { 6 . 0xa01000c }",
                "@th,136,8 17 @th,160,32 0xa01000d @th,224,16 0x1f40-0x2327",
                "@th,136,8 132 @th,160,32 0xc0000210-0xc000021f",
            ]
        );
        assert_eq!(
            QuotedEnd::destination(false).conditions(&ends()),
            [
                "@th,112,8 . @th,256,128 . @th,400,16 { 17 . 0x20010db8000000000000000000000011 . 8080 }",
                "@th,112,8 . @th,256,128 { 6 . 0x20010db8000000000000000000000012 }",
                "@th,112,8 17 @th,256,128 0x20010db8000000000000000000000013 @th,400,16 0x1f40-0x2327",
                "@th,112,8 132 @th,256,128 \
                 0x20010db8000100000000000000000000-0x20010db80001ffffffffffffffffffff",
            ]
        );
        let mut every = Ends::default();
        every.insert(&Range::new(Protocol::TCP, "0.0.0.0/0".parse().unwrap(), ALL_PORTS));
        assert_eq!(QuotedEnd::source(true).conditions(&every), ["@th,136,8 6"]);
        assert_eq!(QuotedEnd::source(false).conditions(&every), [""; 0]);
    }

    /// A quoted IP header with ports behind it, from one end to the other.
    fn quoted(protocol: Protocol, source: Endpoint, destination: Endpoint) -> Vec<u8> {
        let mut bytes = match (source.address, destination.address) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => ipv4_header(protocol, source, destination, 28),
            (IpAddr::V6(source), IpAddr::V6(destination)) => ipv6_header(protocol, source, destination, 8),
            other => panic!("{other:?}"),
        };
        bytes.extend(source.port.to_be_bytes());
        bytes.extend(destination.port.to_be_bytes());
        bytes.extend([0, 8, 0, 0]);
        bytes
    }

    fn ipv4_header(
        protocol: Protocol,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        total_length: u16,
    ) -> Vec<u8> {
        let mut header = vec![0; ipv4::HEADER];
        let fields = Fields {
            tos: 0,
            total_length,
            identification: 7,
            fragment: 0,
            ttl: 64,
            protocol,
            source,
            destination,
        };
        fields.write(&mut header);
        header
    }

    fn ipv6_header(protocol: Protocol, source: Ipv6Addr, destination: Ipv6Addr, length: u16) -> Vec<u8> {
        let [high, low] = length.to_be_bytes();
        let mut header = vec![0x60, 0, 0, 0, high, low, protocol.0, 64];
        header.extend(source.octets());
        header.extend(destination.octets());
        header
    }

    /// A frame with an error that quotes so much, and bytes behind the IP packet.
    fn error(ipv4: bool, quoted: &[u8], behind: &[u8]) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        let length = (icmp::HEADER + quoted.len()) as u16;
        if ipv4 {
            let (source, destination) = (Ipv4Addr::new(10, 1, 0, 254), Ipv4Addr::new(10, 0, 0, 100));
            frame.extend([8, 0]);
            frame.extend(ipv4_header(Protocol::ICMP, source, destination, 20 + length));
            frame.extend([3, 3, 0, 0, 0, 0, 0, 0]);
        } else {
            let source = "2001:db8::fe".parse().unwrap();
            frame.extend([0x86, 0xdd]);
            frame.extend(ipv6_header(Protocol::ICMPV6, source, "2001:db8:9::64".parse().unwrap(), length));
            frame.extend([1, 4, 0, 0, 0, 0, 0, 0]);
        }
        frame.extend(quoted);
        frame.extend(behind);
        frame
    }

    /// Whether the two ends of what is quoted are among the ends.
    fn found(frame: &[u8]) -> (bool, bool) {
        let frame = Frame { interface: InterfaceId(0), bytes: frame, offload: Offload::NONE };
        let Ok(Parsed::Ip(packet)) = parse(&frame) else { panic!("{frame:?}") };
        let is_in = |end: QuotedEnd| end.is_in(&ends(), &packet);
        (is_in(QuotedEnd::source(packet.is_ipv4())), is_in(QuotedEnd::destination(packet.is_ipv4())))
    }

    #[test]
    fn an_error_is_about_who_is_quoted() {
        let (tcp, udp, sctp) = (Protocol::TCP, Protocol::UDP, Protocol::SCTP);
        for (protocol, end, named) in [
            (udp, "10.1.0.11:8080", true),
            (tcp, "10.1.0.11:8080", false),
            (udp, "10.1.0.11:8081", false),
            (tcp, "10.1.0.12:1", true),
            (udp, "10.1.0.12:1", false),
            (udp, "10.1.0.13:8000", true),
            (udp, "10.1.0.13:8999", true),
            (udp, "10.1.0.13:9000", false),
            (sctp, "192.0.2.31:5", true),
            (sctp, "192.0.2.32:5", false),
            (udp, "[2001:db8::11]:8080", true),
            (udp, "[2001:db8::11]:8081", false),
            (tcp, "[2001:db8::12]:9", true),
            (udp, "[2001:db8::13]:8999", true),
            (udp, "[2001:db8::13]:7999", false),
            (sctp, "[2001:db8:1:ffff::5]:5", true),
            (sctp, "[2001:db8:2::5]:5", false),
        ] {
            let end: Endpoint = end.parse().unwrap();
            let client = if end.address.is_ipv4() { "10.0.0.100:40000" } else { "[2001:db8:9::64]:40000" };
            let client = client.parse().unwrap();
            let ipv4 = end.address.is_ipv4();
            let of = |quoted: Vec<u8>| found(&error(ipv4, &quoted, &[]));
            assert_eq!(of(quoted(protocol, end, client)), (named, false), "from {protocol} {end}");
            assert_eq!(of(quoted(protocol, client, end)), (false, named), "to {protocol} {end}");
        }
    }

    #[test]
    fn less_is_quoted_than_the_ports() {
        let (point, host): (Endpoint, Endpoint) =
            ("10.1.0.11:8080".parse().unwrap(), "10.1.0.12:80".parse().unwrap());
        let (udp, tcp) = (quoted(Protocol::UDP, point, point), quoted(Protocol::TCP, host, host));
        for (quoted, length, expected) in [
            (&udp, 24, (true, true)),
            (&udp, 23, (true, false)),
            (&udp, 21, (false, false)),
            (&tcp, 20, (true, true)),
            (&tcp, 16, (true, false)),
            (&tcp, 9, (false, false)),
        ] {
            let (seen, hidden) = quoted.split_at(length);
            assert_eq!(found(&error(true, seen, &[])), expected, "{length} bytes");
            assert_eq!(found(&error(true, seen, hidden)), (true, true), "as a rule sees it");
        }
    }
}
