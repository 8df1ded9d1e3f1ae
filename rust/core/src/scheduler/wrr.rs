//! Weighted round robin: thresholds fall from the largest weight to the smallest step, and at each
//! the servers that reach it are taken in list order. Over a cycle of Σw / gcd choices every server
//! is taken as often as its weight says.
//!
//! Cost: at most six walks of the list, whatever the weights are: thresholds that no server reaches which may be
//! chosen are passed over in one step.
//! Source: `ipvsadm(8)`, `wrr`.

use super::weights::Weights;
use super::{Request, Scheduler, Selection, ServerEvent, Servers};
use crate::shared::AtomicU64;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// What follows from the list, and the position that all snapshots share.
#[derive(Clone, Debug)]
pub(super) struct WeightedRoundRobin {
    weights: Weights,
    /// Their greatest common divisor.
    step: u32,
    /// The highest threshold; 0 when no server has a weight.
    highest: u32,
    /// The last server's id (0: before the head) in the upper half, the threshold in the lower.
    /// `Relaxed` is enough: both travel in one word, and the exchange decides between workers.
    position: Arc<AtomicU64>,
}

impl WeightedRoundRobin {
    pub(super) fn new(servers: Servers<'_>) -> Self {
        let weights = Weights::of(servers);
        let (step, highest) = thresholds(&weights);
        Self { weights, step, highest, position: Arc::new(AtomicU64::new(pack(0, highest))) }
    }
}

const fn pack(last: u32, threshold: u32) -> u64 {
    (last as u64) << 32 | threshold as u64
}

/// The step and the highest threshold.
fn thresholds(weights: &Weights) -> (u32, u32) {
    let (divisor, largest) = weights.divisor_and_largest();
    let step = divisor.max(1);
    (step, largest.saturating_sub(step - 1))
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

    fn successor(self: Arc<Self>, event: ServerEvent<'_>) -> Arc<dyn Scheduler> {
        // After a change's first event nobody else has it.
        let mut this = Arc::unwrap_or_clone(self);
        match event {
            ServerEvent::Added(server) | ServerEvent::Edited(server) => {
                this.weights.set(server.id(), server.weight());
            }
            ServerEvent::Removed { server, .. } => this.weights.remove(server.id()),
        }
        let (step, highest) = thresholds(&this.weights);
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
        let _ = this.position.fetch_update(Relaxed, Relaxed, next);
        Arc::new(Self { step, highest, ..this })
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
        let mut reached = None;
        loop {
            for (place, server) in servers.iter().enumerate().skip(from) {
                let weight = server.effective_weight();
                if weight > 0 && weight >= threshold {
                    return (Some(place), pack(server.id().0, threshold));
                }
                if last_pass && began == Some(place) {
                    return (None, pack(server.id().0, threshold));
                }
            }
            let reached = *reached.get_or_insert_with(|| most_that_may_be_chosen(servers));
            threshold = self.fall(threshold, reached);
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

    /// The next threshold that a server of weight `reached` reaches, or that is not above the step, where a walk
    /// may end; 0 behind the last.
    fn fall(&self, threshold: u32, reached: u32) -> u32 {
        let next = threshold.saturating_sub(self.step);
        let bound = reached.max(self.step);
        next - next.saturating_sub(bound).div_ceil(self.step) * self.step
    }
}

/// The largest weight of a server that may be chosen; 0 when there is none.
fn most_that_may_be_chosen(servers: Servers<'_>) -> u32 {
    servers.iter().map(|server| server.effective_weight()).max().unwrap_or(0)
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::super::testing::{picks, servers};
    use super::*;
    use proptest::prelude::*;

    /// The walk that passes nothing over.
    fn plain(
        wrr: &WeightedRoundRobin,
        servers: Servers<'_>,
        last: u32,
        threshold: u32,
    ) -> (Option<usize>, u64) {
        let began = servers.iter().position(|server| server.id().0 == last);
        let (mut threshold, mut restarted, mut from) = (threshold, false, began.map_or(0, |place| place + 1));
        if wrr.highest == 0 {
            return (None, pack(last, threshold));
        }
        loop {
            let is_last = restarted && threshold <= wrr.step && began.is_some();
            for (place, server) in servers.iter().enumerate().skip(from) {
                let id = server.id().0;
                if server.weight() >= threshold && server.is_usable() {
                    return (Some(place), pack(id, threshold));
                }
                if is_last && began == Some(place) {
                    return (None, pack(id, threshold));
                }
            }
            (threshold, from) = (threshold.saturating_sub(wrr.step), 0);
            if threshold == 0 {
                threshold = wrr.highest;
                if restarted || began.is_none() {
                    return (None, pack(0, threshold));
                }
                restarted = true;
            }
        }
    }

    /// Each with whether the server is overloaded.
    type Loads = Vec<(u32, bool)>;

    /// Weights with a common divisor, which one edit may have broken; overloaded servers; how often it was chosen
    /// before, and an edit.
    fn service() -> impl Strategy<Value = (Loads, usize, Option<(usize, u32)>)> {
        let servers =
            (1_u32..6, prop::collection::vec((0_u32..30, any::<bool>()), 0..6)).prop_map(|(step, all)| {
                all.into_iter().map(|(weight, overloaded)| (weight * step, overloaded)).collect()
            });
        (servers, 0_usize..40, prop::option::of((0_usize..6, 0_u32..40)))
    }

    proptest! {
        #[test]
        fn thresholds_that_nobody_reaches_are_passed_over((all, before, edit) in service()) {
            let weights: Vec<_> = all.iter().map(|(weight, _)| *weight).collect();
            let list = servers(&weights);
            let mut wrr = Arc::new(WeightedRoundRobin::new(&list));
            for turn in 0..before + 40 {
                if turn == before {
                    for (server, (_, overloaded)) in list.iter().zip(&all) {
                        server.set_thresholds(u32::from(*overloaded), 0);
                        server.bind();
                    }
                    if let Some((place, weight)) = edit && let Some(server) = list.get(place) {
                        server.set_weight(weight);
                        let weights = Weights::of(&list);
                        let (step, highest) = thresholds(&weights);
                        // Some edits are not told yet: the worker still has the snapshot before.
                        if weight % 2 == 0 {
                            wrr = Arc::new(WeightedRoundRobin { weights, step, highest, position: Arc::clone(&wrr.position) });
                        }
                    }
                }
                let position = wrr.position.load(Relaxed);
                let expected = plain(&wrr, &list, (position >> 32) as u32, position as u32);
                prop_assert_eq!(wrr.walk(&list, (position >> 32) as u32, position as u32), expected);
                wrr.position.store(expected.1, Relaxed);
            }
        }
    }

    /// One by one, the thresholds between would take seconds.
    #[test]
    fn weights_far_apart_cost_no_more_than_others() {
        let list = servers(&[2_147_483_647, 1]);
        list[0].set_thresholds(1, 0);
        list[0].bind();
        let wrr = WeightedRoundRobin::new(&list);
        let began = std::time::Instant::now();
        assert_eq!(picks(&wrr, &list, 1_000), [1; 1_000]);
        assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}", began.elapsed());
    }

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
            wrr = wrr.successor(ServerEvent::Added(&list[0]));
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
