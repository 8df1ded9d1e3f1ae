//! Weighted round robin: thresholds fall from the largest weight to the smallest step, and at each
//! the servers that reach it are taken in list order. Over a cycle of Σw / gcd choices every server
//! is taken as often as its weight says.
//!
//! Cost: a walk of the list for each threshold without a server, at most max(w) / gcd of them.
//! Source: `ipvsadm(8)`, `wrr`.

use super::hash::greatest_common_divisor;
use super::{Request, Scheduler, Selection, ServerEvent, Servers};
use crate::shared::AtomicU64;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// What follows from the list, and the position that all snapshots share.
#[derive(Debug)]
pub(super) struct WeightedRoundRobin {
    step: u32,
    /// The highest threshold; 0 when no server has a weight.
    highest: u32,
    /// The last server's id (0: before the head) in the upper half, the threshold in the lower.
    /// `Relaxed` is enough: both travel in one word, and the exchange decides between workers.
    position: Arc<AtomicU64>,
}

impl WeightedRoundRobin {
    pub(super) fn new(servers: Servers<'_>) -> Self {
        let (step, highest) = thresholds(servers);
        Self { step, highest, position: Arc::new(AtomicU64::new(pack(0, highest))) }
    }
}

const fn pack(last: u32, threshold: u32) -> u64 {
    (last as u64) << 32 | threshold as u64
}

fn thresholds(servers: Servers<'_>) -> (u32, u32) {
    let weights = || servers.iter().map(|s| s.weight()).filter(|w| *w > 0);
    let step = weights().fold(0, greatest_common_divisor).max(1);
    (step, weights().max().map_or(0, |highest| highest - (step - 1)))
}

impl Scheduler for WeightedRoundRobin {
    fn name(&self) -> &'static str {
        "wrr"
    }

    fn select(&self, _request: &Request<'_>, servers: Servers<'_>) -> Selection {
        let mut old = self.position.load(Relaxed);
        loop {
            let (chosen, new) = self.walk(servers, (old >> 32) as u32, old as u32);
            match self.position.compare_exchange_weak(old, new, Relaxed, Relaxed) {
                Ok(_) => return chosen.into(),
                Err(moved) => old = moved,
            }
        }
    }

    fn successor(self: Arc<Self>, _event: ServerEvent, servers: Servers<'_>) -> Arc<dyn Scheduler> {
        let (step, highest) = thresholds(servers);
        let next = |old: u64| {
            let threshold = old as u32;
            Some(pack(
                0,
                match threshold {
                    t if t > highest || t == 0 => highest,
                    t if step > 1 => t / step * step + 1,
                    t => t,
                },
            ))
        };
        // Never refused: the closure always has an answer.
        let _ = self.position.fetch_update(Relaxed, Relaxed, next);
        Arc::new(Self { step, highest, position: Arc::clone(&self.position) })
    }
}

impl WeightedRoundRobin {
    /// Walks on from `last` at `threshold`: the place chosen, and where the walk ended.
    fn walk(&self, servers: Servers<'_>, last: u32, mut threshold: u32) -> (Option<usize>, u64) {
        if self.highest == 0 {
            return (None, pack(last, threshold));
        }
        let began = servers.iter().position(|s| s.id().0 == last);
        let (mut from, mut restarted, mut last_pass) = (began.map_or(0, |place| place + 1), false, false);
        loop {
            for (place, server) in servers.iter().enumerate().skip(from) {
                if server.weight() >= threshold && server.is_usable() {
                    return (Some(place), pack(server.id().0, threshold));
                }
                if last_pass && began == Some(place) {
                    return (None, pack(server.id().0, threshold));
                }
            }
            threshold = threshold.saturating_sub(self.step);
            if threshold == 0 {
                threshold = self.highest;
                if restarted || began.is_none() {
                    return (None, pack(0, threshold));
                }
                restarted = true;
            }
            last_pass = restarted && threshold <= self.step && began.is_some();
            from = 0;
        }
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::super::testing::{picks, servers};
    use super::*;

    #[test]
    fn heavy_servers_come_first_and_as_often_as_they_weigh() {
        let list = servers(&[3, 2, 1]);
        assert_eq!(picks(&WeightedRoundRobin::new(&list), &list, 7), [0, 0, 1, 0, 1, 2, 0]);
        let list = servers(&[0, 4, 2]);
        assert_eq!(picks(&WeightedRoundRobin::new(&list), &list, 6), [1, 1, 2, 1, 1, 2]);
        let list = servers(&[0, 0]);
        assert_eq!(picks(&WeightedRoundRobin::new(&list), &list, 2), [-1, -1]);
    }

    #[test]
    fn a_fresh_service_starts_at_the_threshold_of_its_first_server() {
        let mut list = Vec::new();
        let mut wrr: Arc<dyn Scheduler> = Arc::new(WeightedRoundRobin::new(&list));
        for server in servers(&[1, 3]) {
            list.insert(0, server);
            wrr = wrr.successor(ServerEvent::Added(list[0].id()), &list);
        }
        assert_eq!(picks(&*wrr, &list, 6), [0, 1, 0, 0, 0, 1]);
    }
}

#[cfg(all(test, feature = "loom"))]
mod loom_models {
    use super::super::testing::{model, picks, servers};
    use super::*;
    use loom::thread;

    /// Two workers share a cycle: every server is chosen as often as its weight says.
    #[test]
    fn a_cycle_is_exact_whoever_chooses() {
        model(|| {
            let list = Arc::new(servers(&[2, 1]));
            let wrr = Arc::new(WeightedRoundRobin::new(&list));
            let (same, servers) = (Arc::clone(&wrr), Arc::clone(&list));
            let other = thread::spawn(move || picks(&*same, &servers, 2));
            let mut chosen = picks(&*wrr, &list, 1);
            chosen.extend(other.join().expect("the model's thread"));
            chosen.sort_unstable();
            assert_eq!(chosen, [0, 0, 1]);
        });
    }
}
