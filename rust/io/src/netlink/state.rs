//! The tables, and what a change to them means.

use super::event::{Address, Event, Link, Route};
use fastlvs_core::net::Mac;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

/// What the kernel says of the network.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The links, by index.
    pub links: BTreeMap<u32, Link>,
    /// The usable addresses, in the kernel's order: primary before secondary ones.
    pub addresses: Vec<Address>,
    /// The routes of the tables main, local and default: by table, destination and metric; those alike in
    /// all three in the kernel's order, so that the first is the one in use.
    pub routes: Vec<Route>,
    /// The link-layer addresses of neighbours, by link and address, where the kernel deems them usable.
    pub neighbours: HashMap<(u32, IpAddr), Mac>,
    /// Which neighbours an administrator entered.
    permanent: HashSet<(u32, IpAddr)>,
}

/// Which tables changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Links, addresses or routes.
    pub network: bool,
    /// Neighbours.
    pub neighbours: bool,
}

impl Changed {
    /// Whether anything changed.
    #[must_use]
    pub const fn any(self) -> bool {
        self.network || self.neighbours
    }
}

/// What one event did to the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was known already, or of no concern.
    Nothing,
    /// Links, addresses or routes changed.
    Network,
    /// Neighbours changed.
    Neighbours,
    /// The event does not say all that followed from it: only a dump can tell.
    Unsure,
}

impl State {
    /// The link of a name.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| link.name == name)
    }

    /// Whether an administrator entered this neighbour.
    pub(super) fn is_permanent(&self, link: u32, address: IpAddr) -> bool {
        self.permanent.contains(&(link, address))
    }

    /// The state that a complete dump describes.
    pub(super) fn from_dump(events: Vec<Event>) -> Self {
        let mut state = Self::default();
        for event in events {
            match event {
                Event::Route { route, .. } => state.routes.push(route),
                other => _ = state.apply(other),
            }
        }
        // Stable: the kernel's order stays among routes that differ in nothing else.
        state.routes.sort_by_key(key);
        state
    }

    /// Takes one notification in.
    pub(super) fn apply(&mut self, event: Event) -> Outcome {
        match event {
            Event::Link(link) => self.set_link(link),
            // Its addresses and IPv4 routes go without a word.
            Event::LinkGone(index) if self.links.contains_key(&index) => Outcome::Unsure,
            Event::Address(address) if !self.addresses.contains(&address) => {
                self.addresses.push(address);
                Outcome::Network
            }
            // Another peer may share it; older kernels do not name the IPv4 routes that preferred it.
            Event::AddressGone(address) if self.addresses.contains(&address) => Outcome::Unsure,
            Event::LinkGone(_) | Event::Address(_) | Event::AddressGone(_) => Outcome::Nothing,
            Event::Route { route, replaces } => self.set_route(route, replaces),
            Event::RouteGone(route) => self.remove_route(&route),
            // IPv4 routes through it go without a word.
            Event::NextHopGone => Outcome::Unsure,
            Event::Neighbour { link, address, mac, permanent } => {
                self.set_neighbour((link, address), mac, permanent)
            }
        }
    }

    /// What differs between this state and a later one.
    pub(super) fn difference(&self, later: &Self) -> Changed {
        Changed {
            network: self.links != later.links
                || self.addresses != later.addresses
                || self.routes != later.routes,
            neighbours: self.neighbours != later.neighbours,
        }
    }

    fn set_link(&mut self, link: Link) -> Outcome {
        match self.links.get(&link.index) {
            Some(known) if *known == link => Outcome::Nothing,
            // Next hops die and revive with it; IPv4 tells nobody.
            Some(known) if known.up != link.up => Outcome::Unsure,
            _ => {
                self.links.insert(link.index, link);
                Outcome::Network
            }
        }
    }

    fn set_route(&mut self, route: Route, replaces: bool) -> Outcome {
        let start = self.routes.partition_point(|other| key(other) < key(&route));
        match self.alike(start, &route) {
            [] => self.routes.insert(start, route),
            [known] if *known == route => return Outcome::Nothing,
            [_] if replaces => self.routes[start] = route,
            // Several of one key: where the kernel put it among them it does not say.
            _ => return Outcome::Unsure,
        }
        Outcome::Network
    }

    fn remove_route(&mut self, route: &Route) -> Outcome {
        let start = self.routes.partition_point(|other| key(other) < key(route));
        match self.alike(start, route) {
            [] => Outcome::Nothing,
            [known] if known == route => {
                self.routes.remove(start);
                Outcome::Network
            }
            // One of several, or a next hop of one: what is left is in the kernel's table only.
            _ => Outcome::Unsure,
        }
    }

    /// The routes from `start` on that have the key of `route`.
    fn alike(&self, start: usize, route: &Route) -> &[Route] {
        let rest = &self.routes[start..];
        &rest[..rest.iter().take_while(|other| key(other) == key(route)).count()]
    }

    fn set_neighbour(&mut self, place: (u32, IpAddr), mac: Option<Mac>, permanent: bool) -> Outcome {
        if permanent {
            self.permanent.insert(place);
        } else {
            self.permanent.remove(&place);
        }
        let known = match mac {
            Some(mac) => self.neighbours.insert(place, mac),
            None => self.neighbours.remove(&place),
        };
        if known == mac { Outcome::Nothing } else { Outcome::Neighbours }
    }
}

/// What the kernel keeps one route (or several next hops) for.
fn key(route: &Route) -> (u32, IpAddr, u8, u32) {
    (route.table, route.destination.network(), route.destination.length(), route.metric)
}

#[cfg(test)]
mod tests {
    use super::super::event::RouteKind;
    use super::*;

    fn link(index: u32, up: bool) -> Link {
        let mac = Some(Mac([2, 0, 0, 0, 0, index as u8]));
        Link {
            index,
            name: format!("eth{index}"),
            mac,
            mtu: 1500,
            up,
            running: true,
            ethernet: true,
            port_of: None,
        }
    }

    fn route(destination: &str, via: &str, metric: u32) -> Route {
        let kind = RouteKind::Unicast { link: 1, via: Some(via.parse().unwrap()), mtu: None, source: None };
        Route { destination: destination.parse().unwrap(), kind, metric, table: 254 }
    }

    fn new(route: &Route) -> Event {
        Event::Route { route: route.clone(), replaces: false }
    }

    #[test]
    fn a_link_that_goes_up_or_down_or_away_calls_for_a_dump() {
        let mut state = State::default();
        assert_eq!(state.apply(Event::Link(link(1, false))), Outcome::Network);
        assert_eq!(state.apply(Event::Link(link(1, false))), Outcome::Nothing);
        assert_eq!(state.apply(Event::Link(Link { mtu: 1400, ..link(1, false) })), Outcome::Network);
        assert_eq!(state.links[&1].mtu, 1400);
        assert_eq!(state.link("eth1").map(|link| link.index), Some(1));
        assert_eq!(state.apply(Event::Link(link(1, true))), Outcome::Unsure);
        assert_eq!(state.apply(Event::LinkGone(1)), Outcome::Unsure);
        assert_eq!(state.apply(Event::LinkGone(2)), Outcome::Nothing);
    }

    #[test]
    fn an_address_counts_once() {
        let mut state = State::default();
        let address = Address { link: 1, prefix: "10.0.0.1/24".parse().unwrap() };
        assert_eq!(state.apply(Event::Address(address)), Outcome::Network);
        assert_eq!(state.apply(Event::Address(address)), Outcome::Nothing);
        assert_eq!(state.addresses, [address]);
        assert_eq!(state.apply(Event::AddressGone(address)), Outcome::Unsure);
        assert_eq!(state.apply(Event::AddressGone(Address { link: 2, ..address })), Outcome::Nothing);
    }

    #[test]
    fn routes_stay_sorted_and_an_unclear_change_calls_for_a_dump() {
        let (wide, narrow) = (route("10.0.0.0/8", "192.0.2.1", 0), route("10.0.0.0/24", "192.0.2.1", 0));
        let second = route("10.0.0.0/8", "192.0.2.2", 0);
        let mut state = State::default();
        assert_eq!(state.apply(new(&narrow)), Outcome::Network);
        assert_eq!(state.apply(new(&wide)), Outcome::Network);
        assert_eq!(state.routes, [wide.clone(), narrow.clone()]);

        assert_eq!(state.apply(new(&wide)), Outcome::Nothing);
        assert_eq!(state.apply(new(&second)), Outcome::Unsure);
        assert_eq!(
            state.apply(Event::Route { route: second.clone(), replaces: true }),
            Outcome::Network,
            "the one route of that key is replaced"
        );
        assert_eq!(state.routes, [second.clone(), narrow.clone()]);

        assert_eq!(state.apply(Event::RouteGone(wide)), Outcome::Unsure, "another next hop of that key");
        assert_eq!(state.apply(Event::RouteGone(route("10.0.0.0/8", "192.0.2.2", 7))), Outcome::Nothing);
        assert_eq!(state.apply(Event::RouteGone(second)), Outcome::Network);
        assert_eq!(state.routes, [narrow]);
    }

    #[test]
    fn a_dump_keeps_the_order_of_routes_alike() {
        let routes = [
            route("0.0.0.0/0", "192.0.2.9", 5),
            route("0.0.0.0/0", "192.0.2.1", 5),
            route("0.0.0.0/0", "192.0.2.5", 1),
        ];
        let state = State::from_dump(routes.iter().map(new).collect());
        assert_eq!(state.routes, [routes[2].clone(), routes[0].clone(), routes[1].clone()]);
    }

    #[test]
    fn a_neighbour_comes_changes_and_goes() {
        let place = (1, IpAddr::from([10, 0, 0, 2]));
        let event = |mac, permanent| Event::Neighbour { link: 1, address: place.1, mac, permanent };
        let mut state = State::default();
        assert_eq!(state.apply(event(Some(Mac([2; 6])), false)), Outcome::Neighbours);
        assert_eq!(state.apply(event(Some(Mac([2; 6])), true)), Outcome::Nothing);
        assert!(state.is_permanent(1, place.1));
        assert_eq!(state.apply(event(Some(Mac([4; 6])), false)), Outcome::Neighbours);
        assert!(!state.is_permanent(1, place.1));
        assert_eq!(state.neighbours[&place], Mac([4; 6]));
        assert_eq!(state.apply(event(None, false)), Outcome::Neighbours);
        assert_eq!(state.apply(event(None, false)), Outcome::Nothing);
    }
}
