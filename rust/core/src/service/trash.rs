//! Servers that were deleted and may come back: with their connections, their counters and their overload.
//!
//! The kernel's rule: every 60 s (counted from when the trash ceased to be empty) it looks which servers
//! have no connection; one that had none at a look two minutes ago is forgotten. Unless the service's scheduler
//! remembers it (lblc and lblcr do).

use super::virtual_service::Account;
use super::{RealServer, ServerId, ServiceKey, VirtualService};
use crate::net::Endpoint;
use crate::time::{Duration, Instant};
use std::sync::Arc;

const BEAT: Duration = Duration::from_secs(60);
const IDLE: Duration = Duration::from_secs(120);

/// Deleted servers.
#[derive(Clone, Debug, Default)]
pub(super) struct Trash {
    deleted: Vec<Deleted>,
    /// When it ceased to be empty.
    began: Instant,
}

#[derive(Clone, Debug)]
struct Deleted {
    service: ServiceKey,
    /// The service's account: connections that are left refer to it.
    account: Arc<Account>,
    server: Arc<RealServer>,
    when: Instant,
}

impl Trash {
    /// What is left of it at `now`. Servers that somebody still remembers stay.
    pub(super) fn at(&self, now: Instant, remembered: impl Fn(&ServiceKey, ServerId) -> bool) -> Self {
        let deleted = self.deleted.iter().filter(|deleted| {
            !self.is_forgotten(deleted, now) || remembered(&deleted.service, deleted.server.id())
        });
        Self { deleted: deleted.cloned().collect(), began: self.began }
    }

    /// Takes a server that is deleted from `service`.
    pub(super) fn take(&mut self, service: &VirtualService, server: Arc<RealServer>, now: Instant) {
        server.set_available(false);
        if self.deleted.is_empty() {
            self.began = now;
        }
        let account = Arc::clone(service.account());
        self.deleted.push(Deleted { service: *service.key(), account, server, when: now });
    }

    /// The server that is added to `service` again.
    pub(super) fn give_back(&mut self, service: &ServiceKey, endpoint: Endpoint) -> Option<Arc<RealServer>> {
        let is_it = |d: &Deleted| d.service == *service && d.server.endpoint() == endpoint;
        let place = self.deleted.iter().position(is_it)?;
        let server = self.deleted.remove(place).server;
        server.set_available(true);
        Some(server)
    }

    /// The account of a service that is made anew. If connections of one of the same name are left, the one
    /// that they refer to: it counts from 0 again, and its servers begin anew.
    pub(super) fn account_of(&self, service: &ServiceKey) -> Arc<Account> {
        let mut known = self.deleted.iter().filter(|d| d.service == *service).peekable();
        let account = known.peek().map(|d| Arc::clone(&d.account)).unwrap_or_default();
        account.statistics.forget();
        known.for_each(|d| d.server.statistics.zero());
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
