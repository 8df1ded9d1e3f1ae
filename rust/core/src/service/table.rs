//! All virtual services: an immutable snapshot that a worker reads, and how the next one is made.

use super::{
    RealServer, SchedulerSpec, ServerId, ServerSpec, ServiceKey, ServiceSpec, SpecError, Statistics,
};
use crate::net::{Endpoint, Protocol};
use crate::scheduler::{self, Flow, Scheduler, Selection, ServerEvent};
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
    pub fn schedule(&self, flow: &Flow, now: Instant) -> Option<&Arc<RealServer>> {
        match self.scheduler.select(flow, &self.servers, now) {
            Selection::Server(place) => self.servers.get(place),
            Selection::NoServer => None,
        }
    }

    fn new(spec: &ServiceSpec) -> Self {
        let scheduler = bind(&spec.scheduler, &[]);
        Self { key: spec.key, scheduler, servers: Vec::new(), statistics: Arc::default() }
    }

    fn add(&mut self, id: ServerId, spec: &ServerSpec) {
        let server = RealServer::new(id, spec.endpoint, spec.method, spec.weight);
        self.servers.insert(0, Arc::new(server));
        self.tell(ServerEvent::Added(id));
    }

    fn remove(&mut self, place: usize) {
        let predecessor = place.checked_sub(1).map(|before| self.servers[before].id());
        let server = self.servers.remove(place);
        server.set_available(false);
        self.tell(ServerEvent::Removed { server: server.id(), predecessor });
    }

    fn edit(&mut self, place: usize, spec: &ServerSpec) {
        let server = &self.servers[place];
        if (server.method(), server.weight()) != (spec.method, spec.weight) {
            server.set(spec.method, spec.weight);
            self.tell(ServerEvent::Edited(server.id()));
        }
    }

    fn reschedule(&mut self, spec: &SchedulerSpec) {
        let same = match spec {
            SchedulerSpec::Named(name) => name == self.scheduler.name(),
            SchedulerSpec::Custom(_) => false,
        };
        if !same {
            self.scheduler = bind(spec, &self.servers);
        }
    }

    fn tell(&mut self, event: ServerEvent) {
        self.scheduler = Arc::clone(&self.scheduler).successor(event, &self.servers);
    }
}

fn bind(spec: &SchedulerSpec, servers: &[Arc<RealServer>]) -> Arc<dyn Scheduler> {
    match spec {
        SchedulerSpec::Named(name) => {
            scheduler::named(name, servers).expect("ServiceSpec::check knows the name")
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

    /// The table that agrees with `specs`. Services and servers that stay are kept by identity, with
    /// their counters and connections; everything is checked before anything changes.
    pub fn apply(&self, specs: &[ServiceSpec]) -> Result<Self, SpecError> {
        let mut places = HashMap::default();
        for (place, spec) in specs.iter().enumerate() {
            spec.check()?;
            if places.insert((spec.key.protocol, spec.key.address), place).is_some() {
                return Err(SpecError::DuplicateService(spec.key));
            }
        }
        let mut last_id = self.last_id;
        for gone in self.services.iter().filter(|s| !places.contains_key(&(s.key.protocol, s.key.address))) {
            gone.servers.iter().for_each(|server| server.set_available(false));
        }
        let services = specs.iter().map(|spec| self.agree(spec, &mut last_id)).collect();
        Ok(Self { services, places, last_id, statistics: Arc::clone(&self.statistics) })
    }

    fn agree(&self, spec: &ServiceSpec, last_id: &mut u32) -> VirtualService {
        let old = self.find(spec.key.protocol, spec.key.address).cloned();
        let mut service = old.unwrap_or_else(|| VirtualService::new(spec));
        service.reschedule(&spec.scheduler);
        for place in (0..service.servers.len()).rev() {
            let endpoint = service.servers[place].endpoint();
            if !spec.servers.iter().any(|s| s.endpoint == endpoint) {
                service.remove(place);
            }
        }
        for server in &spec.servers {
            if let Some(place) = service.servers.iter().position(|s| s.endpoint() == server.endpoint) {
                service.edit(place, server);
            } else {
                *last_id += 1;
                service.add(ServerId(*last_id), server);
            }
        }
        service
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Method;

    fn spec(scheduler: &str, servers: &[(&str, u32)]) -> ServiceSpec {
        let server = |(endpoint, weight): &(&str, u32)| ServerSpec {
            endpoint: endpoint.parse().unwrap(),
            method: Method::Masquerading,
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
        let one = table.apply(&[spec("rr", &[("10.0.0.1:80", 1), ("10.0.0.2:80", 1)])]).unwrap();
        let before = one.services()[0].servers().to_vec();
        assert_eq!(before[0].endpoint(), "10.0.0.2:80".parse().unwrap());
        let two = one.apply(&[spec("wlc", &[("10.0.0.1:80", 5), ("10.0.0.3:80", 1)])]).unwrap();
        let after = two.services()[0].servers();
        assert_eq!(after[0].endpoint(), "10.0.0.3:80".parse().unwrap());
        assert!(Arc::ptr_eq(&after[1], &before[1]));
        assert_eq!((after[1].weight(), before[0].is_available()), (5, false));
        assert_eq!(two.services()[0].scheduler().name(), "wlc");
    }

    #[test]
    fn a_bad_wish_changes_nothing() {
        let good = spec("rr", &[("10.0.0.1:80", 1)]);
        let table = ServiceTable::default().apply(std::slice::from_ref(&good)).unwrap();
        let bad = spec("fastest", &[]);
        let error = table.apply(&[bad]).unwrap_err();
        assert!(error.to_string().contains("expected one of rr wrr"), "{error}");
        assert!(matches!(table.apply(&[good.clone(), good]), Err(SpecError::DuplicateService(_))));
        assert!(table.services()[0].servers()[0].is_available());
        let mut routed = spec("rr", &[("10.0.0.1:8080", 1)]);
        routed.servers[0].method = Method::Gatewaying;
        assert!(matches!(table.apply(&[routed]), Err(SpecError::OtherPort(..))));
    }
}
