//! All virtual services: an immutable snapshot that a worker reads, and how the next one is made.

use super::trash::Trash;
use super::{
    RealServer, SchedulerSpec, ServerId, ServerSpec, ServiceKey, ServiceSpec, SpecError, Statistics,
};
use crate::net::{Endpoint, Protocol};
use crate::scheduler::{self, Request, Scheduler, Selection, ServerEvent};
use crate::time::Instant;
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// One virtual service of a snapshot.
#[derive(Clone, Debug)]
pub struct VirtualService {
    key: ServiceKey,
    scheduler: Arc<dyn Scheduler>,
    /// Newest first, as the kernel walks them.
    servers: Vec<Arc<RealServer>>,
    statistics: Arc<Statistics>,
}

impl VirtualService {
    /// Its name.
    #[must_use]
    pub const fn key(&self) -> &ServiceKey {
        &self.key
    }

    /// Who chooses its servers.
    #[must_use]
    pub fn scheduler(&self) -> &dyn Scheduler {
        &*self.scheduler
    }

    /// Its servers, newest first.
    #[must_use]
    pub fn servers(&self) -> &[Arc<RealServer>] {
        &self.servers
    }

    /// What it has been sent and what came back.
    #[must_use]
    pub const fn statistics(&self) -> &Arc<Statistics> {
        &self.statistics
    }

    /// The real server for a new connection.
    #[must_use]
    pub fn schedule(&self, request: &Request<'_>) -> Option<&Arc<RealServer>> {
        match self.scheduler.select(request, &self.servers) {
            Selection::Server(place) => self.servers.get(place),
            Selection::NoServer => None,
        }
    }

    fn new(spec: &ServiceSpec, statistics: Arc<Statistics>, now: Instant) -> Self {
        let scheduler = bind(&spec.scheduler, &[], now);
        Self { key: spec.key, scheduler, servers: Vec::new(), statistics }
    }

    /// Puts a server at the head of the list.
    fn add(&mut self, server: Arc<RealServer>) {
        self.servers.insert(0, server);
        self.tell(ServerEvent::Added(self.servers[0].id()));
    }

    fn remove(&mut self, place: usize) -> Arc<RealServer> {
        let predecessor = place.checked_sub(1).map(|before| self.servers[before].id());
        let server = self.servers.remove(place);
        self.tell(ServerEvent::Removed { server: server.id(), predecessor });
        server
    }

    fn edit(&mut self, place: usize, spec: &ServerSpec) {
        let server = &self.servers[place];
        if (server.method(), server.weight()) != (spec.method, spec.weight) {
            server.set(spec.method, spec.weight);
            self.tell(ServerEvent::Edited(server.id()));
        }
    }

    fn reschedule(&mut self, spec: &SchedulerSpec, now: Instant) {
        let same = match spec {
            SchedulerSpec::Named(name) => name == self.scheduler.name(),
            SchedulerSpec::Custom(_) => false,
        };
        if !same {
            self.scheduler = bind(spec, &self.servers, now);
        }
    }

    fn tell(&mut self, event: ServerEvent) {
        self.scheduler = Arc::clone(&self.scheduler).successor(event, &self.servers);
    }
}

fn bind(spec: &SchedulerSpec, servers: &[Arc<RealServer>], now: Instant) -> Arc<dyn Scheduler> {
    match spec {
        SchedulerSpec::Named(name) => {
            scheduler::named(name, servers, now).expect("ServiceSpec::check knows the name")
        }
        SchedulerSpec::Custom(scheduler) => Arc::clone(scheduler),
    }
}

/// All virtual services.
#[derive(Clone, Debug, Default)]
pub struct ServiceTable {
    services: Vec<VirtualService>,
    places: HashMap<(Protocol, Endpoint), usize, RandomState>,
    last_id: u32,
    statistics: Arc<Statistics>,
    trash: Trash,
}

impl ServiceTable {
    /// The service for a packet to `destination`.
    #[must_use]
    pub fn find(&self, protocol: Protocol, destination: Endpoint) -> Option<&VirtualService> {
        self.places.get(&(protocol, destination)).map(|place| &self.services[*place])
    }

    /// Whether any service of `protocol` has this VIP.
    #[must_use]
    pub fn has_address(&self, protocol: Protocol, address: IpAddr) -> bool {
        self.services.iter().any(|s| s.key.protocol == protocol && s.key.address.address == address)
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

    /// The table that agrees with `specs`, from `now` on. Services and servers that stay are kept by
    /// identity, with their counters and connections; so is a server that comes back to a service of the
    /// same name within two minutes of its last connection. Everything is checked before anything changes.
    pub fn apply(&self, specs: &[ServiceSpec], now: Instant) -> Result<Self, SpecError> {
        let mut places = HashMap::default();
        for (place, spec) in specs.iter().enumerate() {
            spec.check()?;
            if places.insert((spec.key.protocol, spec.key.address), place).is_some() {
                return Err(SpecError::DuplicateService(spec.key));
            }
        }
        let mut trash = self.trash.at(now);
        for gone in self.services.iter().filter(|s| !places.contains_key(&(s.key.protocol, s.key.address))) {
            for server in &gone.servers {
                trash.take(gone, Arc::clone(server), now);
            }
        }
        let mut next = Self {
            services: Vec::with_capacity(specs.len()),
            places,
            last_id: self.last_id,
            statistics: Arc::clone(&self.statistics),
            trash,
        };
        for spec in specs {
            let known = self.find(spec.key.protocol, spec.key.address).cloned();
            let service = next.agree(spec, known, now);
            next.services.push(service);
        }
        Ok(next)
    }

    /// The service as `spec` wishes it, from what it was.
    fn agree(&mut self, spec: &ServiceSpec, known: Option<VirtualService>, now: Instant) -> VirtualService {
        let mut service =
            known.unwrap_or_else(|| VirtualService::new(spec, self.trash.statistics_of(&spec.key), now));
        service.reschedule(&spec.scheduler, now);
        for place in (0..service.servers.len()).rev() {
            let endpoint = service.servers[place].endpoint();
            if !spec.servers.iter().any(|s| s.endpoint == endpoint) {
                let server = service.remove(place);
                self.trash.take(&service, server, now);
            }
        }
        for server in &spec.servers {
            if let Some(place) = service.servers.iter().position(|s| s.endpoint() == server.endpoint) {
                service.servers[place].set_encapsulation(server.encapsulation);
                service.edit(place, server);
            } else {
                let new = self.server(&spec.key, server);
                new.set_encapsulation(server.encapsulation);
                service.add(new);
            }
        }
        service
    }

    /// A server that comes new to a service, or comes back to it.
    fn server(&mut self, service: &ServiceKey, spec: &ServerSpec) -> Arc<RealServer> {
        if let Some(server) = self.trash.give_back(service, spec.endpoint) {
            server.set(spec.method, spec.weight);
            return server;
        }
        self.last_id += 1;
        Arc::new(RealServer::new(ServerId(self.last_id), spec.endpoint, spec.method, spec.weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{Encapsulation, Method};

    fn spec(scheduler: &str, servers: &[(&str, u32)]) -> ServiceSpec {
        let server = |(endpoint, weight): &(&str, u32)| ServerSpec {
            endpoint: endpoint.parse().unwrap(),
            method: Method::Masquerading,
            encapsulation: Encapsulation::default(),
            weight: *weight,
        };
        ServiceSpec {
            key: ServiceKey { protocol: Protocol::TCP, address: "10.99.0.1:80".parse().unwrap() },
            scheduler: SchedulerSpec::Named(scheduler.to_owned()),
            servers: servers.iter().map(server).collect(),
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
}
