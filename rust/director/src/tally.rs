//! Who needs each claim: services and servers as they are wished for, and servers that are *draining*, as ipvsadm's
//! users say: configured otherwise by now, or no more, but not yet without connections. Without their claims the
//! kernel would reset those.

use crate::claims::{Claim, Needs};
use fastlvs_core::marks::Marks;
use fastlvs_core::service::{RealServer, ServerId, ServerSpec, ServiceSpec};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// How many need each claim. Only what changes is counted anew.
#[derive(Debug, Default)]
pub struct Tally {
    users: HashMap<Claim, u32>,
    /// By server, each with what it needed when it was configured otherwise.
    draining: HashMap<ServerId, Vec<Draining>>,
    /// What nobody needs any more, and the kernel was not yet let at.
    unused: HashSet<Claim>,
}

/// A server that is configured otherwise by now.
#[derive(Debug)]
struct Draining {
    server: Arc<RealServer>,
    claims: Vec<Claim>,
}

/// What a change of services comes to.
#[derive(Debug, Default)]
pub struct Change {
    needed: Vec<Claim>,
    released: Vec<Claim>,
    draining: Vec<Draining>,
}

impl Change {
    /// Adds that of a service, with what gave its packets their marks. `servers` are those that it had.
    pub fn add(
        &mut self,
        before: Option<(&ServiceSpec, &Marks)>,
        after: Option<(&ServiceSpec, &Marks)>,
        servers: &[Arc<RealServer>],
    ) {
        let needs = |of: Option<(&ServiceSpec, &Marks)>| of.map(|(spec, marks)| Needs::of(spec, marks));
        let specs = |of: Option<(&ServiceSpec, &Marks)>| {
            of.map_or(Vec::new(), |(spec, _)| {
                spec.servers.iter().map(|server| (server.endpoint, *server)).collect()
            })
        };
        let (old, new) = (needs(before), needs(after));
        let (had, has) = (specs(before), specs(after));
        let key = |(endpoint, server): &(_, ServerSpec)| (*endpoint, server.method);
        if old == new && had.iter().map(key).eq(has.iter().map(key)) {
            return;
        }
        let claims = |needs: &Option<Needs>, of: Option<(&ServiceSpec, &Marks)>| match (needs, of) {
            (Some(needs), Some((spec, _))) => needs.all(&spec.servers).collect(),
            _ => Vec::new(),
        };
        self.released.extend(claims(&old, before));
        self.needed.extend(claims(&new, after));
        let Some(old) = old else { return };
        let (had, has): (HashMap<_, _>, HashMap<_, _>) =
            (had.into_iter().collect(), has.into_iter().collect());
        for server in servers {
            let Some(spec) = had.get(&server.endpoint()) else { continue };
            let claims: Vec<_> = old.all(std::slice::from_ref(spec)).collect();
            let stays = new.as_ref().zip(has.get(&server.endpoint())).is_some_and(|(new, spec)| {
                let kept: HashSet<_> = new.all(std::slice::from_ref(spec)).collect();
                claims.iter().all(|claim| kept.contains(claim))
            });
            if !stays {
                self.draining.push(Draining { server: Arc::clone(server), claims });
            }
        }
    }

    /// What has to be claimed when it is made.
    #[must_use]
    pub fn needed(&self) -> &[Claim] {
        &self.needed
    }
}

impl Tally {
    /// Makes a change.
    pub fn make(&mut self, change: Change) {
        for claim in change.needed {
            self.take(claim);
        }
        for Draining { server, claims } in change.draining {
            let known = self.draining.entry(server.id()).or_default();
            if !known.iter().any(|known| known.claims == claims) {
                known.push(Draining { server, claims: claims.clone() });
                for claim in claims {
                    self.take(claim);
                }
            }
        }
        for claim in change.released {
            self.release(claim);
        }
    }

    /// Releases what servers needed that are without connections by now.
    pub fn release_idle(&mut self) {
        let is_idle = |server: &RealServer| server.active() == 0 && server.inactive() == 0;
        let idle = self.draining.extract_if(|_, of| of.iter().any(|draining| is_idle(&draining.server)));
        let idle: Vec<_> = idle.flat_map(|(_, of)| of).flat_map(|draining| draining.claims).collect();
        for claim in idle {
            self.release(claim);
        }
    }

    /// What nobody needs any more.
    #[must_use]
    pub const fn unused(&self) -> &HashSet<Claim> {
        &self.unused
    }

    /// The kernel was let at all that is unused.
    pub fn forget_unused(&mut self) {
        self.unused = HashSet::new();
    }

    fn take(&mut self, claim: Claim) {
        self.unused.remove(&claim);
        *self.users.entry(claim).or_default() += 1;
    }

    fn release(&mut self, claim: Claim) {
        if let Some(users) = self.users.get_mut(&claim) {
            *users -= 1;
            if *users == 0 {
                self.users.remove(&claim);
                self.unused.insert(claim);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastlvs_core::marks::MarkRule;
    use fastlvs_core::net::{Endpoint, Protocol};
    use fastlvs_core::service::{Method, ServiceKey, ServiceTable};
    use fastlvs_core::time::Instant;

    fn service(servers: &[(&str, Method)]) -> ServiceSpec {
        let server = |(endpoint, method): &(&str, Method)| ServerSpec {
            endpoint: endpoint.parse().unwrap(),
            method: *method,
            ..ServerSpec::default()
        };
        ServiceSpec {
            key: ServiceKey::new(Protocol::TCP, "10.0.0.1:80".parse().unwrap()),
            servers: servers.iter().map(server).collect(),
            ..ServiceSpec::default()
        }
    }

    /// A tally and what it is of.
    struct Running {
        table: ServiceTable,
        marks: Marks,
        tally: Tally,
    }

    impl Running {
        fn new(spec: &ServiceSpec, marks: Marks) -> Self {
            let mut running =
                Self { table: ServiceTable::default(), marks: Marks::default(), tally: Tally::default() };
            running.apply(Some(spec), marks);
            running
        }

        fn apply(&mut self, spec: Option<&ServiceSpec>, marks: Marks) {
            let before = self.table.specs().next();
            let servers = self.table.services().first().map_or(&[][..], |service| service.servers());
            let mut change = Change::default();
            change.add(before.map(|spec| (spec, &self.marks)), spec.map(|spec| (spec, &marks)), servers);
            self.tally.make(change);
            self.table = self.table.apply(&Vec::from_iter(spec.cloned()), Instant::ZERO).unwrap();
            self.marks = marks;
        }

        fn servers(&self) -> Vec<Arc<RealServer>> {
            self.table.services()[0].servers().to_vec()
        }

        /// Replies and services that somebody needs.
        fn needed(&mut self) -> (usize, usize) {
            self.tally.release_idle();
            let replies = self.tally.users.keys().filter(|claim| matches!(claim, Claim::Reply(_))).count();
            (replies, self.tally.users.len() - replies)
        }
    }

    const NAT: Method = Method::Masquerading;
    const DR: Method = Method::Gatewaying;

    #[test]
    fn a_removed_server_is_claimed_until_its_last_connection_is_gone() {
        let mut running =
            Running::new(&service(&[("10.1.0.1:80", NAT), ("10.1.0.2:80", NAT)]), Marks::default());
        let busy = Arc::clone(&running.servers()[0]);
        assert_eq!(busy.endpoint(), "10.1.0.2:80".parse().unwrap());
        busy.bind();
        running.apply(Some(&service(&[("10.1.0.1:80", NAT)])), Marks::default());
        assert_eq!(running.needed(), (2, 1));
        assert!(running.tally.unused().is_empty());
        busy.unbind(false, Instant::ZERO);
        assert_eq!(running.needed(), (1, 1));
        assert_eq!(running.tally.unused().len(), 1);
        running.apply(Some(&service(&[("10.1.0.1:80", NAT), ("10.1.0.2:80", NAT)])), Marks::default());
        assert!(running.tally.unused().is_empty(), "somebody needs it again");
    }

    #[test]
    fn a_busy_server_that_stays_is_not_draining_however_often_all_is_applied() {
        let spec = service(&[("10.1.0.1:80", DR), ("10.1.0.2:80", DR)]);
        let mut running = Running::new(&spec, Marks::default());
        running.servers().iter().for_each(|server| server.bind());
        for reload in 0..3 {
            let mut spec = spec.clone();
            spec.servers[0].weight = reload + 5;
            running.apply(Some(&spec), Marks::default());
        }
        assert!(running.tally.draining.is_empty());
        assert_eq!(running.needed(), (0, 1), "nothing of a DR server's own is claimed");
        for _ in 0..3 {
            running.apply(None, Marks::default());
            running.apply(Some(&spec), Marks::default());
        }
        assert_eq!(running.tally.draining.values().map(Vec::len).collect::<Vec<_>>(), [1, 1], "once each");
        assert_eq!(running.needed(), (0, 1));
    }

    #[test]
    fn replies_of_connections_by_nat_are_claimed_after_the_server_left_nat() {
        let mut running = Running::new(&service(&[("10.1.0.1:80", NAT)]), Marks::default());
        let server = Arc::clone(&running.servers()[0]);
        server.bind();
        running.apply(Some(&service(&[("10.1.0.1:80", DR)])), Marks::default());
        assert_eq!(running.needed(), (1, 1));
        server.unbind(false, Instant::ZERO);
        assert_eq!(running.needed(), (0, 1));
    }

    #[test]
    fn what_a_rule_marked_is_claimed_while_it_has_connections() {
        let rule = MarkRule {
            destination: "192.0.2.0/28".parse().unwrap(),
            source: None,
            protocol: Some(Protocol::TCP),
            ports: 80..=80,
            mark: 7,
        };
        let marked = ServiceSpec {
            key: ServiceKey::of_mark(7, false),
            ..service(&[("10.1.0.1:8080", NAT), ("10.1.0.2:0", NAT)])
        };
        let mut running = Running::new(&marked, Marks::new(vec![rule.clone()]));
        let server = Arc::clone(&running.servers()[0]);
        assert_eq!(server.endpoint(), Endpoint::new([10, 1, 0, 2].into(), 0));
        server.bind();
        running.apply(Some(&marked), Marks::new(vec![rule]));
        assert!(running.tally.draining.is_empty());
        running.apply(Some(&marked), Marks::default());
        assert_eq!(running.needed(), (1, 1), "the other server has none");
        server.unbind(false, Instant::ZERO);
        assert_eq!(running.needed(), (0, 0));
    }
}
