//! All virtual services: an immutable snapshot that a worker reads, and how the next one is made.

use super::ranges::Ranges;
use super::row::Row;
use super::servers::Servers;
use super::trash::Trash;
use super::{
    Account, Edit, Encapsulation, RealServer, ServerId, ServerSpec, ServiceKey, ServiceSpec, Statistics,
    VirtualService,
};
use crate::net::{Endpoint, Protocol};
use crate::scheduler::ServerEvent;
use crate::server::Passes;
use crate::time::Instant;
use foldhash::fast::RandomState;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Where FTP servers take commands. Their data connections come to and from other ports, which is why this one is
/// treated apart.
pub const FTP_PORT: u16 = 21;
/// Where they send data from.
pub(crate) const FTP_DATA_PORT: u16 = 20;
/// Where the ports begin that programs get for the asking, as an FTP server does for its data.
const FIRST_UNPRIVILEGED_PORT: u16 = 1024;

/// All virtual services.
#[derive(Clone, Debug, Default)]
pub struct ServiceTable {
    services: Vec<VirtualService>,
    index: Arc<Index>,
    servers: Arc<Servers>,
    last_id: u32,
    statistics: Arc<Statistics>,
    passes: Arc<Passes>,
    trash: Trash,
}

/// Where services stand in the table. It changes only with their names.
#[derive(Clone, Debug, Default)]
struct Index {
    places: HashMap<ServiceKey, usize, RandomState>,
    ranges: Ranges,
    kinds: Kinds,
}

/// A table that is being made: its services have their places, but those that are gone still have theirs.
#[derive(Debug)]
pub(super) struct Next {
    table: ServiceTable,
    /// By the place of its service.
    servers: HashMap<usize, Changing, RandomState>,
    gone: HashSet<usize>,
    /// Whether services came or went.
    renamed: bool,
}

/// The servers of a service while they change: its list follows when all edits are made.
#[derive(Debug)]
struct Changing {
    row: Row<Arc<RealServer>>,
    /// Whether any came or went.
    is_new: bool,
}

/// Which kinds of services there are, so that none is looked for in vain.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Kinds {
    ipv4: bool,
    ipv6: bool,
    /// A TCP service on the FTP port.
    ftp: bool,
    /// A service of all ports.
    any_port: bool,
}

impl ServiceTable {
    /// The service of exactly that protocol, VIP and port.
    #[must_use]
    pub fn find(&self, protocol: Protocol, destination: Endpoint) -> Option<&VirtualService> {
        self.named(&ServiceKey::new(protocol, destination))
    }

    /// The service of that name.
    #[must_use]
    pub fn named(&self, key: &ServiceKey) -> Option<&VirtualService> {
        self.index.places.get(key).map(|place| &self.services[*place])
    }

    /// The service for a packet: that of its mark (0: it has none), else that of its destination, else for
    /// ports where FTP servers expect data the VIP's FTP service, else the VIP's service of all ports; so far as in the
    /// kernel. Else the most particular one of a block or a range (`ranges`).
    #[must_use]
    pub fn lookup(&self, mark: u32, protocol: Protocol, destination: Endpoint) -> Option<&VirtualService> {
        let Endpoint { address, port } = destination;
        let on_port = |port| self.find(protocol, Endpoint::new(address, port));
        if mark != 0
            && let Some(service) = self.named(&ServiceKey::of_mark(mark, address.is_ipv6()))
        {
            return Some(service);
        }
        let may_be_ftp = self.index.kinds.ftp
            && protocol == Protocol::TCP
            && (port == FTP_DATA_PORT || port >= FIRST_UNPRIVILEGED_PORT);
        on_port(port)
            .or_else(|| may_be_ftp.then(|| on_port(FTP_PORT)).flatten())
            .or_else(|| self.index.kinds.any_port.then(|| on_port(0)).flatten())
            .or_else(|| self.index.ranges.find(protocol, destination).map(|place| &self.services[place]))
    }

    /// Whether there is any service of this address family: packets of the other pass the engine by.
    #[must_use]
    pub fn serves(&self, ipv4: bool) -> bool {
        if ipv4 { self.index.kinds.ipv4 } else { self.index.kinds.ipv6 }
    }

    /// All services, in the order of the wish.
    #[must_use]
    pub fn services(&self) -> &[VirtualService] {
        &self.services
    }

    /// What all services together have been sent and what came back.
    #[must_use]
    pub const fn statistics(&self) -> &Arc<Statistics> {
        &self.statistics
    }

    /// Lets the rates follow what was counted. To be called at least every two seconds; all but one caller's
    /// calls do nothing.
    pub fn estimate(&self, now: Instant) {
        self.passes.make(now, || {
            let services = self.services.iter().map(VirtualService::statistics);
            let servers = self.services.iter().flat_map(VirtualService::servers);
            services.chain(servers.map(|server| &server.statistics)).chain([&*self.statistics])
        });
    }

    /// Lets the counters of a service and its servers begin anew (`ipvsadm -Z`); `None`: all of them, and those of
    /// everything.
    pub fn zero(&self, service: Option<&ServiceKey>) {
        for service in self.services.iter().filter(|known| service.is_none_or(|key| key == known.key())) {
            service.statistics().zero();
            service.servers().iter().for_each(|server| server.statistics.zero());
        }
        if service.is_none() {
            self.statistics.zero();
        }
    }

    /// Of these tunnels, the first that a server at `address` takes.
    #[must_use]
    pub fn tunnel_to(
        &self,
        address: IpAddr,
        kinds: impl Iterator<Item = Encapsulation>,
    ) -> Option<Encapsulation> {
        self.servers.tunnel_to(address, kinds)
    }

    /// Whether a packet from `source` comes from a masqueraded server, at the port where it serves. Those of
    /// marks serve any protocol.
    #[must_use]
    pub fn is_masqueraded(&self, protocol: Protocol, source: Endpoint) -> bool {
        self.servers.is_masqueraded(protocol, source)
    }

    /// Its servers, by their addresses.
    #[cfg(test)]
    pub(super) fn servers(&self) -> &Servers {
        &self.servers
    }

    /// How many servers have been deleted from this table and those that it was made from, with their services or alone.
    #[must_use]
    pub const fn deletions(&self) -> u64 {
        self.trash.deletions()
    }

    /// What was wished for, in this order.
    pub fn specs(&self) -> impl Iterator<Item = &ServiceSpec> {
        self.services.iter().map(|service| &**service.spec())
    }

    /// This table at `now`, about to be changed.
    pub(super) fn next(&self, now: Instant) -> Next {
        let remembered = |service: &ServiceKey, server| {
            self.named(service).is_some_and(|service| service.scheduler().remembers(server))
        };
        let table = Self { trash: self.trash.at(now, remembered), ..self.clone() };
        Next { table, servers: HashMap::default(), gone: HashSet::new(), renamed: false }
    }

    /// Has services, and what was wished of their servers, stand as in `specs`, which it agrees with.
    pub(super) fn put_in_order(&mut self, specs: &[ServiceSpec]) {
        if !self.services.iter().map(VirtualService::key).eq(specs.iter().map(|spec| &spec.key)) {
            let places: HashMap<_, _> = specs.iter().enumerate().map(|(n, spec)| (spec.key, n)).collect();
            self.services.sort_by_key(|service| places.get(service.key()).copied());
            self.index = Arc::new(Index::of(&self.services));
        }
        for (service, spec) in self.services.iter_mut().zip(specs) {
            if service.spec().servers != spec.servers {
                service.set_spec(Arc::new(spec.clone()));
            }
        }
    }
}

impl Next {
    /// Makes an edit that is known to be possible.
    pub(super) fn make(&mut self, edit: &Edit, now: Instant) {
        if let Edit::AddService(spec) = edit {
            return self.add(spec, now);
        }
        let Self { table, servers, gone, renamed } = self;
        let Some(&place) = table.index.places.get(edit.service()) else { return };
        let service = &mut table.services[place];
        let protocol = service.key().protocol;
        let Changing { row, is_new } =
            servers.entry(place).or_insert_with(|| Changing { row: service.row(), is_new: false });
        match edit {
            Edit::AddService(_) => {}
            Edit::EditService(spec) => service.edit(spec, row, now),
            Edit::RemoveService(key) => {
                for server in row.iter() {
                    Arc::make_mut(&mut table.servers).remove(protocol, server);
                    table.trash.take(service, Arc::clone(server), now);
                }
                Arc::make_mut(&mut table.index).places.remove(key);
                gone.insert(place);
                *renamed = true;
            }
            Edit::AddServer(key, spec) => {
                let server = taken(&mut table.trash, &mut table.last_id, key, service.account(), spec);
                Arc::make_mut(&mut table.servers).add(protocol, &server);
                service.tell(ServerEvent::Added(&server));
                row.push(server);
                *is_new = true;
            }
            Edit::EditServer(_, spec) => {
                if let Some(server) = row.find(spec.endpoint).and_then(|place| row.at(place)) {
                    if (server.method(), server.encapsulation()) == (spec.method, spec.encapsulation) {
                        server.set(spec);
                    } else {
                        let servers = Arc::make_mut(&mut table.servers);
                        servers.remove(protocol, server);
                        server.set(spec);
                        servers.add(protocol, server);
                    }
                    service.tell(ServerEvent::Edited(server));
                }
            }
            Edit::RemoveServer(_, endpoint) => {
                let place = row.find(*endpoint);
                if let Some((place, server)) = place.and_then(|place| Some((place, row.take(place)?))) {
                    server.set_available(false);
                    let predecessor = row.newer(place).map(|server| server.id());
                    service.tell(ServerEvent::Removed { server: &server, predecessor });
                    Arc::make_mut(&mut table.servers).remove(protocol, &server);
                    table.trash.take(service, server, now);
                    *is_new = true;
                }
            }
            Edit::SetWeight(_, endpoint, weight) => {
                if let Some(server) = row.find(*endpoint).and_then(|place| row.at(place))
                    && server.weight() != *weight
                {
                    server.set_weight(*weight);
                    service.tell(ServerEvent::Edited(server));
                }
            }
        }
    }

    fn add(&mut self, spec: &ServiceSpec, now: Instant) {
        let Self { table, servers, renamed, .. } = self;
        let mut service = VirtualService::new(spec, table.trash.account_of(&spec.key), now);
        let mut row = Row::new([]);
        service.edit(spec, &row, now);
        for server in &spec.servers {
            let server = taken(&mut table.trash, &mut table.last_id, &spec.key, service.account(), server);
            Arc::make_mut(&mut table.servers).add(spec.key.protocol, &server);
            service.tell(ServerEvent::Added(&server));
            row.push(server);
        }
        let place = table.services.len();
        servers.insert(place, Changing { row, is_new: true });
        Arc::make_mut(&mut table.index).places.insert(spec.key, place);
        table.services.push(service);
        *renamed = true;
    }

    /// The table, whose services are as these say that were changed.
    pub(super) fn finish(self, changed: impl Iterator<Item = ServiceSpec>) -> ServiceTable {
        let Self { mut table, servers, gone, renamed } = self;
        for (place, changing) in servers.iter().filter(|(_, changing)| changing.is_new) {
            table.services[*place].set_servers(&changing.row);
        }
        if renamed {
            let mut place = 0..;
            table.services.retain(|_| place.next().is_none_or(|place| !gone.contains(&place)));
            table.index = Arc::new(Index::of(&table.services));
        }
        for spec in changed {
            if let Some(place) = table.index.places.get(&spec.key) {
                table.services[*place].settle(spec);
            }
        }
        table
    }
}

/// A server that comes new to a service, or comes back to it from the trash.
fn taken(
    trash: &mut Trash,
    last_id: &mut u32,
    service: &ServiceKey,
    account: &Arc<Account>,
    spec: &ServerSpec,
) -> Arc<RealServer> {
    let server = trash.give_back(service, spec.endpoint).unwrap_or_else(|| {
        *last_id += 1;
        let new = RealServer::new(ServerId(*last_id), spec.endpoint, spec.method, spec.weight);
        Arc::new(new.of(account))
    });
    server.begin(spec);
    server
}

impl Index {
    fn of(services: &[VirtualService]) -> Self {
        let keys = || services.iter().map(VirtualService::key);
        Self {
            places: keys().enumerate().map(|(place, key)| (*key, place)).collect(),
            ranges: Ranges::new(keys()),
            kinds: Kinds::of(keys),
        }
    }
}

impl Kinds {
    fn of<'a, I: Iterator<Item = &'a ServiceKey>>(keys: impl Fn() -> I) -> Self {
        let any = |is: fn(&ServiceKey) -> bool| keys().any(is);
        Self {
            ipv4: any(|key| !key.is_ipv6()),
            ipv6: any(ServiceKey::is_ipv6),
            ftp: any(|key| key.is_exact() && key.protocol == Protocol::TCP && key.address.port == FTP_PORT),
            any_port: any(|key| key.is_exact() && key.protocol != Protocol::ANY && key.address.port == 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::{self, Request, Scheduler, Selection, ServerEvent};
    use crate::service::{Method, Persistence, SchedulerSpec, SpecError};
    use crate::time::Duration;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    fn spec(scheduler: &str, servers: &[(&str, u32)]) -> ServiceSpec {
        let server = |(endpoint, weight): &(&str, u32)| ServerSpec {
            endpoint: endpoint.parse().unwrap(),
            method: Method::Masquerading,
            weight: *weight,
            ..ServerSpec::default()
        };
        ServiceSpec {
            key: ServiceKey::new(Protocol::TCP, "10.99.0.1:80".parse().unwrap()),
            scheduler: SchedulerSpec::Named(scheduler.to_owned()),
            servers: servers.iter().map(server).collect(),
            ..ServiceSpec::default()
        }
    }

    #[test]
    fn the_newest_server_heads_the_list_and_those_that_stay_are_the_same() {
        let table = ServiceTable::default();
        let one =
            table.apply(&[spec("rr", &[("10.0.0.1:80", 1), ("10.0.0.2:80", 1)])], Instant::ZERO).unwrap();
        let before = one.services()[0].servers().to_vec();
        assert_eq!(before[0].endpoint(), "10.0.0.2:80".parse().unwrap());
        let two =
            one.apply(&[spec("wlc", &[("10.0.0.1:80", 5), ("10.0.0.3:80", 1)])], Instant::ZERO).unwrap();
        let after = two.services()[0].servers();
        assert_eq!(after[0].endpoint(), "10.0.0.3:80".parse().unwrap());
        assert!(Arc::ptr_eq(&after[1], &before[1]));
        assert_eq!((after[1].weight(), before[0].is_available()), (5, false));
        assert_eq!(two.services()[0].scheduler().name(), "wlc");
    }

    #[test]
    fn a_server_that_is_added_forgets_its_weight_and_one_that_is_quiesced_does_not() {
        let last = |table: &ServiceTable| table.services()[0].servers()[0].last_weight();
        let apply = |table: &ServiceTable, servers: &[(&str, u32)]| {
            table.apply(&[spec("mh", servers)], Instant::ZERO).unwrap()
        };
        let [first, second] = ["10.0.0.1:80", "10.0.0.2:80"];
        let both = apply(&ServiceTable::default(), &[(first, 1), (second, 3)]);
        assert_eq!(last(&apply(&both, &[(first, 1), (second, 0)])), 3);
        let back = apply(&apply(&both, &[(first, 1)]), &[(first, 1), (second, 0)]);
        assert_eq!((last(&back), back.last_id), (0, 2), "the same server, added again");
    }

    /// Counts how often it is settled.
    #[derive(Debug, Default)]
    struct Settled(AtomicUsize);

    impl Scheduler for Settled {
        fn name(&self) -> &'static str {
            "settled"
        }

        fn select(&self, _: &Request<'_>, _: scheduler::Servers<'_>) -> Selection {
            Selection::NoServer
        }

        fn successor(self: Arc<Self>, _: ServerEvent<'_>) -> Arc<dyn Scheduler> {
            self
        }

        fn settled(&self, _: scheduler::Servers<'_>) -> Option<Arc<dyn Scheduler>> {
            self.0.fetch_add(1, Relaxed);
            None
        }
    }

    #[test]
    fn a_change_of_many_servers_settles_once() {
        let counted = Arc::new(Settled::default());
        let custom = |servers: &[(&str, u32)]| ServiceSpec {
            scheduler: SchedulerSpec::Custom(Arc::clone(&counted) as _),
            ..spec("", servers)
        };
        let settled = || counted.0.load(Relaxed);
        let many = custom(&[("10.0.0.1:80", 1), ("10.0.0.2:80", 1), ("10.0.0.3:80", 1)]);
        let table = ServiceTable::default().apply(&[many], Instant::ZERO).unwrap();
        assert_eq!(settled(), 1);
        let table = table.apply(&[custom(&[("10.0.0.1:80", 2), ("10.0.0.4:80", 1)])], Instant::ZERO).unwrap();
        assert_eq!(settled(), 2);
        let edit = Edit::SetWeight(*table.services()[0].key(), "10.0.0.4:80".parse().unwrap(), 3);
        table.edit(&[edit], Instant::ZERO).unwrap();
        assert_eq!(settled(), 3);
    }

    #[test]
    fn a_bad_wish_changes_nothing() {
        let good = spec("rr", &[("10.0.0.1:80", 1)]);
        let table = ServiceTable::default().apply(std::slice::from_ref(&good), Instant::ZERO).unwrap();
        let bad = spec("fastest", &[]);
        let error = table.apply(&[bad], Instant::ZERO).unwrap_err();
        assert!(error.to_string().contains("expected one of rr wrr"), "{error}");
        assert!(matches!(
            table.apply(&[good.clone(), good], Instant::ZERO),
            Err(SpecError::DuplicateService(_))
        ));
        assert!(table.services()[0].servers()[0].is_available());
        let mut routed = spec("rr", &[("10.0.0.1:8080", 1)]);
        routed.servers[0].method = Method::Gatewaying;
        assert!(matches!(table.apply(&[routed], Instant::ZERO), Err(SpecError::OtherPort(..))));
    }

    #[test]
    fn a_packet_finds_the_most_particular_service() {
        let kept =
            Some(Persistence { timeout: Duration::from_secs(9), mask: "255.255.255.255".parse().unwrap() });
        let named = |key| ServiceSpec { key, persistence: kept, ..ServiceSpec::default() };
        let on = |port| ServiceKey::new(Protocol::TCP, Endpoint::new([10, 9, 9, 9].into(), port));
        let mark = ServiceKey::of_mark(7, false);
        let range = ServiceKey::at(Protocol::TCP, "10.9.9.0/24:80-2000".parse().unwrap());
        let specs = [named(range), named(on(80)), named(on(21)), named(on(0)), named(mark)];
        let table = ServiceTable::default().apply(&specs, Instant::ZERO).unwrap();
        let found = |mark, port| table.lookup(mark, Protocol::TCP, on(port).address).map(|s| *s.key());
        assert_eq!(found(7, 80), Some(mark));
        assert_eq!(found(8, 80), Some(on(80)));
        assert_eq!([found(0, 20), found(0, 1024)], [Some(on(21)); 2], "where FTP data may come");
        assert_eq!(found(0, 1023), Some(on(0)));
        let other = |port| table.lookup(0, Protocol::TCP, Endpoint::new([10, 9, 9, 8].into(), port));
        assert_eq!(other(80).map(|s| *s.key()), Some(range), "what the kernel's rules leave");
        assert!(other(2001).is_none());
        assert_eq!(table.lookup(0, Protocol::UDP, on(80).address).map(|s| *s.key()), None);
        assert!(table.serves(true) && !table.serves(false));
    }
}
