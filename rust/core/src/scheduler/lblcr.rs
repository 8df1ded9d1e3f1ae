//! Locality-based least connection with replication: a destination has a set of servers, which grows when
//! its servers are overloaded and shrinks when it has not changed for a while.
//!
//! The set's least loaded member (as wlc) takes the connection, unless it is overloaded in the sense of
//! lblc: then the list's least loaded server joins the set and takes it. A set of several members that has
//! not changed for the expiration time loses its most loaded one at the next connection.
//!
//! Cost: a look-up and a walk of the set; a walk of the list when a server is overloaded and for a new
//! destination. Source: `ipvsadm(8)`, `lblcr`.

use super::lblc::is_overloaded;
use super::least::Least;
use super::locality::Locality;
use super::{Request, Scheduler, Selection, ServerEvent, Servers};
use crate::server::{RealServer, ServerId};
use crate::shared::ArcSwap;
use crate::time::Instant;
use std::sync::Arc;

/// The destinations and their sets. A set is immutable and replaced as a whole, so that whoever walks it
/// sees one of its states.
#[derive(Debug)]
pub(super) struct LocalityReplicated {
    destinations: Locality<ArcSwap<ServerSet>>,
}

/// Servers of a destination, the newest member first. One that is deleted stays a member: it may come back.
#[derive(Clone, Debug)]
struct ServerSet {
    members: Vec<Arc<RealServer>>,
    /// When a member came or went.
    changed: Instant,
}

impl ServerSet {
    fn with(&self, server: &Arc<RealServer>, now: Instant) -> Self {
        Self { members: std::iter::once(server).chain(&self.members).cloned().collect(), changed: now }
    }

    fn without(&self, id: ServerId, now: Instant) -> Self {
        Self { members: self.members.iter().filter(|m| m.id() != id).cloned().collect(), changed: now }
    }

    /// The least loaded member that may be chosen.
    fn least(&self) -> Option<&Arc<RealServer>> {
        let available = || self.members.iter().filter(|member| member.is_available());
        Least::WeightedConnections.of(available()).and_then(|place| available().nth(place))
    }

    /// The member with the most connections for its weight. Quiesced ones do not count; those that may not
    /// be chosen for another reason do.
    fn most(&self) -> Option<ServerId> {
        let mut most: Option<(ServerId, u128, u128)> = None;
        for member in self.members.iter().filter(|member| member.weight() > 0) {
            let (cost, weight) = Least::WeightedConnections.cost(member);
            if most.is_none_or(|(_, highest, its_weight)| highest * weight < cost * its_weight) {
                most = Some((member.id(), cost, weight));
            }
        }
        most.map(|(id, ..)| id)
    }
}

impl LocalityReplicated {
    pub(super) fn new(now: Instant) -> Self {
        Self { destinations: Locality::new(now) }
    }
}

impl Scheduler for LocalityReplicated {
    fn name(&self) -> &'static str {
        "lblcr"
    }

    fn select(&self, request: &Request<'_>, servers: Servers<'_>) -> Selection {
        let (destination, now) = (request.towards, request.now);
        let expiration = request.settings.lblcr_expiration;
        self.destinations.tidy(now, expiration);
        let Some(entry) = self.destinations.find(destination, now) else {
            return newcomer(servers, |server| {
                let set = ServerSet { members: vec![Arc::clone(server)], changed: now };
                self.destinations.insert(destination, ArcSwap::from_pointee(set), now);
            });
        };
        let set = entry.value.load();
        if set.members.len() > 1
            && now > set.changed + expiration
            && let Some(most) = set.most()
        {
            entry.value.rcu(|set| set.without(most, now));
        }
        let place = |least: &Arc<RealServer>| servers.iter().position(|server| server.id() == least.id());
        if let Some(place) = set.least().filter(|least| !is_overloaded(least, servers)).and_then(place) {
            return Selection::Server(place);
        }
        newcomer(servers, |server| {
            // Two workers may both add: whoever comes second finds the member there.
            entry.value.rcu(|set| {
                let known = set.members.iter().any(|member| member.id() == server.id());
                if known { Arc::clone(set) } else { Arc::new(set.with(server, now)) }
            });
        })
    }

    fn successor(self: Arc<Self>, _event: ServerEvent<'_>) -> Arc<dyn Scheduler> {
        self
    }

    fn remembers(&self, server: ServerId) -> bool {
        self.destinations.any(|set| set.load().members.iter().any(|member| member.id() == server))
    }
}

/// The list's least loaded server, after it was remembered.
fn newcomer(servers: Servers<'_>, remember: impl FnOnce(&Arc<RealServer>)) -> Selection {
    let place = Least::WeightedConnections.of(servers);
    if let Some(place) = place {
        remember(&servers[place]);
    }
    place.into()
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::super::SchedulerFlags;
    use super::super::testing::{flow, servers};
    use super::*;
    use crate::settings::Settings;
    use crate::time::Duration;

    #[test]
    fn the_set_grows_under_load_and_shrinks_with_time() {
        let list = servers(&[1, 2, 2]);
        let lblcr = LocalityReplicated::new(Instant::ZERO);
        let settings = Settings { lblcr_expiration: Duration::from_secs(100), ..Settings::default() };
        let at = |seconds| {
            let request = Request {
                flow: flow("192.0.2.1", "10.9.9.1"),
                towards: [10, 9, 9, 1].into(),
                now: Instant::ZERO + Duration::from_secs(seconds),
                flags: SchedulerFlags::default(),
                settings: &settings,
                random: 0,
            };
            let Selection::Server(place) = lblcr.select(&request, &list) else { panic!("no server") };
            list[place].bind();
            list[place].set_active(true);
            place
        };
        let members = || {
            let entry = lblcr.destinations.find("10.9.9.1".parse().unwrap(), Instant::ZERO).unwrap();
            entry.value.load().members.iter().map(|member| member.id().0 - 1).collect::<Vec<_>>()
        };
        assert_eq!((at(0), at(0)), (0, 0), "one member, not yet overloaded");
        assert_eq!(at(0), 1, "2 active are more than weight 1, and the second server has room");
        assert_eq!(members(), [1, 0]);
        assert_eq!((at(0), at(100)), (1, 1), "the least loaded member");
        assert_eq!(members(), [1, 0], "exactly the expiration time does not shrink the set");
        assert_eq!(at(101), 2, "3 active are more than weight 2");
        assert_eq!(members(), [2, 1], "the most loaded member left");
    }
}

#[cfg(all(test, feature = "loom"))]
mod loom_models {
    use super::super::testing::{flow, model, pick, servers};
    use super::*;
    use loom::thread;

    /// Two workers find the only member overloaded: both choose the newcomer, which joins once.
    #[test]
    fn a_member_joins_once() {
        model(|| {
            let list = Arc::new(servers(&[1, 2]));
            let lblcr = Arc::new(LocalityReplicated::new(Instant::ZERO));
            let choose = |lblcr: &LocalityReplicated, list: &[Arc<RealServer>]| {
                pick(lblcr, list, flow("192.0.2.1", "10.9.9.1"), Instant::ZERO)
            };
            assert_eq!(choose(&lblcr, &list), 0);
            (0..2).for_each(|_| {
                list[0].bind();
                list[0].set_active(true);
            });
            let (same, servers) = (Arc::clone(&lblcr), Arc::clone(&list));
            let other = thread::spawn(move || choose(&same, &servers));
            assert_eq!((choose(&lblcr, &list), other.join().expect("the model's thread")), (1, 1));
            let entry = lblcr.destinations.find([10, 9, 9, 1].into(), Instant::ZERO).expect("the entry");
            assert_eq!(entry.value.load().members.len(), 2);
        });
    }
}
