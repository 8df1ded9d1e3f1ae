//! What a real server carries, and whether that is too much: connections, thresholds, overload. All workers
//! write here.

use crate::shared::{AtomicBool, AtomicU64};
use std::sync::atomic::Ordering::SeqCst;

const ONE_INACTIVE: u64 = 1;
const ONE_ACTIVE: u64 = 1 << 32;

/// Connections and thresholds of a server.
///
/// Both counts are in one word, so that their sum is always one that was; so are both thresholds, so that nobody sees
/// the upper one of an edit with the lower one of another. All is read and written in one order that all workers
/// see (`SeqCst`): who changes the overload looks again afterwards at what it follows from, and so either sees what
/// another thread did meanwhile, or the other sees the new overload and mends it. The overload is swapped rather
/// than stored, so that who changes it after an edit sees the edit's thresholds too.
#[derive(Debug)]
pub(super) struct Load {
    /// Active connections in the upper half, inactive ones in the lower.
    counts: AtomicU64,
    /// The upper threshold in the upper half, the lower one in the lower.
    thresholds: AtomicU64,
    overloaded: AtomicBool,
}

impl Default for Load {
    fn default() -> Self {
        Self { counts: AtomicU64::new(0), thresholds: AtomicU64::new(0), overloaded: AtomicBool::new(false) }
    }
}

impl Load {
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

    /// The upper and the lower threshold; 0 = none.
    pub(super) fn thresholds(&self) -> (u32, u32) {
        let Thresholds { upper, lower } = self.limits();
        (upper, lower)
    }

    pub(super) fn is_overloaded(&self) -> bool {
        self.overloaded.load(SeqCst)
    }

    /// Sets the thresholds as an edit does: a raised or removed upper one lifts the overload; a lowered one
    /// counts from the next connection on.
    pub(super) fn set_thresholds(&self, upper: u32, lower: u32) {
        let new = Thresholds { upper, lower };
        let old = Thresholds::of(self.thresholds.swap(new.word(), SeqCst));
        if new.lift(old) {
            self.overloaded.swap(false, SeqCst);
        }
    }

    /// Another connection, an inactive one.
    pub(super) fn add(&self) {
        self.counts.fetch_add(ONE_INACTIVE, SeqCst);
        self.after_more();
    }

    /// A connection less.
    pub(super) fn remove(&self, was_active: bool) {
        self.counts.fetch_sub(if was_active { ONE_ACTIVE } else { ONE_INACTIVE }, SeqCst);
        self.after_less();
    }

    /// A connection became active, or ceased to be.
    pub(super) fn set_active(&self, active: bool) {
        if active {
            self.counts.fetch_add(ONE_ACTIVE - ONE_INACTIVE, SeqCst);
        } else {
            self.counts.fetch_sub(ONE_ACTIVE - ONE_INACTIVE, SeqCst);
        }
    }

    /// Something was bound: too much is too much. An edit that lifts the overload meanwhile counts as before it.
    pub(super) fn after_more(&self) {
        let mut limits = self.limits();
        while limits.are_reached(self.total()) {
            self.overloaded.swap(true, SeqCst);
            let before = std::mem::replace(&mut limits, self.limits());
            if limits == before || !limits.lift(before) {
                // What another took away meanwhile may have met the old overload.
                return self.after_less();
            }
            self.overloaded.swap(false, SeqCst);
        }
    }

    /// Something has gone: enough has gone when the lower threshold is passed, or a quarter of the upper.
    pub(super) fn after_less(&self) {
        if self.is_overloaded() && self.limits().are_relieved(self.total()) {
            self.overloaded.swap(false, SeqCst);
            if self.limits().are_reached(self.total()) {
                self.after_more();
            }
        }
    }

    fn limits(&self) -> Thresholds {
        Thresholds::of(self.thresholds.load(SeqCst))
    }
}

/// Both thresholds of one edit; 0 = none.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Thresholds {
    upper: u32,
    lower: u32,
}

impl Thresholds {
    const fn of(word: u64) -> Self {
        Self { upper: (word >> 32) as u32, lower: word as u32 }
    }

    const fn word(self) -> u64 {
        (self.upper as u64) << 32 | self.lower as u64
    }

    /// Whether an edit from `old` to these lifts the overload.
    const fn lift(self, old: Self) -> bool {
        self.upper == 0 || self.upper > old.upper
    }

    fn are_reached(self, total: u64) -> bool {
        self.upper != 0 && total >= self.upper.into()
    }

    fn are_relieved(self, total: u64) -> bool {
        match (self.upper, self.lower) {
            (0, 0) => true,
            (upper, 0) => total * 4 < u64::from(upper) * 3,
            (_, lower) => total < lower.into(),
        }
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    #[test]
    fn overload_ends_at_three_quarters_of_the_upper_threshold() {
        let load = Load::default();
        load.set_thresholds(4, 0);
        for _ in 0..4 {
            assert!(!load.is_overloaded());
            load.add();
        }
        assert!(load.is_overloaded());
        load.remove(false);
        assert!(load.is_overloaded(), "3 of 4 is still full");
        load.remove(false);
        assert!(!load.is_overloaded(), "2 of 4 is open again");
    }

    #[test]
    fn a_lowered_threshold_counts_from_the_next_connection_on() {
        let load = Load::default();
        (0..3).for_each(|_| load.add());
        load.set_thresholds(2, 1);
        assert!(!load.is_overloaded());
        load.remove(false);
        assert!(!load.is_overloaded());
        load.add();
        assert!(load.is_overloaded());
        load.set_thresholds(9, 1);
        assert!(!load.is_overloaded(), "raised");
    }

    #[test]
    fn both_counts_move_together() {
        let load = Load::default();
        (0..2).for_each(|_| load.add());
        load.set_active(true);
        assert_eq!((load.active(), load.inactive(), load.total()), (1, 1, 2));
        load.set_active(false);
        load.remove(false);
        assert_eq!((load.active(), load.inactive()), (0, 1));
    }
}

#[cfg(all(test, feature = "loom"))]
mod loom_models {
    use super::*;
    use loom::thread;
    use std::sync::Arc;

    /// However a connection that comes and one that goes meet, the overload agrees with what is left.
    #[test]
    fn overload_agrees_with_the_counts() {
        loom::model(|| {
            let load = Arc::new(Load::default());
            load.set_thresholds(2, 2);
            load.add();
            let other = Arc::clone(&load);
            let going = thread::spawn(move || other.remove(false));
            load.add();
            going.join().expect("the model's thread");
            assert_eq!((load.total(), load.is_overloaded()), (1, false));
            load.add();
            assert!(load.is_overloaded());
        });
    }

    /// Nobody sees the upper threshold of one edit with the lower one of another.
    #[test]
    fn thresholds_change_together() {
        loom::model(|| {
            let load = Arc::new(Load::default());
            load.set_thresholds(10, 4);
            let other = Arc::clone(&load);
            let edit = thread::spawn(move || other.set_thresholds(4, 2));
            assert!([(10, 4), (4, 2)].contains(&load.thresholds()));
            edit.join().expect("the model's thread");
            assert_eq!(load.thresholds(), (4, 2));
        });
    }

    /// A connection that an edit meets is judged by the thresholds before it or after it, and leaves no overload
    /// behind that neither order would.
    #[test]
    fn an_edit_that_lifts_the_overload_is_not_undone() {
        loom::model(|| {
            let load = Arc::new(Load::default());
            load.set_thresholds(1, 0);
            let other = Arc::clone(&load);
            let edit = thread::spawn(move || other.set_thresholds(2, 0));
            load.add();
            edit.join().expect("the model's thread");
            assert!(!load.is_overloaded(), "1 of 2");
        });
    }

    /// No moment shows a connection twice, or not at all.
    #[test]
    fn the_sum_is_always_one_that_was() {
        loom::model(|| {
            let load = Arc::new(Load::default());
            load.add();
            let other = Arc::clone(&load);
            let opening = thread::spawn(move || other.set_active(true));
            assert_eq!(load.total(), 1);
            opening.join().expect("the model's thread");
            assert_eq!((load.active(), load.inactive()), (1, 0));
        });
    }
}
