//! What the director claims: the packets that the kernel's own stack must not handle as well.
//!
//! A packet socket sees copies. So that the kernel does not answer or route the original too, it is told
//! (by [`crate::nft`]) to drop exactly what is named here; and what it dropped although the engine leaves it
//! to the host, the worker gives back. Both decide by this one list.

use fastlvs_core::net::{Endpoint, Protocol};
use fastlvs_core::network::{Network, Path};
use fastlvs_core::packet::Packet;
use fastlvs_core::service::{FTP_PORT, Method, RealServer, ServiceKey, ServiceSpec, ServiceTable};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// What the kernel's stack is kept away from. Only packets that are addressed to this host's interfaces count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Packets to these, of that protocol: virtual services.
    pub services: BTreeSet<(Protocol, Endpoint)>,
    /// The same, whatever their port.
    pub all_services: BTreeSet<(Protocol, IpAddr)>,
    /// Packets from these, of that protocol, unless they go to an address of the host: replies that have to be
    /// translated.
    pub replies: BTreeSet<(Protocol, Endpoint)>,
    /// The same, whatever their port.
    pub all_replies: BTreeSet<(Protocol, IpAddr)>,
    /// All packets to these addresses: no kernel holds them, so it would only route or reject.
    pub owned: BTreeSet<IpAddr>,
}

impl Claims {
    /// The claims for these services and the addresses that the engine alone has.
    #[must_use]
    pub fn new(services: &[ServiceSpec], owned: &[IpAddr]) -> Self {
        let mut claims = Self { owned: owned.iter().copied().collect(), ..Self::default() };
        for spec in services {
            let protocol = spec.key.protocol;
            claims.add_service(protocol, claimed(&spec.key, spec.persistence.is_some(), spec.key.address));
            for server in spec.servers.iter().filter(|server| server.method == Method::Masquerading) {
                claims.add_reply(protocol, claimed(&spec.key, spec.persistence.is_some(), server.endpoint));
            }
        }
        claims
    }

    /// Port 0 stands for all ports.
    fn add_service(&mut self, protocol: Protocol, Endpoint { address, port }: Endpoint) {
        if port == 0 {
            self.all_services.insert((protocol, address));
        } else {
            self.services.insert((protocol, Endpoint::new(address, port)));
        }
    }

    /// Port 0 stands for all ports.
    fn add_reply(&mut self, protocol: Protocol, Endpoint { address, port }: Endpoint) {
        if port == 0 {
            self.all_replies.insert((protocol, address));
        } else {
            self.replies.insert((protocol, Endpoint::new(address, port)));
        }
    }

    /// Whether the kernel's copy of `packet` was dropped.
    #[must_use]
    pub fn take(&self, packet: &Packet<'_>, network: &Network) -> bool {
        let flow = &packet.flow;
        self.owned.contains(&flow.destination.address)
            || self.services.contains(&(flow.protocol, flow.destination))
            || self.all_services.contains(&(flow.protocol, flow.destination.address))
            || (self.replies.contains(&(flow.protocol, flow.source))
                || self.all_replies.contains(&(flow.protocol, flow.source.address)))
                && network.path(flow.destination.address) != Some(Path::Local)
    }

    /// Both together.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        self.services.extend(&other.services);
        self.all_services.extend(&other.all_services);
        self.replies.extend(&other.replies);
        self.all_replies.extend(&other.all_replies);
        self.owned.extend(&other.owned);
        self
    }
}

/// What is claimed of `endpoint`, the service's or one of its servers': all ports (0), where clients keep the port
/// that they ask for; that is so with a service of all ports, and with FTP when it remembers its clients.
fn claimed(service: &ServiceKey, persistent: bool, endpoint: Endpoint) -> Endpoint {
    let keeps_ports = persistent && matches!(service.address.port, 0 | FTP_PORT);
    Endpoint::new(endpoint.address, if keeps_ports { 0 } else { endpoint.port })
}

/// A claim of a service or server that is no longer configured, kept while it has connections: else the
/// kernel would reset them.
#[derive(Clone, Debug)]
struct Leftover {
    protocol: Protocol,
    /// What was claimed of the service.
    service: Endpoint,
    /// What was claimed of the server.
    reply: Endpoint,
    server: Arc<RealServer>,
}

/// Claims that outlive what they were made for.
#[derive(Clone, Debug, Default)]
pub struct Leftovers(Vec<Leftover>);

impl Leftovers {
    /// Notes the servers of `before` that `after` has no more, or reaches by another method.
    pub fn note(&mut self, before: &ServiceTable, after: &ServiceTable) {
        for service in before.services() {
            let key = service.key();
            let stays = |server: &Arc<RealServer>| {
                after.find(key.protocol, key.address).is_some_and(|service| {
                    service.servers().iter().any(|s| Arc::ptr_eq(s, server))
                        && server.method() == Method::Masquerading
                })
            };
            self.0.extend(service.servers().iter().filter(|server| !stays(server)).map(|server| Leftover {
                protocol: key.protocol,
                service: claimed(key, service.persistence().is_some(), key.address),
                reply: claimed(key, service.persistence().is_some(), server.endpoint()),
                server: Arc::clone(server),
            }));
        }
    }

    /// Forgets those whose last connection is gone, and says whether there were any.
    pub fn forget_idle(&mut self) -> bool {
        let before = self.0.len();
        self.0.retain(|leftover| leftover.server.active() > 0 || leftover.server.inactive() > 0);
        self.0.len() != before
    }

    /// Their claims.
    #[must_use]
    pub fn claims(&self) -> Claims {
        let mut claims = Claims::default();
        for leftover in &self.0 {
            claims.add_service(leftover.protocol, leftover.service);
            claims.add_reply(leftover.protocol, leftover.reply);
        }
        claims
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastlvs_core::service::{Persistence, ServerSpec};
    use fastlvs_core::time::{Duration, Instant};

    fn service(port: u16, servers: &[(&str, Method)]) -> ServiceSpec {
        let server = |(endpoint, method): &(&str, Method)| ServerSpec {
            endpoint: endpoint.parse().unwrap(),
            method: *method,
            ..ServerSpec::default()
        };
        ServiceSpec {
            key: ServiceKey { protocol: Protocol::TCP, address: Endpoint::new([10, 0, 0, 1].into(), port) },
            servers: servers.iter().map(server).collect(),
            ..ServiceSpec::default()
        }
    }

    #[test]
    fn replies_are_claimed_where_they_have_to_be_translated() {
        let specs =
            [service(80, &[("10.1.0.1:8080", Method::Masquerading), ("10.1.0.2:80", Method::Gatewaying)])];
        let claims = Claims::new(&specs, &["10.0.0.1".parse().unwrap()]);
        assert_eq!(claims.services.len(), 1);
        let reply = (Protocol::TCP, "10.1.0.1:8080".parse().unwrap());
        assert_eq!(claims.replies.into_iter().collect::<Vec<_>>(), [reply]);
        assert_eq!(claims.owned.len(), 1);
    }

    #[test]
    fn where_clients_keep_their_port_all_ports_are_claimed() {
        let kept = Persistence { timeout: Duration::from_secs(60), mask: "255.255.255.255".parse().unwrap() };
        let server = [("10.1.0.1:0", Method::Masquerading)];
        let every = ServiceSpec { persistence: Some(kept), ..service(0, &server) };
        let ftp =
            ServiceSpec { persistence: Some(kept), ..service(21, &[("10.1.0.2:21", Method::Masquerading)]) };
        let claims = Claims::new(&[every, ftp, service(80, &[])], &[]);
        let vip = (Protocol::TCP, "10.0.0.1".parse().unwrap());
        assert_eq!(claims.all_services.iter().collect::<Vec<_>>(), [&vip]);
        assert_eq!(claims.all_replies.len(), 2);
        assert_eq!(claims.services.len(), 1, "port 80 besides");
        assert!(claims.replies.is_empty());
    }

    #[test]
    fn a_removed_server_is_claimed_until_its_last_connection_is_gone() {
        let both =
            [service(80, &[("10.1.0.1:80", Method::Masquerading), ("10.1.0.2:80", Method::Masquerading)])];
        let one = [service(80, &[("10.1.0.1:80", Method::Masquerading)])];
        let before = ServiceTable::default().apply(&both, Instant::ZERO).unwrap();
        let busy = Arc::clone(&before.services()[0].servers()[0]);
        assert_eq!(busy.endpoint(), "10.1.0.2:80".parse().unwrap());
        busy.bind();
        let after = before.apply(&one, Instant::ZERO).unwrap();
        let mut leftovers = Leftovers::default();
        leftovers.note(&before, &after);
        assert!(!leftovers.forget_idle());
        assert!(leftovers.claims().replies.contains(&(Protocol::TCP, busy.endpoint())));
        busy.unbind(false, Instant::ZERO);
        assert!(leftovers.forget_idle());
        assert_eq!(leftovers.claims(), Claims::default());
    }
}
