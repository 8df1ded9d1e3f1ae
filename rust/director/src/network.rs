//! The network of a director's snapshot, made from what the kernel says and what the configuration adds.

use crate::config::{StaticNeighbour, StaticRoute};
use crate::error::Error;
use fastlvs_core::net::{InterfaceId, Prefix};
use fastlvs_core::network::{Interface, Network, Path, Route, RouteKind};
use fastlvs_core::prefixes::Prefixes;
use fastlvs_io::netlink;
use std::net::IpAddr;

/// An interface that the director serves: its place in the list is its [`InterfaceId`].
#[derive(Clone, Debug)]
pub struct Leg {
    /// The kernel's number.
    pub index: u32,
    /// Its name when the director started.
    pub name: String,
}

/// The interfaces of these names; without names, all that are up but loopbacks and ports of bridges, bonds and the like:
/// what a port takes in is its master's, and would be served twice.
pub fn legs(state: &netlink::State, names: &[String]) -> Result<Vec<Leg>, Error> {
    let leg = |link: &netlink::Link| Leg { index: link.index, name: link.name.clone() };
    if names.is_empty() {
        let serves =
            |link: &&netlink::Link| link.up && link.ethernet && !link.loopback && link.port_of.is_none();
        let usable = state.links.values().filter(serves);
        let legs: Vec<_> = usable.map(leg).collect();
        if legs.is_empty() {
            let problem = "no Ethernet interface is up that is no port of another; name one that exists, or \
                           `ip link set NAME up`";
            return Err(Error::Interface { name: "any".to_owned(), problem: problem.to_owned() });
        }
        return Ok(legs);
    }
    let find = |name: &String| {
        let error = |problem: String| Error::Interface { name: name.clone(), problem };
        match state.link(name) {
            None => {
                let known: Vec<_> = state.links.values().map(|link| link.name.as_str()).collect();
                Err(error(format!("there is none of that name; there are {}", known.join(" "))))
            }
            Some(link) if link.loopback || !link.ethernet => {
                Err(error("is not an Ethernet interface, which alone can be served".to_owned()))
            }
            Some(link) if !link.up => Err(error(format!("is down; `ip link set {name} up`"))),
            Some(link) => {
                if let Some(master) = link.port_of {
                    let master = state.links.get(&master).map_or("another interface", |link| &link.name);
                    tracing::warn!(
                        "interface {name} is a port of {master}, whose packets it takes in: name {master} in its place"
                    );
                }
                Ok(leg(link))
            }
        }
    };
    names.iter().map(find).collect()
}

/// The network as the kernel has it now. `vips` that no interface of the host has belong to the engine.
pub fn network(
    state: &netlink::State,
    legs: &[Leg],
    routes: &[StaticRoute],
    neighbours: &[StaticNeighbour],
    vips: impl IntoIterator<Item = IpAddr>,
) -> Network {
    let interfaces = legs.iter().map(|leg| interface(state, leg)).collect();
    let id = ids(legs);
    let local = state.addresses.iter().map(|address| Prefix::host(address.prefix.address()));
    let of_table = state.routes.iter().filter(|route| route.kind == netlink::RouteKind::Local);
    let local: Vec<_> = local.chain(of_table.map(|route| route.destination)).collect();
    let known = Prefixes::new(local.iter().map(|prefix| (*prefix, ())));
    let mut owned: Vec<_> = vips.into_iter().filter(|vip| known.find(*vip).is_none()).collect();
    owned.sort_unstable();
    owned.dedup();
    let mut network = Network::new(interfaces)
        .with_routes(state.routes.iter().filter_map(|route| kernel_route(route, &id)))
        .with_local(local)
        .with_owned(owned);
    for route in routes {
        let Some(interface) = placed(&network, route.interface.as_deref(), route.via) else {
            tracing::warn!("route {}: no interface of the director leads there", route.destination);
            continue;
        };
        let kind = RouteKind::Unicast { interface, via: route.via, mtu: route.mtu, source: None };
        network = network.with_routes([Route { destination: route.destination, kind, metric: 0 }]);
    }
    for StaticNeighbour { address, interface, .. } in neighbours {
        if placed(&network, interface.as_deref(), Some(*address)).is_none() {
            tracing::warn!("neighbour {address}: it is on no interface of the director");
        }
    }
    with_neighbours(network, state, legs, neighbours)
}

/// The same network with the neighbours that the kernel knows now, and no others but `neighbours`.
pub fn with_neighbours(
    network: Network,
    state: &netlink::State,
    legs: &[Leg],
    neighbours: &[StaticNeighbour],
) -> Network {
    let id = ids(legs);
    let known = state.neighbours.iter();
    let known = known.filter_map(|((link, address), mac)| Some((id(*link)?, *address, *mac)));
    let placed = neighbours.iter().filter_map(|neighbour| {
        let StaticNeighbour { address, mac, interface } = neighbour;
        Some((placed(&network, interface.as_deref(), Some(*address))?, *address, *mac))
    });
    let placed: Vec<_> = placed.collect();
    network.without_neighbours().with_neighbours(known).with_neighbours(placed)
}

/// Which interface of the engine's the kernel's one of a number is.
fn ids(legs: &[Leg]) -> impl Fn(u32) -> Option<InterfaceId> {
    move |index| legs.iter().position(|leg| leg.index == index).map(|place| InterfaceId(place as u16))
}

/// The interface of that name; without a name, the one on whose link `address` is.
fn placed(network: &Network, name: Option<&str>, address: Option<IpAddr>) -> Option<InterfaceId> {
    match name {
        Some(name) => network.interface_named(name),
        None => link_of(network, address?),
    }
}

/// The interface on whose link an address is.
fn link_of(network: &Network, address: IpAddr) -> Option<InterfaceId> {
    match network.path(address)? {
        Path::Out(output) if output.hop.address == address => Some(output.hop.interface),
        _ => None,
    }
}

/// One that has gone, or is down, has no addresses any more, so nothing is sent by it.
fn interface(state: &netlink::State, leg: &Leg) -> Interface {
    let link = state.links.get(&leg.index);
    let addresses = state.addresses.iter().filter(|address| address.link == leg.index);
    Interface {
        name: link.map_or(&leg.name, |link| &link.name).clone(),
        mac: link.and_then(|link| link.mac).unwrap_or_default(),
        mtu: link.map_or(1500, |link| link.mtu),
        addresses: addresses.map(|address| address.prefix).collect(),
    }
}

/// A route by an interface that is not served leads nowhere.
fn kernel_route(route: &netlink::Route, id: &impl Fn(u32) -> Option<InterfaceId>) -> Option<Route> {
    let kind = match &route.kind {
        netlink::RouteKind::Local => return None,
        netlink::RouteKind::Unreachable => RouteKind::Unreachable,
        netlink::RouteKind::Unicast { link, via, mtu, source } => match id(*link) {
            Some(interface) => RouteKind::Unicast { interface, via: *via, mtu: *mtu, source: *source },
            None => RouteKind::Unreachable,
        },
    };
    Some(Route { destination: route.destination, kind, metric: route.metric })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(links: &[(u32, &str, Option<u32>)]) -> netlink::State {
        let mut state = netlink::State::default();
        for (index, name, port_of) in links {
            let link = netlink::Link {
                index: *index,
                name: (*name).to_owned(),
                mac: None,
                mtu: 1500,
                up: true,
                loopback: false,
                ethernet: true,
                port_of: *port_of,
            };
            state.links.insert(*index, link);
        }
        state
    }

    fn names(legs: &[Leg]) -> Vec<&str> {
        legs.iter().map(|leg| leg.name.as_str()).collect()
    }

    #[test]
    fn a_port_is_served_only_when_it_is_named() {
        let state = kernel(&[(2, "eth0", Some(4)), (3, "eth1", None), (4, "br0", None)]);
        assert_eq!(names(&legs(&state, &[]).unwrap()), ["eth1", "br0"]);
        assert_eq!(names(&legs(&state, &["eth0".to_owned()]).unwrap()), ["eth0"]);
        let error = legs(&kernel(&[(2, "eth0", Some(4))]), &[]).unwrap_err().to_string();
        assert!(error.contains("no port of another"), "{error}");
    }
}
