//! Round robin: every usable server in turn, weights ignored.
//!
//! Cost: the walk to the next usable server. Source: `ipvsadm(8)`, `rr`.

use super::{Request, Scheduler, Selection, ServerEvent, Servers};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// No server was chosen yet: the place before the list's head (a [`crate::service::ServerId`] is never 0).
const BEFORE_HEAD: u32 = 0;

/// The pointer into the list, shared by all snapshots. `Relaxed` is enough: the pointer is the only
/// thing that is read and written, and the exchange decides between workers.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    last: AtomicU32,
}

impl Scheduler for RoundRobin {
    fn name(&self) -> &'static str {
        "rr"
    }

    fn select(&self, _request: &Request<'_>, servers: Servers<'_>) -> Selection {
        let mut last = self.last.load(Relaxed);
        loop {
            let start = servers.iter().position(|s| s.id().0 == last).map_or(0, |place| place + 1);
            let places = (start..servers.len()).chain(0..start);
            let Some(place) = places.into_iter().find(|place| servers[*place].is_usable()) else {
                return Selection::NoServer;
            };
            match self.last.compare_exchange_weak(last, servers[place].id().0, Relaxed, Relaxed) {
                Ok(_) => return Selection::Server(place),
                Err(moved) => last = moved,
            }
        }
    }

    fn successor(self: Arc<Self>, event: ServerEvent, _servers: Servers<'_>) -> Arc<dyn Scheduler> {
        if let ServerEvent::Removed { server, predecessor } = event {
            let predecessor = predecessor.map_or(BEFORE_HEAD, |p| p.0);
            // Only when the pointer stands there: another worker may have moved it on.
            let _ = self.last.compare_exchange(server.0, predecessor, Relaxed, Relaxed);
        }
        self
    }
}

#[cfg(test)]
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
        let (server, predecessor) = (list[1].id(), Some(list[0].id()));
        list.remove(1);
        let next = rr.successor(ServerEvent::Removed { server, predecessor }, &list);
        assert_eq!(picks(&*next, &list, 3), [1, 2, 0]);
    }
}
