//! Reading a table piece by piece, while packets go on changing it.

use super::slab::Slab;
use super::{ConnectionView, State};
use crate::net::{Endpoint, Prefix, Protocol};
use crate::server::{Method, RealServer};
use crate::service_key::ServiceKey;

/// Where a walk through a table goes on; by default at its beginning.
///
/// It may be kept as long as one likes, and is good for the table that it came from. What is there from a walk's first
/// page to its last is seen exactly once, and nothing twice; what comes or goes meanwhile is seen or not. A walk has a last page however
/// much comes: what is at places that were made after its first page is new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    next: u32,
    /// The place where the walk ends, once it has begun.
    end: Option<u32>,
}

impl Cursor {
    /// The next `count` of a table's places at most, and where the walk goes on after them, if it does.
    pub(super) fn step(self, count: u32, places: u32) -> (std::ops::Range<u32>, Option<Self>) {
        let end = self.end.unwrap_or(places).min(places);
        let next = self.next.saturating_add(count.max(1)).min(end);
        let more = (next < end).then_some(Self { next, end: Some(end) });
        (self.next.min(next)..next, more)
    }
}

/// A part of a table's connections or templates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Those that were asked for.
    pub views: Vec<ConnectionView>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<Cursor>,
}

impl Page {
    /// What `filter` asks for of the next `places` of a slab at most; `view`: what it looks like and its server.
    pub(super) fn of<'a, T>(
        slab: &'a Slab<T>,
        cursor: Cursor,
        places: u32,
        filter: &Filter,
        view: impl Fn(&'a T) -> (ConnectionView, &'a RealServer),
    ) -> Self {
        let (places, next) = cursor.step(places, slab.places());
        let there = places.filter_map(|place| slab.at(place)).map(view);
        let asked = there.filter(|(view, server)| filter.takes(view, server));
        Self { views: asked.map(|(view, _)| view).collect(), next }
    }
}

/// Which connections or templates are asked for: those that agree with all of it. By default all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Their protocol. That of a mark's template is [`Protocol::ANY`].
    pub protocol: Option<Protocol>,
    /// The service whose server they have. It may be another than the one whose VIP was asked for: a client that stays with
    /// a server on all ports has it from one of them.
    pub service: Option<ServiceKey>,
    /// Their client (CIP).
    pub client: EndFilter,
    /// What was asked for (VIP).
    pub destination: EndFilter,
    /// Their real server (RIP).
    pub server: EndFilter,
    /// How packets reach the server.
    pub method: Option<Method>,
    /// Their states; none: any.
    pub states: Vec<State>,
}

/// Which addresses and ports one end of them may have. By default any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndFilter {
    /// The block of addresses; `None`: any.
    pub block: Option<Prefix>,
    /// The port; `None`: any.
    pub port: Option<u16>,
}

impl EndFilter {
    /// One address and port.
    #[must_use]
    pub const fn at(Endpoint { address, port }: Endpoint) -> Self {
        Self { block: Some(Prefix::host(address)), port: Some(port) }
    }

    fn hold(&self, end: Endpoint) -> bool {
        self.block.is_none_or(|block| block.contains(end.address))
            && self.port.is_none_or(|port| port == end.port)
    }
}

impl Filter {
    /// Whether it asks for what looks like that and has this server.
    pub(super) fn takes(&self, view: &ConnectionView, server: &RealServer) -> bool {
        self.protocol.is_none_or(|protocol| protocol == view.protocol)
            && self.service.is_none_or(|service| server.account().service() == Some(&service))
            && self.client.hold(view.client)
            && self.destination.hold(view.destination)
            && self.server.hold(view.server)
            && self.method.is_none_or(|method| method == view.method)
            && (self.states.is_empty() || self.states.contains(&view.state))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Connection, ConnectionTable, TemplateKey};
    use super::*;
    use crate::net::FlowKey;
    use crate::server::ServerSpec;
    use crate::service::{Edit, ServiceSpec, ServiceTable};
    use crate::service_address::Span;
    use crate::time::{Duration, Instant};
    use proptest::prelude::*;
    use std::sync::Arc;

    /// What happens to a table between two pages: clients come, each with a number of its own, and go.
    #[derive(Clone, Debug)]
    struct Between {
        come: u16,
        go: Vec<prop::sample::Index>,
    }

    fn between() -> impl Strategy<Value = Between> {
        (0..20_u16, prop::collection::vec(any::<prop::sample::Index>(), 0..20))
            .prop_map(|(come, go)| Between { come, go })
    }

    /// A table of connections of two services, one server each, and a list of those in it.
    struct World {
        table: ConnectionTable,
        servers: Vec<Arc<RealServer>>,
        there: Vec<(u16, u32)>,
        come: u16,
    }

    fn key(port: u16) -> ServiceKey {
        ServiceKey::new(Protocol::TCP, Endpoint::new([10, 99, 0, 1].into(), port))
    }

    fn world() -> World {
        let server = |host| ServerSpec {
            endpoint: Endpoint::new([10, 0, 0, host].into(), 80),
            method: Method::Masquerading,
            ..ServerSpec::default()
        };
        let spec = |port, host| {
            Edit::AddService(ServiceSpec {
                key: key(port),
                servers: vec![server(host)],
                ..ServiceSpec::default()
            })
        };
        let services = ServiceTable::default().edit(&[spec(80, 1), spec(81, 2)], Instant::ZERO).unwrap();
        let servers = services.services().iter().map(|service| Arc::clone(&service.servers()[0])).collect();
        World { table: ConnectionTable::new((1, 2)), servers, there: Vec::new(), come: 0 }
    }

    impl World {
        /// Clients with an even number come to the first service, the others to the second.
        fn come(&mut self, count: u16) {
            for _ in 0..count {
                let number = self.come;
                self.come += 1;
                let second = usize::from(number % 2);
                let flow = FlowKey {
                    protocol: Protocol::TCP,
                    source: Endpoint::new([203, 0, 113, (number % 8) as u8].into(), 1024 + number),
                    destination: key(80 + second as u16).address,
                };
                let server = Arc::clone(&self.servers[second]);
                let id = self.table.insert(Connection::new(&flow, server, 80, Instant::ZERO));
                self.there.push((number, id.0));
            }
        }

        fn go(&mut self, which: prop::sample::Index) {
            if !self.there.is_empty() {
                let (_, place) = self.there.remove(which.index(self.there.len()));
                self.table.remove(place, Instant::ZERO, false);
            }
        }

        /// Those that are there and that the filter is about.
        fn asked(&self, filter: impl Fn(u16) -> bool) -> Vec<u16> {
            let mut asked: Vec<_> = self.there.iter().map(|(n, _)| *n).filter(|n| filter(*n)).collect();
            asked.sort_unstable();
            asked
        }
    }

    fn number(view: &ConnectionView) -> u16 {
        view.client.port - 1024
    }

    proptest! {
        /// Against a list: who lives through the walk is seen once, nobody twice, nobody who was not asked for.
        #[test]
        fn a_walk_sees_all_that_stay_and_none_twice(
            begin in between(), steps in prop::collection::vec(between(), 1..40), places in 1..8_u32, kind in 0..4,
        ) {
            let (filter, is_asked): (_, fn(u16) -> bool) = match kind {
                0 => (Filter::default(), |_| true),
                1 => (Filter { service: Some(key(81)), ..Filter::default() }, |n| n % 2 == 1),
                2 => (Filter { server: EndFilter::at("10.0.0.1:80".parse().unwrap()), ..Filter::default() }, |n| n % 2 == 0),
                _ => {
                    let block = Some("203.0.113.4/30".parse().unwrap());
                    (Filter { client: EndFilter { block, port: None }, ..Filter::default() }, |n| n % 8 >= 4)
                }
            };
            let mut world = world();
            world.come(begin.come * 3);
            begin.go.into_iter().for_each(|which| world.go(which));
            let mut stay = world.asked(is_asked);
            let (mut steps, mut seen, mut cursor) = (steps.into_iter(), Vec::new(), Some(Cursor::default()));
            while let Some(at) = cursor {
                let page = world.table.page(at, places, &filter, Instant::ZERO);
                prop_assert!(page.views.len() <= places as usize, "more than there are places");
                let there = world.asked(is_asked);
                stay.retain(|number| there.contains(number));
                for number in page.views.iter().map(number) {
                    prop_assert!(there.contains(&number));
                    seen.push(number);
                }
                cursor = page.next;
                if let (Some(step), true) = (steps.next(), cursor.is_some()) {
                    world.come(step.come);
                    step.go.into_iter().for_each(|which| world.go(which));
                }
            }
            seen.sort_unstable();
            prop_assert!(seen.windows(2).all(|two| two[0] != two[1]), "twice: {:?}", seen);
            prop_assert!(stay.iter().all(|number| seen.contains(number)), "{:?} of {:?}", seen, stay);
        }
    }

    #[test]
    fn a_page_looks_at_no_more_places_than_it_may_however_few_it_finds() {
        let mut world = world();
        world.come(10_000);
        let none = Filter { client: EndFilter { block: None, port: Some(1) }, ..Filter::default() };
        for filter in [Filter::default(), none] {
            let (mut cursor, mut looked_at, mut seen) = (Some(Cursor::default()), Vec::new(), 0);
            while let Some(at) = cursor {
                looked_at.push(at.step(64, world.table.slab.places()).0.len());
                let page = world.table.page(at, 64, &filter, Instant::ZERO);
                seen += page.views.len();
                cursor = page.next;
            }
            assert_eq!((looked_at.len(), looked_at.iter().max()), (10_000 / 64 + 1, Some(&64)));
            assert_eq!(looked_at.iter().sum::<usize>(), 10_000);
            assert_eq!(seen, if filter == Filter::default() { 10_000 } else { 0 });
        }
    }

    #[test]
    fn a_walk_ends_though_more_come_than_it_sees() {
        let mut world = world();
        world.come(10);
        let mut cursor = Some(Cursor::default());
        let mut pages = 0;
        while let Some(at) = cursor {
            cursor = world.table.page(at, 2, &Filter::default(), Instant::ZERO).next;
            world.come(4);
            pages += 1;
        }
        assert_eq!(pages, 5);
        assert_eq!(
            ConnectionTable::new((1, 2)).page(Cursor::default(), 9, &Filter::default(), Instant::ZERO).next,
            None
        );
    }

    #[test]
    fn everything_that_is_named_has_to_agree() {
        let mut world = world();
        world.come(4);
        let found = |filter: Filter| {
            let page = world.table.page(Cursor::default(), 100, &filter, Instant::ZERO);
            page.views.iter().map(number).collect::<Vec<_>>()
        };
        let all = Filter::default();
        let port = |port| EndFilter { block: None, port: Some(port) };
        let udp = Filter { protocol: Some(Protocol::UDP), ..all.clone() };
        assert_eq!((found(all.clone()), found(udp)), (vec![0, 1, 2, 3], vec![]));
        assert_eq!(found(Filter { destination: port(81), client: port(1025), ..all.clone() }), [1]);
        assert_eq!(found(Filter { destination: port(81), client: port(1024), ..all.clone() }), [0; 0]);
        assert_eq!(found(Filter { method: Some(Method::Tunneling), ..all.clone() }), [0; 0]);
        let first = State::first(Protocol::TCP);
        assert_eq!(found(Filter { states: vec![State::Udp, first], ..all.clone() }), [0, 1, 2, 3]);
        assert_eq!(found(Filter { states: vec![State::Udp], ..all }), [0; 0]);
    }

    #[test]
    fn templates_are_read_alike() {
        let mut world = world();
        let key = |host: u8| TemplateKey {
            protocol: Protocol::TCP,
            client: [203, 0, 113, host].into(),
            destination: key(80).address,
            span: Span::default(),
        };
        for host in 0..10 {
            let server = Arc::clone(&world.servers[usize::from(host % 2)]);
            world.table.insert_template(key(host), &server, 80, Duration::from_secs(9), Instant::ZERO);
        }
        let second = Filter { service: Some(super::tests::key(81)), ..Filter::default() };
        let (mut cursor, mut seen, mut pages) = (Some(Cursor::default()), Vec::new(), 0);
        while let Some(at) = cursor {
            let page = world.table.template_page(at, 3, &second, Instant::ZERO);
            seen.extend(page.views.iter().map(|view| view.client.address.to_string()));
            (cursor, pages) = (page.next, pages + 1);
        }
        let expected: Vec<_> = [1, 3, 5, 7, 9].map(|host| format!("203.0.113.{host}")).into();
        assert_eq!((seen, pages), (expected, 4));
    }
}
