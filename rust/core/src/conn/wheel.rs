//! When entries expire: a hierarchical timer wheel over indices, so that setting, moving and firing a
//! timer cost the same however many there are (Varghese and Lauck, 1987).

use crate::time::Instant;

/// No entry.
const NONE: u32 = u32::MAX;
/// The wheel's resolution: an entry fires at the first tick that is not before its deadline.
const TICK_NANOS: u64 = 1_000_000;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// Six levels of 64 slots of a millisecond reach 2.1 years.
const LEVELS: usize = 6;
const LONGEST: u64 = 1 << (SLOT_BITS * LEVELS as u32);

/// Timers of entries that are named by small numbers.
#[derive(Debug)]
pub struct Wheel {
    /// The tick up to which everything has fired.
    elapsed: u64,
    levels: [Level; LEVELS],
    /// One for each entry ever named, linked into its slot's list.
    timers: Vec<Timer>,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    /// Bit n says whether slot n has timers.
    occupied: u64,
    heads: [u32; SLOTS],
}

#[derive(Clone, Copy, Debug)]
struct Timer {
    due: u64,
    previous: u32,
    next: u32,
    /// `level * SLOTS + slot`; `IDLE` when the timer is not set.
    place: u16,
}

const IDLE: u16 = u16::MAX;

impl Default for Wheel {
    fn default() -> Self {
        Self { elapsed: 0, levels: [Level { occupied: 0, heads: [NONE; SLOTS] }; LEVELS], timers: Vec::new() }
    }
}

impl Wheel {
    /// Sets the timer of `entry`, which may be set already.
    pub fn set(&mut self, entry: u32, deadline: Instant) {
        let needed = entry as usize + 1;
        if self.timers.len() < needed {
            self.timers.resize(needed, Timer { due: 0, previous: NONE, next: NONE, place: IDLE });
        }
        self.cancel(entry);
        self.timers[entry as usize].due = tick_not_before(deadline);
        self.link(entry);
    }

    /// Sets the timer of `entry` unless it already fires at or before `deadline`: an entry whose
    /// deadline only moves away is left where it is, and looked at again when it fires.
    pub fn set_no_later(&mut self, entry: u32, deadline: Instant) {
        match self.timers.get(entry as usize) {
            Some(timer) if timer.place != IDLE && timer.due <= tick_not_before(deadline) => {}
            _ => self.set(entry, deadline),
        }
    }

    /// Takes the timer of `entry` back, if it is set.
    pub fn cancel(&mut self, entry: u32) {
        let Some(Timer { previous, next, place, .. }) = self.timers.get(entry as usize).copied() else {
            return;
        };
        if place == IDLE {
            return;
        }
        let (level, slot) = (usize::from(place) / SLOTS, usize::from(place) % SLOTS);
        if next != NONE {
            self.timers[next as usize].previous = previous;
        }
        if previous == NONE {
            let level = &mut self.levels[level];
            level.heads[slot] = next;
            if next == NONE {
                level.occupied &= !(1 << slot);
            }
        } else {
            self.timers[previous as usize].next = next;
        }
        self.timers[entry as usize].place = IDLE;
    }

    /// The time up to which everything has fired.
    pub fn time(&self) -> Instant {
        Instant::from_nanos(self.elapsed * TICK_NANOS)
    }

    /// Takes out one entry whose time has come by `now`; `None` when there is no other. Entries come
    /// in the order of their deadlines, to the tick.
    pub fn pop(&mut self, now: Instant) -> Option<u32> {
        let target = now.as_nanos() / TICK_NANOS;
        loop {
            let Some((level, slot, start)) = self.first_occupied().filter(|(.., start)| *start <= target)
            else {
                self.elapsed = self.elapsed.max(target);
                return None;
            };
            self.elapsed = self.elapsed.max(start);
            if level == 0 {
                let entry = self.levels[0].heads[slot];
                self.cancel(entry);
                if self.timers[entry as usize].due <= self.elapsed {
                    return Some(entry);
                }
                // It lay beyond the last level's reach when it was set.
                self.link(entry);
            } else {
                self.refine(level, slot);
            }
        }
    }

    /// A slot of a coarse level has come near: all its timers move to finer ones, before any fires.
    fn refine(&mut self, level: usize, slot: usize) {
        let mut entry = std::mem::replace(&mut self.levels[level].heads[slot], NONE);
        self.levels[level].occupied &= !(1 << slot);
        while entry != NONE {
            let next = self.timers[entry as usize].next;
            self.link(entry);
            entry = next;
        }
    }

    /// The level, slot and first tick of the nearest slot with timers.
    fn first_occupied(&self) -> Option<(usize, usize, u64)> {
        for (number, level) in self.levels.iter().enumerate() {
            if level.occupied == 0 {
                continue;
            }
            let shift = SLOT_BITS * number as u32;
            let position = (self.elapsed >> shift) & (SLOTS as u64 - 1);
            let ahead = level.occupied.rotate_right(position as u32).trailing_zeros();
            let slot = (position as usize + ahead as usize) % SLOTS;
            let start = ((self.elapsed >> shift) + u64::from(ahead)) << shift;
            return Some((number, slot, start));
        }
        None
    }

    fn link(&mut self, entry: u32) {
        // What is due already still fires at the next look, and what lies beyond the last level is
        // looked at again on the way there.
        let due = self.timers[entry as usize].due.clamp(self.elapsed, self.elapsed + LONGEST / 2);
        let differing = 64 - (self.elapsed ^ due | 1).leading_zeros();
        let level = (((differing - 1) / SLOT_BITS) as usize).min(LEVELS - 1);
        let slot = (due >> (SLOT_BITS * level as u32)) as usize % SLOTS;
        let head = self.levels[level].heads[slot];
        if head != NONE {
            self.timers[head as usize].previous = entry;
        }
        self.levels[level].heads[slot] = entry;
        self.levels[level].occupied |= 1 << slot;
        let timer = &mut self.timers[entry as usize];
        timer.previous = NONE;
        timer.next = head;
        timer.place = (level * SLOTS + slot) as u16;
    }
}

fn tick_not_before(deadline: Instant) -> u64 {
    deadline.as_nanos().div_ceil(TICK_NANOS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn fires_at_its_deadline_and_not_before() {
        let mut wheel = Wheel::default();
        wheel.set(7, at(60_000));
        assert_eq!(wheel.pop(at(59_999)), None);
        assert_eq!(wheel.pop(at(60_000)), Some(7));
        assert_eq!(wheel.pop(at(120_000)), None);
    }

    #[test]
    fn a_timer_that_moves_away_is_left_and_one_that_comes_near_is_moved() {
        let mut wheel = Wheel::default();
        wheel.set(0, at(1_000));
        wheel.set_no_later(0, at(900_000));
        assert_eq!(wheel.pop(at(1_000)), Some(0), "looked at when the old time comes");
        wheel.set(0, at(900_000));
        wheel.set_no_later(0, at(10_000));
        assert_eq!(wheel.pop(at(10_000)), Some(0));
    }

    proptest! {
        /// Against an ordered map: the same entries fire by the same times, in order.
        #[test]
        fn agrees_with_an_ordered_map(steps in prop::collection::vec((0u32..40, 0u64..4_000_000, 0u64..200_000, any::<bool>()), 1..120)) {
            let mut wheel = Wheel::default();
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = 0;
            for (entry, delay, step, cancel) in steps {
                if cancel {
                    wheel.cancel(entry);
                    model.remove(&entry);
                } else {
                    wheel.set(entry, at(now + delay));
                    model.insert(entry, now + delay);
                }
                now += step;
                let mut fired = Vec::new();
                while let Some(entry) = wheel.pop(at(now)) {
                    fired.push((model.remove(&entry).unwrap(), entry));
                }
                prop_assert!(fired.iter().all(|(due, _)| *due <= now));
                prop_assert!(fired.is_sorted_by_key(|(due, _)| *due));
                prop_assert!(model.values().all(|due| *due > now));
            }
        }
    }
}
