//! What the director claims: the packets that the kernel's own stack must not handle as well.
//!
//! A packet socket sees copies. So that the kernel does not answer or route the original too, it is told
//! (by [`crate::nft`]) to drop exactly what is named here; and what it dropped although the engine leaves it
//! to the host, the worker gives back. Both decide by this one list.

use fastlvs_core::net::{Endpoint, Protocol};
use fastlvs_core::network::{Network, Path};
use fastlvs_core::packet::Packet;
use fastlvs_core::service::{Method, RealServer, ServiceSpec, ServiceTable};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// What the kernel's stack is kept away from. Only packets that are addressed to this host's interfaces count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Packets to these, of that protocol: virtual services.
    pub services: BTreeSet<(Protocol, Endpoint)>,
    /// Packets from these, of that protocol, unless they go to an address of the host: replies that have to be
    /// translated.
    pub replies: BTreeSet<(Protocol, Endpoint)>,
    /// All packets to these addresses: no kernel holds them, so it would only route or reject.
    pub owned: BTreeSet<IpAddr>,
}

impl Claims {
    /// The claims for these services and the addresses that the engine alone has.
    #[must_use]
    pub fn new(services: &[ServiceSpec], owned: &[IpAddr]) -> Self {
        let mut claims = Self { owned: owned.iter().copied().collect(), ..Self::default() };
        for ServiceSpec { key, servers, .. } in services {
            claims.services.insert((key.protocol, key.address));
            for server in servers.iter().filter(|server| server.method == Method::Masquerading) {
                claims.replies.insert((key.protocol, server.endpoint));
            }
        }
        claims
    }

    /// Whether the kernel's copy of `packet` was dropped.
    #[must_use]
    pub fn take(&self, packet: &Packet<'_>, network: &Network) -> bool {
        let flow = &packet.flow;
        self.owned.contains(&flow.destination.address)
            || self.services.contains(&(flow.protocol, flow.destination))
            || self.replies.contains(&(flow.protocol, flow.source))
                && network.path(flow.destination.address) != Some(Path::Local)
    }

    /// Both together.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        self.services.extend(&other.services);
        self.replies.extend(&other.replies);
        self.owned.extend(&other.owned);
        self
    }
}

/// A claim of a service or server that is no longer configured, kept while it has connections: else the
/// kernel would reset them.
#[derive(Clone, Debug)]
struct Leftover {
    protocol: Protocol,
    service: Endpoint,
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
                service: key.address,
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
        Claims {
            services: self.0.iter().map(|l| (l.protocol, l.service)).collect(),
            replies: self.0.iter().map(|l| (l.protocol, l.server.endpoint())).collect(),
            owned: BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastlvs_core::service::{ServerSpec, ServiceKey};
    use fastlvs_core::time::Instant;

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
