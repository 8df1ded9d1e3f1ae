//! The network as the director sees it: interfaces, routes, neighbours. An immutable snapshot, made
//! from what the kernel says (live) or from what the user says (offline).

use crate::frame::NextHop;
use crate::net::{InterfaceId, Mac, Prefix};
use crate::prefixes::Prefixes;
use crate::sources::Sources;
use foldhash::fast::RandomState;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

/// One interface of the director.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, `eth0`.
    pub name: String,
    /// Its link-layer address.
    pub mac: Mac,
    /// The longest IP packet that it takes, in bytes.
    pub mtu: u32,
    /// Its addresses, each with the length of the on-link prefix.
    pub addresses: Vec<Prefix>,
}

/// One line of the routing table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which destinations it is for.
    pub destination: Prefix,
    /// What happens to packets for them.
    pub kind: RouteKind,
    /// Smaller is preferred among routes of the same prefix.
    pub metric: u32,
}

/// What a route does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// Hands packets to a neighbour.
    Unicast {
        /// The interface that they leave by.
        interface: InterfaceId,
        /// The router; `None` when the destination itself is on the link.
        via: Option<IpAddr>,
        /// A limit below the interface's, in bytes.
        mtu: Option<u32>,
        /// The source address that the director prefers for packets of its own.
        source: Option<IpAddr>,
    },
    /// The destination is the director itself.
    Local,
    /// Packets are refused, in whichever way (`unreachable`, `blackhole`, `prohibit`): the engine
    /// treats all three alike, as the kernel's IPVS does.
    Unreachable,
}

/// What a look-up found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Out by an interface.
    Out(Output),
    /// The destination is the director itself.
    Local,
}

/// The way out of the director for one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    /// Who gets the frame.
    pub hop: NextHop,
    /// The link-layer address of the interface that sends it.
    pub source_mac: Mac,
    /// The longest IP packet of this way, in bytes.
    pub mtu: u32,
    /// The director's own address on this way: the source of a tunnel's outer header.
    pub source: Option<IpAddr>,
}

/// Interfaces, routes, neighbours and the addresses that are the director's own.
#[derive(Clone, Debug, Default)]
pub struct Network {
    // Each is replaced by itself: what has not changed is shared with the network before.
    interfaces: Vec<Interface>,
    addresses: Arc<Addresses>,
    routes: Arc<Prefixes<Route>>,
    neighbours: Arc<HashMap<(InterfaceId, IpAddr), Mac, RandomState>>,
    local: Arc<Prefixes<()>>,
    owned: Arc<Owned>,
}

/// The addresses that interfaces have, of which there may be as many as VIPs.
#[derive(Clone, Debug, Default)]
struct Addresses {
    all: HashSet<IpAddr, RandomState>,
    /// By interface.
    sources: Vec<Sources>,
}

/// The addresses that belong to the engine alone.
#[derive(Clone, Debug, Default)]
struct Owned {
    /// As they were given.
    list: Vec<IpAddr>,
    known: HashSet<IpAddr, RandomState>,
}

impl Network {
    /// A network of `interfaces`; the prefixes of their addresses are on-link routes.
    #[must_use]
    pub fn new(interfaces: Vec<Interface>) -> Self {
        let (mut local, mut routes) = (Vec::new(), Vec::new());
        for (number, interface) in interfaces.iter().enumerate() {
            for prefix in &interface.addresses {
                local.push(Prefix::host(prefix.address()));
                routes.push(Route {
                    destination: *prefix,
                    kind: RouteKind::Unicast {
                        interface: InterfaceId(number as u16),
                        via: None,
                        mtu: None,
                        // IPv6 chooses among all addresses of the interface.
                        source: Some(prefix.address()).filter(IpAddr::is_ipv4),
                    },
                    metric: 0,
                });
            }
        }
        let addresses = Arc::new(Addresses {
            all: local.iter().map(Prefix::address).collect(),
            sources: interfaces.iter().map(|interface| Sources::new(&interface.addresses)).collect(),
        });
        Self { interfaces, addresses, ..Self::default() }.with_local(local).with_routes(routes)
    }

    /// The same network with `routes` beside those of the interfaces' addresses.
    #[must_use]
    pub fn with_routes(mut self, routes: impl IntoIterator<Item = Route>) -> Self {
        let mut all: Vec<_> =
            Arc::unwrap_or_clone(self.routes).into_entries().into_iter().map(|(_, route)| route).collect();
        all.extend(routes);
        all.sort_by_key(|route| route.metric);
        self.routes = Arc::new(Prefixes::new(all.into_iter().map(|route| (route.destination, route))));
        self
    }

    /// The same network, in which the link-layer address of `address` on `interface` is known.
    #[must_use]
    pub fn with_neighbours(
        mut self,
        neighbours: impl IntoIterator<Item = (InterfaceId, IpAddr, Mac)>,
    ) -> Self {
        Arc::make_mut(&mut self.neighbours)
            .extend(neighbours.into_iter().map(|(interface, address, mac)| ((interface, address), mac)));
        self
    }

    /// The same network, in which no neighbour is known.
    #[must_use]
    pub fn without_neighbours(mut self) -> Self {
        self.neighbours = Arc::default();
        self
    }

    /// The same network, in which all of `prefixes` are addresses of the director's host.
    #[must_use]
    pub fn with_local(mut self, prefixes: impl IntoIterator<Item = Prefix>) -> Self {
        let more = prefixes.into_iter().map(|prefix| (prefix, ()));
        let known = Arc::unwrap_or_clone(self.local).into_entries();
        self.local = Arc::new(Prefixes::new(known.into_iter().chain(more)));
        self
    }

    /// The same network, in which `addresses` belong to the engine alone: no kernel holds them, so
    /// the engine answers ARP, echo and everything else that a host answers.
    #[must_use]
    pub fn with_owned(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let owned = Arc::make_mut(&mut self.owned);
        owned.list.extend(addresses.into_iter().filter(|address| owned.known.insert(*address)));
        self
    }

    /// All interfaces, in the order of their [`InterfaceId`].
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// The interface of that number.
    ///
    /// # Panics
    /// When the number is not one of this network's.
    #[must_use]
    pub fn interface(&self, id: InterfaceId) -> &Interface {
        &self.interfaces[usize::from(id.0)]
    }

    /// The interface of that name.
    #[must_use]
    pub fn interface_named(&self, name: &str) -> Option<InterfaceId> {
        self.interfaces.iter().position(|i| i.name == name).map(|n| InterfaceId(n as u16))
    }

    /// Whether `address` is one that an interface has, or that belongs to the engine alone: addresses of a
    /// local network ([`Network::with_local`]) are neither.
    #[must_use]
    pub fn is_held(&self, address: IpAddr) -> bool {
        self.is_owned(address) || self.addresses.all.contains(&address)
    }

    /// Whether `address` belongs to the engine alone.
    #[must_use]
    pub fn is_owned(&self, address: IpAddr) -> bool {
        self.owned.known.contains(&address)
    }

    /// The addresses that belong to the engine alone.
    #[must_use]
    pub fn owned(&self) -> &[IpAddr] {
        &self.owned.list
    }

    /// The way to `destination`; `None` when there is none (no route, or one that refuses).
    #[must_use]
    pub fn path(&self, destination: IpAddr) -> Option<Path> {
        let loopback = destination.is_loopback();
        if loopback || self.is_owned(destination) || self.local.find(destination).is_some() {
            return Some(Path::Local);
        }
        let (interface, via, mtu, source) = match self.routes.find(destination)?.kind {
            RouteKind::Unicast { interface, via, mtu, source } => (interface, via, mtu, source),
            RouteKind::Local => return Some(Path::Local),
            RouteKind::Unreachable => return None,
        };
        let device = self.interface(interface);
        let address = via.unwrap_or(destination);
        Some(Path::Out(Output {
            hop: NextHop { interface, address, mac: self.neighbour(interface, address) },
            source_mac: device.mac,
            mtu: mtu.map_or(device.mtu, |mtu| mtu.min(device.mtu)),
            source: source
                .or_else(|| self.source_on(interface, if address.is_ipv4() { address } else { destination })),
        }))
    }

    /// The link-layer address of a neighbour, if it is known.
    #[must_use]
    pub fn neighbour(&self, interface: InterfaceId, address: IpAddr) -> Option<Mac> {
        self.neighbours.get(&(interface, address)).copied()
    }

    /// The address of `interface` that a packet for `destination` is best sent from: in IPv4 one whose
    /// prefix holds the destination, else the first; in IPv6 the one that has most leading bits in common with
    /// it (RFC 6724 §5, rule 8), of several the last.
    #[must_use]
    pub fn source_on(&self, interface: InterfaceId, destination: IpAddr) -> Option<IpAddr> {
        self.addresses.sources[usize::from(interface.0)].find(destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn network() -> Network {
        let interface = |name: &str, mac: u8, address: &str| Interface {
            name: name.to_owned(),
            mac: Mac([2, 0, 0, 0, 0, mac]),
            mtu: 1500,
            addresses: vec![address.parse().unwrap()],
        };
        Network::new(vec![interface("c", 1, "10.0.0.1/24"), interface("s", 2, "192.168.0.1/16")])
            .with_routes([
                Route {
                    destination: "0.0.0.0/0".parse().unwrap(),
                    kind: RouteKind::Unicast {
                        interface: InterfaceId(0),
                        via: Some(ip("10.0.0.2")),
                        mtu: Some(1400),
                        source: None,
                    },
                    metric: 0,
                },
                Route {
                    destination: "10.9.0.0/16".parse().unwrap(),
                    kind: RouteKind::Unreachable,
                    metric: 0,
                },
            ])
            .with_neighbours([(InterfaceId(0), ip("10.0.0.2"), Mac([2, 0, 0, 0, 0, 9]))])
            .with_local(["10.99.0.0/16".parse().unwrap()])
            .with_owned([ip("203.0.113.1")])
    }

    #[test]
    fn the_longest_prefix_decides() {
        let network = network();
        let Some(Path::Out(out)) = network.path(ip("8.8.8.8")) else { panic!("no way out") };
        assert_eq!(out.hop.mac, Some(Mac([2, 0, 0, 0, 0, 9])));
        assert_eq!(out.mtu, 1400);
        assert_eq!(out.source, Some(ip("10.0.0.1")));
        let Some(Path::Out(out)) = network.path(ip("192.168.7.7")) else { panic!("no way out") };
        assert_eq!((out.hop.address, out.hop.mac), (ip("192.168.7.7"), None));
        assert_eq!(out.source, Some(ip("192.168.0.1")));
        assert_eq!(network.path(ip("10.9.1.1")), None);
        assert_eq!(network.path(ip("2001:db8::1")), None);
    }

    #[test]
    fn neighbours_are_replaced_by_themselves() {
        let before = network();
        let known = (InterfaceId(0), ip("10.0.0.3"), Mac([2, 0, 0, 0, 0, 7]));
        let after = before.clone().without_neighbours().with_neighbours([known]);
        assert_eq!(
            [before.neighbour(known.0, known.1), after.neighbour(known.0, known.1)],
            [None, Some(known.2)]
        );
        assert_eq!(after.neighbour(InterfaceId(0), ip("10.0.0.2")), None);
        assert!(Arc::ptr_eq(&before.routes, &after.routes) && Arc::ptr_eq(&before.owned, &after.owned));
    }

    #[test]
    fn the_nearest_source_is_chosen() {
        let interface = Interface {
            name: "s".to_owned(),
            mac: Mac([2, 0, 0, 0, 0, 2]),
            mtu: 1500,
            addresses: ["fd00:5::1/64", "fd00:6::1/64", "192.0.2.1/24", "192.168.0.1/16"]
                .map(|address| address.parse().unwrap())
                .to_vec(),
        };
        let network = Network::new(vec![interface]);
        let cases = [
            ("fd00:5::9", "fd00:5::1"),
            ("fd00:6::9", "fd00:6::1"),
            ("fd00:77::9", "fd00:6::1"),
            ("192.168.3.3", "192.168.0.1"),
            ("203.0.113.9", "192.0.2.1"),
        ];
        for (destination, source) in cases {
            assert_eq!(network.source_on(InterfaceId(0), ip(destination)), Some(ip(source)), "{destination}");
        }
    }

    #[test]
    fn local_is_what_the_host_or_the_engine_holds() {
        let network = network();
        for address in ["10.0.0.1", "192.168.0.1", "10.99.3.4", "203.0.113.1", "127.0.0.1", "::1"] {
            assert_eq!(network.path(ip(address)), Some(Path::Local), "{address}");
        }
        assert!(network.is_owned(ip("203.0.113.1")));
        let twice = network.clone().with_owned([ip("203.0.113.2"), ip("203.0.113.1")]);
        assert_eq!(twice.owned(), [ip("203.0.113.1"), ip("203.0.113.2")]);
        assert!(!network.is_owned(ip("10.99.3.4")));
    }
}
