//! Servers that were deleted and may come back: with their connections, their counters and their overload.
//!
//! The kernel's rule: every 60 s (counted from when the trash ceased to be empty) it looks which servers
//! have no connection; one that had none at a look two minutes ago is forgotten. Unless the service's scheduler
//! remembers it (lblc and lblcr do).
//!
//! A change may bring thousands back at once, so each is found by its name.

use super::{Account, RealServer, ServerId, ServiceKey, VirtualService};
use crate::net::Endpoint;
use crate::time::{Duration, Instant};
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::sync::Arc;

const BEAT: Duration = Duration::from_secs(60);
const IDLE: Duration = Duration::from_secs(120);

/// Deleted servers. A change that does not touch them shares them with the table before it.
#[derive(Clone, Debug, Default)]
pub(super) struct Trash {
    /// By the service that they were deleted from; none of these is empty.
    services: Arc<HashMap<ServiceKey, Arc<Leftovers>, RandomState>>,
    /// When it ceased to be empty.
    began: Instant,
    /// How many beats after that those that are forgotten were taken out last: between two beats nobody is.
    beat: u128,
    /// How many were ever taken.
    deletions: u64,
}

/// The deleted servers of a service.
#[derive(Clone, Debug)]
struct Leftovers {
    /// The service's account: connections that are left refer to it.
    account: Arc<Account>,
    servers: HashMap<Endpoint, Deleted, RandomState>,
}

#[derive(Clone, Debug)]
struct Deleted {
    server: Arc<RealServer>,
    when: Instant,
}

impl Trash {
    /// What is left of it at `now`. Servers that somebody still remembers stay.
    pub(super) fn at(&self, now: Instant, remembered: impl Fn(&ServiceKey, ServerId) -> bool) -> Self {
        let mut left = self.clone();
        let beat = now.since(self.began).as_nanos() / BEAT.as_nanos();
        if self.services.is_empty() || beat == self.beat {
            return left;
        }
        left.beat = beat;
        let is_left = |service: &ServiceKey, deleted: &Deleted| {
            !self.is_forgotten(deleted, now) || remembered(service, deleted.server.id())
        };
        let whole = |(service, leftovers): (&ServiceKey, &Arc<Leftovers>)| {
            leftovers.servers.values().all(|deleted| is_left(service, deleted))
        };
        if !self.services.iter().all(whole) {
            Arc::make_mut(&mut left.services).retain(|service, leftovers| {
                Arc::make_mut(leftovers).servers.retain(|_, deleted| is_left(service, deleted));
                !leftovers.servers.is_empty()
            });
        }
        left
    }

    /// How many servers were ever deleted.
    pub(super) const fn deletions(&self) -> u64 {
        self.deletions
    }

    /// Takes a server that is deleted from `service`.
    pub(super) fn take(&mut self, service: &VirtualService, server: Arc<RealServer>, now: Instant) {
        server.set_available(false);
        if self.services.is_empty() {
            (self.began, self.beat) = (now, 0);
        }
        self.deletions += 1;
        let leftovers = Arc::make_mut(&mut self.services).entry(*service.key()).or_insert_with(|| {
            Arc::new(Leftovers { account: Arc::clone(service.account()), servers: HashMap::default() })
        });
        Arc::make_mut(leftovers).servers.insert(server.endpoint(), Deleted { server, when: now });
    }

    /// The server that is added to `service` again.
    pub(super) fn give_back(&mut self, service: &ServiceKey, endpoint: Endpoint) -> Option<Arc<RealServer>> {
        if !self.services.get(service)?.servers.contains_key(&endpoint) {
            return None;
        }
        let services = Arc::make_mut(&mut self.services);
        let leftovers = Arc::make_mut(services.get_mut(service)?);
        let server = leftovers.servers.remove(&endpoint)?.server;
        if leftovers.servers.is_empty() {
            services.remove(service);
        }
        server.set_available(true);
        Some(server)
    }

    /// The account of a service that is made anew. If connections of one of the same name are left, the one
    /// that they refer to: it counts from 0 again, and its servers begin anew.
    pub(super) fn account_of(&self, service: &ServiceKey) -> Arc<Account> {
        let known = self.services.get(service);
        let account = known.map(|leftovers| Arc::clone(&leftovers.account));
        let account = account.unwrap_or_else(|| Arc::new(Account::new(Some(*service))));
        account.statistics.forget();
        let servers = known.into_iter().flat_map(|leftovers| leftovers.servers.values());
        servers.for_each(|deleted| deleted.server.statistics.zero());
        account
    }

    fn is_forgotten(&self, deleted: &Deleted, now: Instant) -> bool {
        let Some(left) = deleted.server.idle_since() else { return false };
        let idle = left.max(deleted.when).since(self.began);
        let beats = idle.as_nanos() / BEAT.as_nanos() + 1;
        let seen = self.began + BEAT.saturating_mul(u32::try_from(beats).unwrap_or(u32::MAX));
        now >= seen + IDLE
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SchedulerSpec, ServerSpec, ServiceSpec, ServiceTable};
    use super::*;
    use crate::net::Protocol;
    use crate::scheduler::{Flow, Request, SchedulerFlags};
    use crate::service::Method;
    use crate::settings::Settings;

    fn spec(servers: &[&str]) -> ServiceSpec {
        let server = |endpoint: &&str| ServerSpec {
            endpoint: endpoint.parse().unwrap(),
            method: Method::Masquerading,
            ..ServerSpec::default()
        };
        ServiceSpec {
            key: ServiceKey::new(Protocol::TCP, "10.99.0.1:80".parse().unwrap()),
            servers: servers.iter().map(server).collect(),
            ..ServiceSpec::default()
        }
    }

    fn after(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_server_that_its_scheduler_remembers_is_kept() {
        let settings = Settings::default();
        let flow = Flow {
            protocol: Protocol::TCP,
            client: "203.0.113.9:4000".parse().unwrap(),
            destination: "10.99.0.1:80".parse().unwrap(),
        };
        for (scheduler, kept) in [("lblc", true), ("lblcr", true), ("wlc", false)] {
            let of = |servers: &[&str]| ServiceSpec {
                scheduler: SchedulerSpec::Named(scheduler.to_owned()),
                ..spec(servers)
            };
            let table = ServiceTable::default().apply(&[of(&["10.0.0.1:80"])], Instant::ZERO).unwrap();
            let server = Arc::clone(&table.services()[0].servers()[0]);
            let flags = SchedulerFlags::default();
            let request = Request {
                flow,
                towards: flow.destination.address,
                now: after(1),
                flags,
                settings: &settings,
                random: 0,
            };
            assert!(table.services()[0].schedule(&request).is_some());
            let without = table.apply(&[of(&[])], after(2)).unwrap();
            let again = without.apply(&[of(&["10.0.0.1:80"])], after(1000)).unwrap();
            assert_eq!(Arc::ptr_eq(&server, &again.services()[0].servers()[0]), kept, "{scheduler}");
        }
    }

    #[test]
    fn a_server_comes_back_as_itself_to_a_service_of_the_same_name() {
        let table = ServiceTable::default().apply(&[spec(&["10.0.0.1:80"])], Instant::ZERO).unwrap();
        let server = Arc::clone(&table.services()[0].servers()[0]);
        server.bind();
        server.statistics.connection();
        let without = table.apply(&[spec(&[])], Instant::ZERO).unwrap();
        assert!(!server.is_available());
        let again = without.apply(&[spec(&["10.0.0.1:80"])], after(1_000_000)).unwrap();
        assert!(Arc::ptr_eq(&server, &again.services()[0].servers()[0]), "its connection is still there");
        assert!(server.is_available());
        assert_eq!(server.statistics.values().connections, 1, "the service was there all the time");
        again.estimate(after(1_000_000));
        let none = again.apply(&[], after(1_000_000)).unwrap();
        let anew = none.apply(&[spec(&["10.0.0.1:80"])], after(1_000_000)).unwrap();
        assert!(Arc::ptr_eq(&server, &anew.services()[0].servers()[0]));
        assert_eq!((server.inactive(), server.statistics.values().connections), (1, 0));
    }

    #[test]
    fn fifty_thousand_come_back_at_once() {
        let endpoints: Vec<_> = (0..50_000).map(|n| format!("10.{}.{}.1:80", n / 250, n % 250)).collect();
        let endpoints: Vec<_> = endpoints.iter().map(String::as_str).collect();
        let table = ServiceTable::default().apply(&[spec(&endpoints)], Instant::ZERO).unwrap();
        let servers = table.services()[0].servers().to_vec();
        let mut trash = Trash::default();
        let began = std::time::Instant::now();
        for server in &servers {
            trash.take(&table.services()[0], Arc::clone(server), after(1));
        }
        let key = *table.services()[0].key();
        for server in servers.iter().rev() {
            let back = trash.give_back(&key, server.endpoint()).unwrap();
            assert!(Arc::ptr_eq(&back, server));
        }
        assert!(trash.services.is_empty());
        assert_eq!(trash.deletions(), 50_000, "who came back was deleted all the same");
        // Each looked for among all the others, the unoptimised test takes most of a minute.
        assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    }

    #[test]
    fn it_is_forgotten_at_the_look_two_minutes_after_one_that_found_it_idle() {
        let table = ServiceTable::default().apply(&[spec(&["10.0.0.1:80"])], after(7)).unwrap();
        let server = Arc::clone(&table.services()[0].servers()[0]);
        server.bind();
        let without = table.apply(&[spec(&[])], after(10)).unwrap();
        server.unbind(false, after(75));
        let comes_back = |when| {
            let again = without.apply(&[spec(&["10.0.0.1:80"])], after(when)).unwrap();
            Arc::ptr_eq(&server, &again.services()[0].servers()[0])
        };
        assert!(comes_back(10 + 120 + 119));
        assert!(!comes_back(10 + 120 + 120));
    }
}
