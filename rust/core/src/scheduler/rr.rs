//! Round robin: every usable server in turn, weights ignored.
//!
//! Cost: the walk to the next usable server. Source: `ipvsadm(8)`, `rr`.

use super::{Request, Scheduler, Selection, ServerEvent, Servers};
use crate::shared::AtomicU32;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// No server was chosen yet: the place before the list's head (a [`crate::service::ServerId`] is never 0).
const BEFORE_HEAD: u32 = 0;

/// The pointer into the list, shared by all snapshots. The exchange decides between workers, for which
/// `Relaxed` is enough. A removal moves the pointer back with `Release`, and it is read with `Acquire`: who sees it
/// moved back sees too that the server is not available any more, though its list may still have it.
#[derive(Debug)]
pub(super) struct RoundRobin {
    last: AtomicU32,
}

impl Default for RoundRobin {
    fn default() -> Self {
        Self { last: AtomicU32::new(BEFORE_HEAD) }
    }
}

impl Scheduler for RoundRobin {
    fn name(&self) -> &'static str {
        "rr"
    }

    fn select(&self, _request: &Request<'_>, servers: Servers<'_>) -> Selection {
        let mut last = self.last.load(Acquire);
        loop {
            let start = servers.iter().position(|s| s.id().0 == last).map_or(0, |place| place + 1);
            let places = (start..servers.len()).chain(0..start);
            let Some(place) = places.into_iter().find(|place| servers[*place].is_usable()) else {
                return Selection::NoServer;
            };
            match self.last.compare_exchange_weak(last, servers[place].id().0, Relaxed, Acquire) {
                Ok(_) => return Selection::Server(place),
                Err(moved) => last = moved,
            }
        }
    }

    fn successor(self: Arc<Self>, event: ServerEvent<'_>) -> Arc<dyn Scheduler> {
        if let ServerEvent::Removed { server, predecessor } = event {
            let predecessor = predecessor.map_or(BEFORE_HEAD, |p| p.0);
            // Only when the pointer stands there: another worker may have moved it on.
            let _ = self.last.compare_exchange(server.id().0, predecessor, Release, Relaxed);
        }
        self
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::super::testing::{picks, servers};
    use super::*;

    #[test]
    fn walks_the_list_and_skips_the_quiesced() {
        let rr = RoundRobin::default();
        assert_eq!(picks(&rr, &servers(&[1, 1, 0, 1]), 7), [0, 1, 3, 0, 1, 3, 0]);
        assert_eq!(picks(&RoundRobin::default(), &servers(&[0, 0]), 1), [-1]);
    }

    #[test]
    fn a_removed_server_hands_the_pointer_to_its_predecessor() {
        let rr: Arc<RoundRobin> = Arc::default();
        let mut list = servers(&[1, 1, 1, 1]);
        assert_eq!(picks(&*rr, &list, 2), [0, 1]);
        let (server, predecessor) = (list.remove(1), Some(list[0].id()));
        let next = rr.successor(ServerEvent::Removed { server: &server, predecessor });
        assert_eq!(picks(&*next, &list, 3), [1, 2, 0]);
    }
}

#[cfg(all(test, feature = "loom"))]
mod loom_models {
    use super::super::testing::{model, picks, servers};
    use super::*;
    use loom::thread;

    /// Two workers make two choices each: every server is chosen as often as every other.
    #[test]
    fn every_server_has_its_turn() {
        model(|| {
            let (rr, list) = (Arc::new(RoundRobin::default()), Arc::new(servers(&[1, 1])));
            let (same, servers) = (Arc::clone(&rr), Arc::clone(&list));
            let other = thread::spawn(move || picks(&*same, &servers, 2));
            let mut chosen = picks(&*rr, &list, 2);
            chosen.extend(other.join().expect("the model's thread"));
            chosen.sort_unstable();
            assert_eq!(chosen, [0, 0, 1, 1]);
        });
    }

    /// A worker with the old list chooses while the server under the pointer is taken out: it does not choose that
    /// one, and the walk goes on behind its choice.
    #[test]
    fn a_removal_loses_nobody() {
        model(|| {
            let (rr, list) = (Arc::new(RoundRobin::default()), Arc::new(servers(&[1, 1, 1])));
            assert_eq!(picks(&*rr, &list, 2), [0, 1]);
            let (same, servers) = (Arc::clone(&rr), Arc::clone(&list));
            let worker = thread::spawn(move || picks(&*same, &servers, 1));
            list[1].set_available(false);
            let left = vec![Arc::clone(&list[0]), Arc::clone(&list[2])];
            let event = ServerEvent::Removed { server: &list[1], predecessor: Some(list[0].id()) };
            let next = rr.successor(event);
            assert_eq!(worker.join().expect("the model's thread"), [2]);
            assert_eq!(picks(&*next, &left, 2), [0, 1]);
        });
    }
}
