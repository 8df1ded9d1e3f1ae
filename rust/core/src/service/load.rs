//! What a real server carries, and whether that is too much: connections, thresholds, overload. All workers
//! write here.

use crate::shared::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

const ONE_INACTIVE: u64 = 1;
const ONE_ACTIVE: u64 = 1 << 32;

/// Connections and thresholds of a server.
///
/// Both counts are in one word, so that their sum is always one that was. Counts and overload are read and
/// written in one order that all workers see (`SeqCst`): who changes the overload looks at the counts again
/// afterwards, and so either sees what another worker did meanwhile, or the other sees the new overload and
/// mends it. The thresholds themselves change only with the configuration: `Relaxed`.
#[derive(Debug)]
pub(super) struct Load {
    /// Active connections in the upper half, inactive ones in the lower.
    counts: AtomicU64,
    upper: AtomicU32,
    lower: AtomicU32,
    overloaded: AtomicBool,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            counts: AtomicU64::new(0),
            upper: AtomicU32::new(0),
            lower: AtomicU32::new(0),
            overloaded: AtomicBool::new(false),
        }
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
        (self.upper.load(Relaxed), self.lower.load(Relaxed))
    }

    pub(super) fn is_overloaded(&self) -> bool {
        self.overloaded.load(SeqCst)
    }

    /// Sets the thresholds as an edit does: a raised or removed upper one lifts the overload; a lowered one
    /// counts from the next connection on.
    pub(super) fn set_thresholds(&self, upper: u32, lower: u32) {
        let old = self.upper.swap(upper, Relaxed);
        self.lower.store(lower, Relaxed);
        if upper == 0 || upper > old {
            self.overloaded.store(false, SeqCst);
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

    /// Something was bound: too much is too much.
    pub(super) fn after_more(&self) {
        if self.is_full() {
            self.overloaded.store(true, SeqCst);
            if self.is_relieved() {
                self.after_less();
            }
        }
    }

    /// Something has gone: enough has gone when the lower threshold is passed, or a quarter of the upper.
    pub(super) fn after_less(&self) {
        if self.is_overloaded() && self.is_relieved() {
            self.overloaded.store(false, SeqCst);
            if self.is_full() {
                self.after_more();
            }
        }
    }

    fn is_full(&self) -> bool {
        let upper = self.upper.load(Relaxed);
        upper != 0 && self.total() >= upper.into()
    }

    fn is_relieved(&self) -> bool {
        match self.thresholds() {
            (0, 0) => true,
            (upper, 0) => self.total() * 4 < u64::from(upper) * 3,
            (_, lower) => self.total() < lower.into(),
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
