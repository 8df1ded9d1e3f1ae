//! What is counted of real servers, virtual services and everything, and the rates that follow from it.
//!
//! Counters are live. Rates are the kernel's: every 2 s each moves a quarter of the way to what these two
//! seconds brought, so that about 8 s weigh. Beginning anew (`ipvsadm -Z`) is the kernel's too: what was counted
//! since the last pass stays.

use crate::time::{Duration, Instant};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Time between two passes.
const PASS: Duration = Duration::from_secs(2);
/// After so many passes without traffic every rate is 0.
const PASSES_TO_SILENCE: u64 = 100;

/// Counters of a real server, a virtual service or everything. `Relaxed` everywhere: each counts for itself.
#[derive(Debug, Default)]
pub struct Statistics {
    /// What a packet changes, side by side.
    totals: [AtomicU64; KINDS],
    /// What only a pass or a user changes.
    marks: [Mark; KINDS],
}

/// What is known of a total.
#[derive(Debug, Default)]
struct Mark {
    /// What it was at the last pass.
    seen: AtomicU64,
    /// What is shown as 0.
    base: AtomicU64,
    /// The average of a second, times a power of two.
    average: AtomicU64,
}

/// What is counted, by its place.
const KINDS: usize = 5;
const CONNECTIONS: usize = 0;
const IN_PACKETS: usize = 1;
const IN_BYTES: usize = 2;
const OUT_PACKETS: usize = 3;
const OUT_BYTES: usize = 4;
/// Binary places of the averages: those of bytes have fewer.
const SCALES: [u32; KINDS] = [10, 10, 5, 10, 5];

/// The values of [`Statistics`] at one moment, or how many there are in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatisticsValues {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Their bytes, IP header included.
    pub in_bytes: u64,
    /// Packets to clients that passed the director.
    pub out_packets: u64,
    /// Their bytes, IP header included.
    pub out_bytes: u64,
}

impl Statistics {
    /// Counts a scheduled connection.
    pub fn connection(&self) {
        self.add(CONNECTIONS, 1);
    }

    /// Counts a packet from a client, `bytes` long with its IP header.
    pub fn inbound(&self, bytes: u64) {
        self.add(IN_PACKETS, 1);
        self.add(IN_BYTES, bytes);
    }

    /// Counts a packet to a client, `bytes` long with its IP header.
    pub fn outbound(&self, bytes: u64) {
        self.add(OUT_PACKETS, 1);
        self.add(OUT_BYTES, bytes);
    }

    /// Begins anew, from the last pass on.
    pub fn zero(&self) {
        for mark in &self.marks {
            mark.base.store(mark.seen.load(Relaxed), Relaxed);
            mark.average.store(0, Relaxed);
        }
    }

    /// Forgets everything.
    pub(crate) fn forget(&self) {
        for (mark, total) in self.marks.iter().zip(&self.totals) {
            mark.seen.store(total.load(Relaxed), Relaxed);
        }
        self.zero();
    }

    /// What was counted so far.
    #[must_use]
    pub fn values(&self) -> StatisticsValues {
        let shown =
            |kind: usize| self.totals[kind].load(Relaxed).wrapping_sub(self.marks[kind].base.load(Relaxed));
        StatisticsValues::of(shown)
    }

    /// What there is in a second.
    #[must_use]
    pub fn rates(&self) -> StatisticsValues {
        StatisticsValues::of(|kind| {
            let scale = SCALES[kind];
            (self.marks[kind].average.load(Relaxed) + (1 << (scale - 1)) - 1) >> scale
        })
    }

    fn add(&self, kind: usize, count: u64) {
        self.totals[kind].fetch_add(count, Relaxed);
    }

    /// The look of every two seconds; only one at a time. Averages move a quarter of the way, as the kernel's:
    /// rounded down, also when they fall.
    fn pass(&self) {
        for ((total, mark), scale) in self.totals.iter().zip(&self.marks).zip(SCALES) {
            let total = total.load(Relaxed);
            let average = mark.average.load(Relaxed).cast_signed();
            // Most of many servers are silent: nothing is written for these.
            if average == 0 && mark.seen.load(Relaxed) == total {
                continue;
            }
            let new = total.wrapping_sub(mark.seen.swap(total, Relaxed));
            let rate = (new << (scale - 1)).cast_signed();
            mark.average.store((average + ((rate - average) >> 2)).cast_unsigned(), Relaxed);
        }
    }
}

impl StatisticsValues {
    fn of(value: impl Fn(usize) -> u64) -> Self {
        Self {
            connections: value(CONNECTIONS),
            in_packets: value(IN_PACKETS),
            in_bytes: value(IN_BYTES),
            out_packets: value(OUT_PACKETS),
            out_bytes: value(OUT_BYTES),
        }
    }
}

/// When the next pass is due, for all statistics of a table.
#[derive(Debug)]
pub(crate) struct Passes {
    /// In nanoseconds. Who moves it on makes the passes: the exchange is the only arbiter.
    next: AtomicU64,
}

impl Default for Passes {
    fn default() -> Self {
        Self { next: AtomicU64::new((Instant::ZERO + PASS).as_nanos()) }
    }
}

impl Passes {
    /// Makes the passes that are due at `now`, over all `statistics`.
    pub(crate) fn make<'a, I>(&self, now: Instant, statistics: impl Fn() -> I)
    where
        I: Iterator<Item = &'a Statistics>,
    {
        let due = self.next.load(Relaxed);
        if now.as_nanos() < due {
            return;
        }
        let between = PASS.as_nanos() as u64;
        let passes = (now.as_nanos() - due) / between + 1;
        let next = due.saturating_add(passes.saturating_mul(between));
        if self.next.compare_exchange(due, next, Relaxed, Relaxed).is_ok() {
            for _ in 0..passes.min(PASSES_TO_SILENCE) {
                statistics().for_each(Statistics::pass);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn rates_approach_what_comes() {
        let (passes, statistics) = (Passes::default(), Statistics::default());
        let rates = |second: u64| {
            passes.make(after(second), || std::iter::once(&statistics));
            (statistics.rates().in_packets, statistics.rates().in_bytes)
        };
        (0..200).for_each(|_| statistics.inbound(1000));
        assert_eq!(rates(1), (0, 0));
        assert_eq!(rates(2), (25, 25_000), "a quarter of 100 packets a second");
        (0..200).for_each(|_| statistics.inbound(1000));
        assert_eq!(rates(4), (44, 43_750));
        assert_eq!(rates(6), (33, 32_812));
        assert_eq!(rates(1000), (0, 0));
        assert_eq!(statistics.values().in_packets, 400);
    }

    #[test]
    fn beginning_anew_leaves_what_no_pass_has_seen() {
        let (passes, statistics) = (Passes::default(), Statistics::default());
        statistics.connection();
        passes.make(after(2), || std::iter::once(&statistics));
        statistics.connection();
        statistics.zero();
        assert_eq!((statistics.values().connections, statistics.rates().connections), (1, 0));
    }
}
