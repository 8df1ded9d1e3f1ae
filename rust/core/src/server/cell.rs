//! What schedulers ask about a server: its connections, and the weight that counts. 16 bytes that all workers write.

use crate::shared::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

const ONE_INACTIVE: u64 = 1;
const ONE_ACTIVE: u64 = 1 << 32;

/// With its upper threshold reached it gets no new connections.
const OVERLOADED: u64 = 1;
/// Nor does one that was deleted, while a worker still has the list with it.
const GONE: u64 = 1 << 1;
const WEIGHT: u32 = 32;

/// The counts and the standing of a server, each in one word.
///
/// Both counts are in one, so that their sum is always one that was. The configured weight and all that keeps new
/// connections away whatever it is are in the other, so that the *effective* weight is a fact of one moment: the configured
/// one where nothing keeps them away, else 0. All is read and written in one order that all workers see (`SeqCst`).
#[derive(Debug)]
pub(super) struct Cell {
    /// Active connections in the upper half, inactive ones in the lower.
    counts: AtomicU64,
    /// The configured weight in the upper half, what keeps connections away in the lower.
    standing: AtomicU64,
}

#[cfg(not(feature = "loom"))]
const _: () = assert!(size_of::<Cell>() == 16);

impl Cell {
    pub(super) fn new(weight: u32) -> Self {
        Self { counts: AtomicU64::new(0), standing: AtomicU64::new(u64::from(weight) << WEIGHT) }
    }

    pub(super) fn active(&self) -> u32 {
        (self.counts.load(SeqCst) >> 32) as u32
    }

    pub(super) fn inactive(&self) -> u32 {
        self.counts.load(SeqCst) as u32
    }

    /// Active and inactive connections together.
    pub(super) fn total(&self) -> u64 {
        let counts = self.counts.load(SeqCst);
        (counts >> 32) + (counts & u64::from(u32::MAX))
    }

    /// Another connection, an inactive one.
    pub(super) fn add(&self) {
        self.counts.fetch_add(ONE_INACTIVE, SeqCst);
    }

    /// A connection less.
    pub(super) fn remove(&self, was_active: bool) {
        self.counts.fetch_sub(if was_active { ONE_ACTIVE } else { ONE_INACTIVE }, SeqCst);
    }

    /// A connection became active, or ceased to be.
    pub(super) fn set_active(&self, active: bool) {
        if active {
            self.counts.fetch_add(ONE_ACTIVE - ONE_INACTIVE, SeqCst);
        } else {
            self.counts.fetch_sub(ONE_ACTIVE - ONE_INACTIVE, SeqCst);
        }
    }

    /// The configured weight.
    pub(super) fn weight(&self) -> u32 {
        (self.standing.load(SeqCst) >> WEIGHT) as u32
    }

    /// The weight that counts; 0: not to be chosen.
    pub(super) fn effective_weight(&self) -> u32 {
        let standing = self.standing.load(SeqCst);
        if standing & (OVERLOADED | GONE) == 0 { (standing >> WEIGHT) as u32 } else { 0 }
    }

    pub(super) fn set_weight(&self, weight: u32) {
        let changed = |standing| Some(standing & u64::from(u32::MAX) | u64::from(weight) << WEIGHT);
        let _always = self.standing.fetch_update(SeqCst, SeqCst, changed);
    }

    pub(super) fn is_overloaded(&self) -> bool {
        self.standing.load(SeqCst) & OVERLOADED != 0
    }

    /// Who calls this after a look at the counts and the thresholds sees them again, or somebody who changed them sees
    /// this: it is a read and a write in one.
    pub(super) fn set_overloaded(&self, overloaded: bool) {
        self.mark(OVERLOADED, overloaded);
    }

    pub(super) fn is_available(&self) -> bool {
        self.standing.load(SeqCst) & GONE == 0
    }

    pub(super) fn set_available(&self, available: bool) {
        self.mark(GONE, !available);
    }

    fn mark(&self, what: u64, set: bool) {
        if set {
            self.standing.fetch_or(what, SeqCst);
        } else {
            self.standing.fetch_and(!what, SeqCst);
        }
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    #[test]
    fn both_counts_move_together() {
        let cell = Cell::new(1);
        (0..2).for_each(|_| cell.add());
        cell.set_active(true);
        assert_eq!((cell.active(), cell.inactive(), cell.total()), (1, 1, 2));
        cell.set_active(false);
        cell.remove(false);
        assert_eq!((cell.active(), cell.inactive()), (0, 1));
    }

    #[test]
    fn whatever_keeps_connections_away_leaves_the_configured_weight_as_it_is() {
        let cell = Cell::new(5);
        for overloaded in [false, true] {
            for available in [false, true] {
                cell.set_overloaded(overloaded);
                cell.set_available(available);
                for weight in [0, 7, u32::MAX] {
                    cell.set_weight(weight);
                    let effective = if overloaded || !available { 0 } else { weight };
                    assert_eq!((cell.weight(), cell.effective_weight()), (weight, effective));
                    assert_eq!((cell.is_overloaded(), cell.is_available()), (overloaded, available));
                }
            }
        }
    }
}

#[cfg(all(test, feature = "loom"))]
mod loom_models {
    use super::*;
    use loom::thread;
    use std::sync::Arc;

    /// No moment shows a connection twice, or not at all.
    #[test]
    fn the_sum_is_always_one_that_was() {
        loom::model(|| {
            let cell = Arc::new(Cell::new(1));
            cell.add();
            let other = Arc::clone(&cell);
            let opening = thread::spawn(move || other.set_active(true));
            assert_eq!(cell.total(), 1);
            opening.join().expect("the model's thread");
            assert_eq!((cell.active(), cell.inactive()), (1, 0));
        });
    }

    /// An edit of the weight and an overload that meet are both in force afterwards, and no reader sees a weight that is
    /// neither of them.
    #[test]
    fn weight_and_overload_change_side_by_side() {
        loom::model(|| {
            let cell = Arc::new(Cell::new(3));
            let other = Arc::clone(&cell);
            let edit = thread::spawn(move || other.set_weight(9));
            cell.set_overloaded(true);
            assert_eq!(cell.effective_weight(), 0);
            edit.join().expect("the model's thread");
            assert_eq!((cell.weight(), cell.effective_weight()), (9, 0));
            cell.set_overloaded(false);
            assert_eq!(cell.effective_weight(), 9);
        });
    }
}
