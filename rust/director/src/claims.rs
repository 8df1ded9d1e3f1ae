//! What the director claims: the packets that the kernel's own stack must not handle as well.
//!
//! A packet socket sees copies. So that the kernel does not answer or route the original too, it is told
//! (by `nft`) to drop exactly what is named here; and what it dropped although the engine leaves it
//! to the host, the worker gives back. Both decide by this one list.

use crate::ends::{ALL_PORTS, Ends, Range};
use crate::quoted::QuotedEnd;
use fastlvs_core::marks::Marks;
use fastlvs_core::net::{Endpoint, Prefix, Protocol};
use fastlvs_core::network::{Network, Path};
use fastlvs_core::packet::{Fragment, Packet};
use fastlvs_core::service::{FTP_PORT, Method, ServerSpec, ServiceSpec};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What the kernel's stack is kept away from. Only packets that are addressed to this host's interfaces count.
///
/// *Fragments.* Only the first of a datagram's bears the ports. So all fragments to a service's address and, on their
/// way to clients, from a masqueraded server's are claimed. The engine puts them together, and what turns out to be
/// another port's is given back whole. Otherwise the kernel would keep the later ones until half a minute has passed,
/// with room for some thousand of them, or send the client those of a reply with the server's address.
///
/// *ICMP errors* of the kinds that the engine relays are claimed by what they quote: a packet from a service, or one to a
/// masqueraded server. Of the latter the host, if it routes, would send the client a second, untranslated one. An error
/// that comes in fragments is not claimed for what it quotes. One about a tunnel is for an address of the host's, which may
/// learn the path's MTU from it as the engine does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Packets to these, virtual services, and errors about packets from these.
    pub services: Ends,
    /// Packets from these, replies that have to be translated, and errors about packets to these; unless they go to an
    /// address of the host.
    pub replies: Ends,
    /// Of these, what the host itself sends: servers whose address is the host's.
    pub local: Ends,
    /// All packets to these addresses: no kernel holds them, so it would only route or reject.
    pub owned: BTreeSet<IpAddr>,
}

/// One claim, as a service or a server needs it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// Packets to a virtual service.
    Service(Range),
    /// Replies of a masqueraded server.
    Reply(Range),
}

impl Claims {
    /// Takes one more.
    pub fn insert(&mut self, claim: &Claim) {
        match claim {
            Claim::Service(range) => self.services.insert(range),
            Claim::Reply(range) => self.replies.insert(range),
        }
    }

    /// Gives one up.
    pub fn remove(&mut self, claim: &Claim) {
        match claim {
            Claim::Service(range) => self.services.remove(range),
            Claim::Reply(range) => self.replies.remove(range),
        }
    }

    /// Whether that one is among them.
    #[must_use]
    pub fn has(&self, claim: &Claim) -> bool {
        match claim {
            Claim::Service(range) => self.services.has(range),
            Claim::Reply(range) => self.replies.has(range),
        }
    }

    /// The same where the host has the addresses that `network` says. What is sent from a loopback address never
    /// leaves it.
    #[must_use]
    pub fn on(self, network: &Network) -> Self {
        let own = |address: IpAddr| {
            !address.is_loopback() && !network.is_owned(address) && network.path(address) == Some(Path::Local)
        };
        Self { local: self.replies.only(own), ..self }
    }

    /// Whether the kernel's copy of `packet` was dropped.
    #[must_use]
    pub fn take(&self, packet: &Packet<'_>, network: &Network) -> bool {
        let flow = &packet.flow;
        let (source, destination) = (flow.source.address, flow.destination.address);
        let leaves = || network.path(destination) != Some(Path::Local);
        if self.owned.contains(&destination) {
            return true;
        }
        if packet.fragment != Fragment::Whole || packet.fragment_header != 0 {
            return in_fragments(packet.is_ipv4()).contains(&packet.protocol())
                && (self.services.cover(destination) || self.replies.cover(source) && leaves());
        }
        self.services.contain(flow.protocol, flow.destination)
            || self.replies.contain(flow.protocol, flow.source) && leaves()
            || packet.is_relayed_error()
                && (QuotedEnd::source(packet.is_ipv4()).is_in(&self.services, packet)
                    || QuotedEnd::destination(packet.is_ipv4()).is_in(&self.replies, packet) && leaves())
    }

    /// Whether a service has that address, by itself and not in a block that may be other hosts' too.
    #[must_use]
    pub fn has_service(&self, address: IpAddr) -> bool {
        self.services.has_address(address)
    }
}

/// What a service and its servers need claimed.
#[derive(Debug, PartialEq, Eq)]
pub struct Needs {
    /// The packets that are for the service.
    ranges: Vec<Range>,
    /// Whether they come to its servers on the port that their clients asked for.
    keep_ports: bool,
}

impl Needs {
    /// Those of a service, where packets get these marks. Clients keep the port that they ask for where the service
    /// takes all ports and remembers its clients, as does that of a mark; so it is with FTP, whose data connections are
    /// of other ports.
    #[must_use]
    pub fn of(spec: &ServiceSpec, marks: &Marks) -> Self {
        let (key, is_persistent) = (&spec.key, spec.persistence.is_some());
        let Some(mark) = key.mark() else {
            let (block, ports) = (key.address().block(), key.address().ports());
            let ftp = key.address.port == FTP_PORT && key.protocol == Protocol::TCP;
            let keep_ports = key.is_exact() && (key.address.port == 0 || ftp && is_persistent);
            let ports = if keep_ports { ALL_PORTS } else { ports };
            return Self { ranges: vec![Range::new(key.protocol, block, ports)], keep_ports };
        };
        let rules = marks.rules().iter().filter(|rule| rule.mark == mark);
        let rules = rules.filter(|rule| rule.destination.address().is_ipv6() == key.is_ipv6());
        let ranges = rules.flat_map(|rule| {
            let protocols = rule.protocol.map_or(BALANCED.to_vec(), |protocol| vec![protocol]);
            protocols.into_iter().map(|protocol| Range::new(protocol, rule.destination, rule.ports.clone()))
        });
        Self { ranges: ranges.collect(), keep_ports: is_persistent }
    }

    /// The service's own.
    pub fn service(&self) -> impl Iterator<Item = Claim> + '_ {
        self.ranges.iter().cloned().map(Claim::Service)
    }

    /// For what a server answers: none, unless it is masqueraded.
    pub fn replies(&self, server: &ServerSpec) -> impl Iterator<Item = Claim> + '_ {
        let Endpoint { address, port } = server.endpoint;
        let keeps = self.keep_ports || port == 0;
        let ranges = (server.method == Method::Masquerading).then_some(&self.ranges);
        ranges.into_iter().flatten().map(move |range| {
            let ports = if keeps { range.ports() } else { port..=port };
            Claim::Reply(Range::new(range.protocol, Prefix::host(address), ports))
        })
    }

    /// Those of the service and of these servers; what several need is there as often.
    pub fn all<'a>(&'a self, servers: &'a [ServerSpec]) -> impl Iterator<Item = Claim> + 'a {
        self.service().chain(servers.iter().flat_map(|server| self.replies(server)))
    }
}

/// What can be balanced.
const BALANCED: [Protocol; 3] = [Protocol::TCP, Protocol::UDP, Protocol::SCTP];

/// The protocols whose fragments are claimed: those that the engine puts together.
#[must_use]
pub const fn in_fragments(ipv4: bool) -> [Protocol; 4] {
    let icmp = if ipv4 { Protocol::ICMP } else { Protocol::ICMPV6 };
    [icmp, Protocol::TCP, Protocol::UDP, Protocol::SCTP]
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastlvs_core::frame::{Frame, Offload};
    use fastlvs_core::marks::MarkRule;
    use fastlvs_core::net::InterfaceId;
    use fastlvs_core::packet::{Parsed, parse};
    use fastlvs_core::service::{Persistence, ServiceKey};
    use fastlvs_core::time::Duration;
    use fastlvs_core::wire::ipv4;
    use std::ops::RangeInclusive;

    fn service(port: u16, servers: &[(&str, Method)]) -> ServiceSpec {
        let server = |(endpoint, method): &(&str, Method)| ServerSpec {
            endpoint: endpoint.parse().unwrap(),
            method: *method,
            ..ServerSpec::default()
        };
        ServiceSpec {
            key: ServiceKey::new(Protocol::TCP, Endpoint::new([10, 0, 0, 1].into(), port)),
            servers: servers.iter().map(server).collect(),
            ..ServiceSpec::default()
        }
    }

    fn claims(services: &[ServiceSpec], marks: &Marks, owned: &[IpAddr]) -> Claims {
        let mut claims = Claims { owned: owned.iter().copied().collect(), ..Claims::default() };
        for spec in services {
            Needs::of(spec, marks).all(&spec.servers).for_each(|claim| claims.insert(&claim));
        }
        claims
    }

    #[test]
    fn replies_are_claimed_where_they_have_to_be_translated() {
        let specs =
            [service(80, &[("10.1.0.1:8080", Method::Masquerading), ("10.1.0.2:80", Method::Gatewaying)])];
        let claims = claims(&specs, &Marks::default(), &["10.0.0.1".parse().unwrap()]);
        assert_eq!(claims.services.points.len(), 1);
        let reply = (Protocol::TCP, "10.1.0.1:8080".parse().unwrap());
        assert_eq!(claims.replies.points.into_iter().collect::<Vec<_>>(), [reply]);
        assert_eq!(claims.owned.len(), 1);
    }

    #[test]
    fn servers_of_the_host_are_told_apart() {
        let nat = |endpoint| (endpoint, Method::Masquerading);
        let servers = ["10.1.0.1:8080", "10.1.0.9:8080", "10.0.0.2:8080", "127.0.0.1:8080"].map(nat);
        let owned = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        let network = Network::default().with_local(["10.1.0.9/32".parse().unwrap()]).with_owned(owned);
        let claims = claims(&[service(80, &servers)], &Marks::default(), &owned).on(&network);
        let own = (Protocol::TCP, "10.1.0.9:8080".parse().unwrap());
        assert_eq!(claims.local.points.iter().collect::<Vec<_>>(), [&own]);
        assert!(claims.on(&Network::default()).local.is_empty());
    }

    /// A fragment of a datagram, as a frame.
    fn fragment(protocol: Protocol, source: [u8; 4], destination: [u8; 4], field: u16) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
        frame.resize(14 + 28, 0);
        let fields = ipv4::Fields {
            tos: 0,
            total_length: 28,
            identification: 7,
            fragment: field,
            ttl: 64,
            protocol,
            source: source.into(),
            destination: destination.into(),
        };
        fields.write(&mut frame[14..]);
        frame
    }

    #[test]
    fn fragments_are_claimed_by_address_alone() {
        let claims =
            claims(&[service(80, &[("10.1.0.1:8080", Method::Masquerading)])], &Marks::default(), &[]);
        let network = Network::default().with_local(["10.1.0.9/32".parse().unwrap()]);
        let (vip, server, other, local) = ([10, 0, 0, 1], [10, 1, 0, 1], [10, 9, 9, 9], [10, 1, 0, 9]);
        let (first, later, gre) = (0x2000, 0x0010, Protocol::GRE);
        let cases = [
            (Protocol::UDP, other, vip, later, true),
            (Protocol::UDP, other, vip, first, true),
            (Protocol::ICMP, other, vip, later, true),
            (gre, other, vip, later, false),
            (Protocol::UDP, server, other, later, true),
            (Protocol::UDP, server, local, later, false),
            (Protocol::UDP, other, server, later, false),
            (Protocol::UDP, other, vip, 0, false),
        ];
        for (protocol, source, destination, field, claimed) in cases {
            let bytes = fragment(protocol, source, destination, field);
            let frame = Frame { interface: InterfaceId(0), bytes: &bytes, offload: Offload::NONE };
            let Ok(Parsed::Ip(packet)) = parse(&frame) else { panic!("{protocol} {source:?}") };
            assert_eq!(claims.take(&packet, &network), claimed, "{packet:?}");
        }
    }

    /// An ICMP error of a type, about a datagram from the client 10.9.9.9:40000 to the server 10.1.0.1:8080, or about
    /// what became of the answer, from the VIP's port 80.
    fn error(kind: u8, about_reply: bool, to: [u8; 4]) -> Vec<u8> {
        let mut frame = fragment(Protocol::ICMP, [10, 1, 0, 254], to, 0);
        frame[34] = kind;
        let (source, destination, ports): (_, _, [u16; 2]) = if about_reply {
            ([10, 0, 0, 1], [10, 9, 9, 9], [80, 40000])
        } else {
            ([10, 9, 9, 9], [10, 1, 0, 1], [40000, 8080])
        };
        frame.extend_from_slice(&fragment(Protocol::TCP, source, destination, 0)[14..34]);
        frame.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
        let length = (frame.len() - 14) as u16;
        frame[16..18].copy_from_slice(&length.to_be_bytes());
        ipv4::set_checksum(&mut frame[14..34]);
        frame
    }

    #[test]
    fn errors_are_claimed_by_what_they_quote() {
        let claims =
            claims(&[service(80, &[("10.1.0.1:8080", Method::Masquerading)])], &Marks::default(), &[]);
        let network = Network::default().with_local(["10.1.0.9/32".parse().unwrap()]);
        let (client, vip, local) = ([10, 9, 9, 9], [10, 0, 0, 1], [10, 1, 0, 9]);
        let (first, later) = (0x20, 0x01);
        let cases = [
            (3, false, client, 0, true),
            (4, false, client, 0, true),
            (11, false, client, 0, true),
            (5, false, client, 0, false),
            (12, false, client, 0, false),
            (8, false, client, 0, false),
            (3, false, local, 0, false),
            (3, true, vip, 0, true),
            (3, true, local, 0, true),
            (3, false, client, first, false),
            (3, false, client, later, false),
        ];
        for (kind, about_reply, to, fragment, claimed) in cases {
            let mut bytes = error(kind, about_reply, to);
            bytes[20] = fragment;
            ipv4::set_checksum(&mut bytes[14..34]);
            let frame = Frame { interface: InterfaceId(0), bytes: &bytes, offload: Offload::NONE };
            let Ok(Parsed::Ip(packet)) = parse(&frame) else { panic!("{kind} {to:?}") };
            assert_eq!(claims.take(&packet, &network), claimed, "{kind} {about_reply} {to:?} {fragment}");
        }
    }

    #[test]
    fn where_clients_keep_their_port_all_ports_are_claimed() {
        let kept = Persistence { timeout: Duration::from_secs(60), mask: "255.255.255.255".parse().unwrap() };
        let server = [("10.1.0.1:0", Method::Masquerading)];
        let every = ServiceSpec { persistence: Some(kept), ..service(0, &server) };
        let ftp =
            ServiceSpec { persistence: Some(kept), ..service(21, &[("10.1.0.2:21", Method::Masquerading)]) };
        let claims = claims(&[every, ftp, service(80, &[])], &Marks::default(), &[]);
        let vip = (Protocol::TCP, "10.0.0.1".parse().unwrap());
        assert_eq!(claims.services.hosts.iter().collect::<Vec<_>>(), [&vip]);
        assert_eq!(claims.replies.hosts.len(), 2);
        assert_eq!(claims.services.points.len(), 1, "port 80 besides");
        assert!(claims.replies.points.is_empty());
    }

    fn rule(destination: &str, protocol: Option<Protocol>, ports: RangeInclusive<u16>) -> MarkRule {
        MarkRule { destination: destination.parse().unwrap(), source: None, protocol, ports, mark: 7 }
    }

    /// A service of mark 7 with two masqueraded servers.
    fn marked(persistence: Option<Persistence>) -> ServiceSpec {
        let servers = [("10.1.0.1:8080", Method::Masquerading), ("10.1.0.2:0", Method::Masquerading)];
        ServiceSpec { key: ServiceKey::of_mark(7, false), persistence, ..service(0, &servers) }
    }

    #[test]
    fn a_mark_claims_what_its_rules_mark() {
        let kept = Persistence { timeout: Duration::from_secs(60), mask: "255.255.255.255".parse().unwrap() };
        let marks = Marks::new(vec![
            rule("192.0.2.0/28", Some(Protocol::TCP), 8000..=8999),
            rule("192.0.2.99", None, 53..=53),
            rule("2001:db8::/64", None, ALL_PORTS),
            MarkRule { mark: 8, ..rule("0.0.0.0/0", None, ALL_PORTS) },
        ]);
        let (tcp, udp) = (Protocol::TCP, Protocol::UDP);
        for (persistence, replies) in [(None, [true, false, true]), (Some(kept), [false, true, true])] {
            let claims = claims(&[marked(persistence)], &marks, &[]);
            assert_eq!((claims.services.points.len(), claims.services.ranges.len()), (3, 1));
            for (protocol, end, claimed) in [
                (tcp, "192.0.2.15:8999", true),
                (udp, "192.0.2.15:8999", false),
                (udp, "192.0.2.99:53", true),
                (tcp, "[2001:db8::1]:80", false),
                (tcp, "198.51.100.1:80", false),
            ] {
                assert_eq!(claims.services.contain(protocol, end.parse().unwrap()), claimed, "{end}");
            }
            let ends = ["10.1.0.1:8080", "10.1.0.1:53", "10.1.0.2:53"];
            assert_eq!(ends.map(|end| claims.replies.contain(udp, end.parse().unwrap())), replies);
        }
    }

    #[test]
    fn a_block_claims_its_addresses_and_ports() {
        let key = ServiceKey::at(Protocol::UDP, "192.0.2.0/28:8000-8999".parse().unwrap());
        let servers = [("10.1.0.1:8080", Method::Masquerading), ("10.1.0.2:0", Method::Masquerading)];
        let claims = claims(&[ServiceSpec { key, ..service(0, &servers) }], &Marks::default(), &[]);
        for (end, claimed) in
            [("192.0.2.9:8999", true), ("192.0.2.16:8000", false), ("192.0.2.9:7999", false)]
        {
            assert_eq!(claims.services.contain(Protocol::UDP, end.parse().unwrap()), claimed, "{end}");
        }
        for (end, claimed) in [
            ("10.1.0.1:8080", true),
            ("10.1.0.1:8500", false),
            ("10.1.0.2:8500", true),
            ("10.1.0.2:80", false),
        ] {
            assert_eq!(claims.replies.contain(Protocol::UDP, end.parse().unwrap()), claimed, "{end}");
        }
    }
}
