//! The network of a director's snapshot, made from what the kernel says and what the configuration adds.

use crate::config::{StaticNeighbour, StaticRoute};
use crate::legs::Leg;
use fastlvs_core::net::{InterfaceId, Prefix};
use fastlvs_core::network::{Interface, Network, Path, Route, RouteKind};
use fastlvs_core::prefixes::Prefixes;
use fastlvs_io::netlink;
use std::net::IpAddr;

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
        let Some(interface) = placed(&network, legs, route.interface.as_deref(), route.via) else {
            tracing::warn!("route {}: no interface of the director leads there", route.destination);
            continue;
        };
        let kind = RouteKind::Unicast { interface, via: route.via, mtu: route.mtu, source: None };
        network = network.with_routes([Route { destination: route.destination, kind, metric: 0 }]);
    }
    for StaticNeighbour { address, interface, .. } in neighbours {
        if placed(&network, legs, interface.as_deref(), Some(*address)).is_none() {
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
        Some((placed(&network, legs, interface.as_deref(), Some(*address))?, *address, *mac))
    });
    let placed: Vec<_> = placed.collect();
    network.without_neighbours().with_neighbours(known).with_neighbours(placed)
}

/// Which interface of the engine's the kernel's one of a number is.
fn ids(legs: &[Leg]) -> impl Fn(u32) -> Option<InterfaceId> {
    move |index| legs.iter().position(|leg| leg.index == Some(index)).map(|place| InterfaceId(place as u16))
}

/// The interface of that name, if it is there; without a name, the one on whose link `address` is.
fn placed(
    network: &Network,
    legs: &[Leg],
    name: Option<&str>,
    address: Option<IpAddr>,
) -> Option<InterfaceId> {
    match name {
        Some(name) => {
            let place = legs.iter().position(|leg| leg.name == name && leg.index.is_some());
            place.map(|place| InterfaceId(place as u16))
        }
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
    let link = leg.index.and_then(|index| state.links.get(&index));
    let addresses = state.addresses.iter().filter(|address| Some(address.link) == leg.index);
    Interface {
        name: leg.name.clone(),
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
