//! Which servers a packet's addresses name, beside the service that it is for: found by hash, because a stranger may
//! ask as often as he likes.

use super::{Encapsulation, Method, RealServer};
use crate::net::{Endpoint, Protocol};
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::IpAddr;

/// A table's servers by their addresses, each with how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Servers {
    /// By their services' protocol: those of marks serve any.
    masqueraded: Counts<(Protocol, Endpoint)>,
    tunnels: Counts<(IpAddr, Encapsulation)>,
}

type Counts<T> = HashMap<T, u32, RandomState>;

impl Servers {
    /// A server of a service of that protocol came.
    pub(super) fn add(&mut self, protocol: Protocol, server: &RealServer) {
        let endpoint = server.endpoint();
        match server.method() {
            Method::Masquerading => *self.masqueraded.entry((protocol, endpoint)).or_default() += 1,
            Method::Tunneling => {
                *self.tunnels.entry((endpoint.address, server.encapsulation())).or_default() += 1;
            }
            Method::Gatewaying => {}
        }
    }

    /// One that was added goes, which is still as it was then.
    pub(super) fn remove(&mut self, protocol: Protocol, server: &RealServer) {
        let endpoint = server.endpoint();
        match server.method() {
            Method::Masquerading => take(&mut self.masqueraded, (protocol, endpoint)),
            Method::Tunneling => take(&mut self.tunnels, (endpoint.address, server.encapsulation())),
            Method::Gatewaying => {}
        }
    }

    /// Of these tunnels, the first that a server at `address` takes.
    pub(super) fn tunnel_to(
        &self,
        address: IpAddr,
        mut kinds: impl Iterator<Item = Encapsulation>,
    ) -> Option<Encapsulation> {
        kinds.find(|kind| self.tunnels.contains_key(&(address, *kind)))
    }

    /// Whether a packet from `source` comes from a masqueraded server, at the port where it serves. Those of
    /// marks serve any protocol.
    pub(super) fn is_masqueraded(&self, protocol: Protocol, source: Endpoint) -> bool {
        let of = |protocol| self.masqueraded.contains_key(&(protocol, source));
        of(protocol) || of(Protocol::ANY)
    }
}

fn take<T: Eq + Hash>(counts: &mut Counts<T>, key: T) {
    if let Entry::Occupied(mut known) = counts.entry(key) {
        *known.get_mut() -= 1;
        if *known.get() == 0 {
            known.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Edit, ServerSpec, ServiceKey, ServiceSpec, ServiceTable};
    use super::*;
    use crate::time::Instant;
    use proptest::prelude::*;

    fn server() -> impl Strategy<Value = ServerSpec> {
        let gue = |checksum| Encapsulation::Gue { port: 6080, checksum };
        let encapsulation = prop_oneof![
            Just(Encapsulation::Ipip),
            any::<bool>().prop_map(gue),
            any::<bool>().prop_map(|checksum| Encapsulation::Gre { checksum }),
        ];
        let methods = [Method::Masquerading, Method::Tunneling, Method::Gatewaying];
        (1_u8..4, prop::sample::select(methods.to_vec()), encapsulation, 0_u32..3).prop_map(
            |(host, method, encapsulation, weight)| ServerSpec {
                endpoint: Endpoint::new([10, 0, 0, host].into(), 80),
                method,
                encapsulation,
                weight,
                ..ServerSpec::default()
            },
        )
    }

    /// Up to three services, one of them a mark's, that share servers.
    fn wish() -> impl Strategy<Value = Vec<ServiceSpec>> {
        let service = |key| {
            prop::option::of(prop::collection::vec(server(), 0..4)).prop_map(move |servers| {
                let mut servers = servers?;
                servers.sort_by_key(|server| server.endpoint.address);
                servers.dedup_by_key(|server| server.endpoint);
                Some(ServiceSpec { key, servers, ..ServiceSpec::default() })
            })
        };
        let vip = |protocol, host| ServiceKey::new(protocol, Endpoint::new([10, 99, 0, host].into(), 80));
        let all = [vip(Protocol::TCP, 1), vip(Protocol::UDP, 1), ServiceKey::of_mark(7, false)].map(service);
        all.prop_map(|all| all.into_iter().flatten().collect())
    }

    proptest! {
        #[test]
        fn the_index_follows_every_edit(wishes in prop::collection::vec(wish(), 1..5), weight in 0_u32..3) {
            let mut table = ServiceTable::default();
            for wish in wishes {
                table = table.apply(&wish, Instant::ZERO).unwrap();
                if let Some(service) = table.services().iter().find(|service| !service.servers().is_empty()) {
                    let edit = Edit::SetWeight(*service.key(), service.servers()[0].endpoint(), weight);
                    table = table.edit(&[edit], Instant::ZERO).unwrap();
                }
                let mut anew = Servers::default();
                for service in table.services() {
                    service.servers().iter().for_each(|server| anew.add(service.key().protocol, server));
                }
                prop_assert_eq!(table.servers(), &anew);
            }
        }
    }
}
