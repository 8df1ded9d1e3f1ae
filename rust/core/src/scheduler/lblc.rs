//! Locality-based least connection: a destination keeps its server, for caches behind a transparent
//! proxy; so it means something for services of marks or prefixes, which have many destinations.
//!
//! A destination that is not remembered, or whose server may not be chosen or is overloaded, gets the
//! server of wlc and keeps it. *Overloaded* means here: more active connections than its weight, while
//! another server has less than half of its own. A threshold does not take a destination's server away.
//!
//! Cost: a look-up; a walk of the list when the server has more active connections than its weight, and
//! for a new destination. Source: `ipvsadm(8)`, `lblc`.

use super::least::Least;
use super::locality::Locality;
use super::{Request, Scheduler, Selection, ServerEvent, Servers};
use crate::server::{RealServer, ServerId};
use crate::shared::AtomicU32;
use crate::time::Instant;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The destinations and the ids of their servers. `Relaxed` is enough for an id: it is looked up in the
/// list of the moment, and when two workers write, either's choice is a good one.
#[derive(Debug)]
pub(super) struct LocalityBased {
    destinations: Locality<AtomicU32>,
}

impl LocalityBased {
    pub(super) fn new(now: Instant) -> Self {
        Self { destinations: Locality::new(now) }
    }
}

/// Whether a server has more than it should, and another has room.
pub(super) fn is_overloaded(server: &RealServer, servers: Servers<'_>) -> bool {
    server.active() > server.weight()
        && servers.iter().any(|other| u64::from(other.active()) * 2 < u64::from(other.weight()))
}

impl Scheduler for LocalityBased {
    fn name(&self) -> &'static str {
        "lblc"
    }

    fn select(&self, request: &Request<'_>, servers: Servers<'_>) -> Selection {
        let (destination, now) = (request.towards, request.now);
        self.destinations.tidy(now, request.settings.lblc_expiration);
        let entry = self.destinations.find(destination, now);
        let kept = entry.as_ref().and_then(|entry| {
            let id = entry.value.load(Relaxed);
            servers.iter().position(|server| server.id().0 == id)
        });
        let fits = |place: &usize| {
            let server = &servers[*place];
            server.weight() > 0 && server.is_available() && !is_overloaded(server, servers)
        };
        if let Some(place) = kept.filter(fits) {
            return Selection::Server(place);
        }
        let Some(place) = Least::WeightedConnections.of(servers) else { return Selection::NoServer };
        let id = servers[place].id().0;
        match entry {
            Some(entry) => entry.value.store(id, Relaxed),
            None => self.destinations.insert(destination, AtomicU32::new(id), now),
        }
        Selection::Server(place)
    }

    fn successor(self: Arc<Self>, _event: ServerEvent<'_>) -> Arc<dyn Scheduler> {
        self
    }

    fn remembers(&self, server: ServerId) -> bool {
        self.destinations.any(|id| id.load(Relaxed) == server.0)
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::super::testing::{flow, pick, servers};
    use super::*;

    fn to(scheduler: &LocalityBased, list: Servers<'_>, destination: &str) -> isize {
        pick(scheduler, list, flow("192.0.2.1", destination), Instant::ZERO)
    }

    #[test]
    fn a_destination_keeps_its_server_until_that_is_overloaded_or_gone() {
        let mut list = servers(&[2, 2, 2]);
        let lblc = LocalityBased::new(Instant::ZERO);
        assert_eq!(to(&lblc, &list, "10.9.9.1"), 0);
        for expected in [0, 0, 1] {
            list[0].bind();
            list[0].set_active(true);
            assert_eq!(to(&lblc, &list, "10.9.9.1"), expected, "{} active", list[0].active());
        }
        list[1].set_weight(0);
        assert_eq!(to(&lblc, &list, "10.9.9.1"), 2);
        list.remove(2);
        assert_eq!(to(&lblc, &list, "10.9.9.1"), 0, "the only one that may be chosen");
    }

    #[test]
    fn a_threshold_does_not_take_the_server_away() {
        let list = servers(&[1, 1]);
        let lblc = LocalityBased::new(Instant::ZERO);
        assert_eq!(to(&lblc, &list, "10.9.9.1"), 0);
        list[0].set_thresholds(1, 0);
        list[0].bind();
        assert!(list[0].is_overloaded());
        assert_eq!((to(&lblc, &list, "10.9.9.1"), to(&lblc, &list, "10.9.9.2")), (0, 1));
    }
}
