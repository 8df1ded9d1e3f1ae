//! What a real server carries, and whether that is too much: connections, thresholds, overload. All workers
//! write here.

use super::cell::Cell;
use crate::shared::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

/// Connections, weight and thresholds of a server.
///
/// Both thresholds are in one word, so that nobody sees the upper one of an edit with the lower one of another. All is
/// read and written in one order that all workers see (`SeqCst`): who changes the overload looks again afterwards at what
/// it follows from, and so either sees what another thread did meanwhile, or the other sees the new overload and mends it.
/// The overload is changed by a read and a write in one, so that who changes it after an edit sees the edit's
/// thresholds too.
#[derive(Debug)]
pub(super) struct Load {
    cell: Cell,
    /// The upper threshold in the upper half, the lower one in the lower.
    thresholds: AtomicU64,
}

impl Load {
    pub(super) fn new(weight: u32) -> Self {
        Self { cell: Cell::new(weight), thresholds: AtomicU64::new(0) }
    }

    /// What needs no look at the thresholds: to be read, and to be told of weights and of connections that become active.
    pub(super) const fn cell(&self) -> &Cell {
        &self.cell
    }

    /// The upper and the lower threshold; 0 = none.
    pub(super) fn thresholds(&self) -> (u32, u32) {
        let Thresholds { upper, lower } = self.limits();
        (upper, lower)
    }

    /// Sets the thresholds as an edit does: a raised or removed upper one lifts the overload; a lowered one
    /// counts from the next connection on.
    pub(super) fn set_thresholds(&self, upper: u32, lower: u32) {
        let new = Thresholds { upper, lower };
        let old = Thresholds::of(self.thresholds.swap(new.word(), SeqCst));
        if new.lift(old) {
            self.cell.set_overloaded(false);
        }
    }

    /// Another connection, an inactive one.
    pub(super) fn add(&self) {
        self.cell.add();
        self.after_more();
    }

    /// A connection less.
    pub(super) fn remove(&self, was_active: bool) {
        self.cell.remove(was_active);
        self.after_less();
    }

    /// Something was bound: too much is too much. An edit that lifts the overload meanwhile counts as before it.
    pub(super) fn after_more(&self) {
        let mut limits = self.limits();
        while limits.are_reached(self.cell.total()) {
            self.cell.set_overloaded(true);
            let before = std::mem::replace(&mut limits, self.limits());
            if limits == before || !limits.lift(before) {
                // What another took away meanwhile may have met the old overload.
                return self.after_less();
            }
            self.cell.set_overloaded(false);
        }
    }

    /// Something has gone: enough has gone when the lower threshold is passed, or a quarter of the upper.
    pub(super) fn after_less(&self) {
        if self.cell.is_overloaded() && self.limits().are_relieved(self.cell.total()) {
            self.cell.set_overloaded(false);
            if self.limits().are_reached(self.cell.total()) {
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
        let load = Load::new(1);
        load.set_thresholds(4, 0);
        for _ in 0..4 {
            assert!(!load.cell().is_overloaded());
            load.add();
        }
        assert!(load.cell().is_overloaded());
        load.remove(false);
        assert!(load.cell().is_overloaded(), "3 of 4 is still full");
        load.remove(false);
        assert!(!load.cell().is_overloaded(), "2 of 4 is open again");
    }

    #[test]
    fn a_lowered_threshold_counts_from_the_next_connection_on() {
        let load = Load::new(1);
        (0..3).for_each(|_| load.add());
        load.set_thresholds(2, 1);
        assert!(!load.cell().is_overloaded());
        load.remove(false);
        assert!(!load.cell().is_overloaded());
        load.add();
        assert!(load.cell().is_overloaded());
        load.set_thresholds(9, 1);
        assert!(!load.cell().is_overloaded(), "raised");
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
            let load = Arc::new(Load::new(1));
            load.set_thresholds(2, 2);
            load.add();
            let other = Arc::clone(&load);
            let going = thread::spawn(move || other.remove(false));
            load.add();
            going.join().expect("the model's thread");
            assert_eq!((load.cell().total(), load.cell().is_overloaded()), (1, false));
            load.add();
            assert!(load.cell().is_overloaded());
        });
    }

    /// Nobody sees the upper threshold of one edit with the lower one of another.
    #[test]
    fn thresholds_change_together() {
        loom::model(|| {
            let load = Arc::new(Load::new(1));
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
            let load = Arc::new(Load::new(1));
            load.set_thresholds(1, 0);
            let other = Arc::clone(&load);
            let edit = thread::spawn(move || other.set_thresholds(2, 0));
            load.add();
            edit.join().expect("the model's thread");
            assert!(!load.cell().is_overloaded(), "1 of 2");
        });
    }
}
