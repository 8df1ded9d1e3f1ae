//! What lblc and lblcr remember of each destination: a table that all workers share.
//!
//! 1,024 buckets, found by the same hash as in the kernel; each is an immutable list of entries that is
//! replaced as a whole when an entry comes or goes. So a look-up locks nothing and waits for nobody, and
//! what a hit changes (the time of last use, the value) are atomics of the entry itself. New entries are
//! refused when there are 24,576, as in Linux since 6.1.191.
//!
//! Entries are forgotten on the kernel's beat: every 60 s one look. Every thirtieth look removes what was
//! not used for the expiration time. The others count up to it, unless there are more than 16,384 entries:
//! then they remove, bucket after bucket, some of those that were not used for 360 s. There is no timer:
//! whoever asks at or after such a time does the looks that are due.

use super::hash::{fold, leading_bits};
use crate::shared::{ArcSwap, AtomicU64, AtomicUsize};
use crate::time::{Duration, Instant};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A model gets along with fewer buckets.
const BITS: u32 = if cfg!(feature = "loom") { 1 } else { 10 };
const BUCKETS: usize = 1 << BITS;
/// With more entries than this, each look removes some.
const COMFORTABLE: usize = 16 * BUCKETS;
/// With so many, none is added.
const FULL: usize = COMFORTABLE + COMFORTABLE / 2;
/// What a look removes at most when there are too many.
const LARGEST_GOAL: usize = COMFORTABLE / 2;
/// Who was used within this time survives such a look.
const RECENT: Duration = Duration::from_secs(360);
const BEAT: Duration = Duration::from_secs(60);
const LOOKS_TO_EXPIRATION: u64 = 30;
/// Looks that are made up for after a long silence: entries that nobody used meanwhile are gone by then.
const LOOKS_AT_ONCE: u64 = 3 * LOOKS_TO_EXPIRATION;

/// Destinations and what is remembered of each.
#[derive(Debug)]
pub(super) struct Locality<V> {
    buckets: Box<[ArcSwap<Bucket<V>>]>,
    entries: AtomicUsize,
    /// When the next look is due, in nanoseconds. Who moves it on does the look: the exchange is the only
    /// arbiter, so `Relaxed` is enough.
    next_look: AtomicU64,
    /// Looks since the last expiration. Only who does a look writes it.
    looks: AtomicU64,
    /// The bucket after which the next partial look begins. Only who does a look writes it.
    rover: AtomicUsize,
}

type Bucket<V> = Vec<Arc<Entry<V>>>;

/// One destination.
#[derive(Debug)]
pub(super) struct Entry<V> {
    address: IpAddr,
    /// Nanoseconds. `Relaxed`: nothing else is read by its order, and a look that just misses a use
    /// forgets an entry that is made anew at its next use.
    last_use: AtomicU64,
    /// What is remembered.
    pub(super) value: V,
}

impl<V> Locality<V> {
    /// A table without entries, whose first look is due a beat after `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| ArcSwap::from_pointee(Bucket::new())).collect(),
            entries: AtomicUsize::new(0),
            next_look: AtomicU64::new((now + BEAT).as_nanos()),
            looks: AtomicU64::new(1),
            rover: AtomicUsize::new(0),
        }
    }

    /// What is remembered of `address`, which is used now.
    pub(super) fn find(&self, address: IpAddr, now: Instant) -> Option<Arc<Entry<V>>> {
        let bucket = self.bucket(address).load();
        let entry = bucket.iter().find(|entry| entry.address == address)?;
        entry.last_use.store(now.as_nanos(), Relaxed);
        Some(Arc::clone(entry))
    }

    /// Remembers `value` for `address`; nothing when the table is full, or when another worker was
    /// quicker: the one who comes second finds that entry next time.
    pub(super) fn insert(&self, address: IpAddr, value: V, now: Instant) {
        // Counted before it can be seen, so that nobody takes off what is not yet counted.
        if self.entries.fetch_add(1, Relaxed) >= FULL {
            self.entries.fetch_sub(1, Relaxed);
            return;
        }
        let last_use = AtomicU64::new(now.as_nanos());
        let new = Arc::new(Entry { address, last_use, value });
        let mut is_new = false;
        self.bucket(address).rcu(|bucket| {
            is_new = bucket.iter().all(|entry| entry.address != address);
            if !is_new {
                return Arc::clone(bucket);
            }
            Arc::new(std::iter::once(&new).chain(bucket.iter()).map(Arc::clone).collect())
        });
        if !is_new {
            self.entries.fetch_sub(1, Relaxed);
        }
    }

    /// Whether `fits` any of the values.
    pub(super) fn any(&self, fits: impl Fn(&V) -> bool) -> bool {
        self.buckets.iter().any(|bucket| bucket.load().iter().any(|entry| fits(&entry.value)))
    }

    /// The number of destinations.
    pub(super) fn len(&self) -> usize {
        self.entries.load(Relaxed)
    }

    /// Makes the looks that are due. Entries not used for `expiration` are forgotten.
    pub(super) fn tidy(&self, now: Instant, expiration: Duration) {
        let due = self.next_look.load(Relaxed);
        if now.as_nanos() < due {
            return;
        }
        let beat = BEAT.as_nanos() as u64;
        let looks = (now.as_nanos() - due) / beat + 1;
        if self.next_look.compare_exchange(due, due + looks * beat, Relaxed, Relaxed).is_ok() {
            for look in looks.saturating_sub(LOOKS_AT_ONCE)..looks {
                self.look(Instant::from_nanos(due + look * beat), expiration);
            }
        }
    }

    fn look(&self, when: Instant, expiration: Duration) {
        let looks = self.looks.load(Relaxed);
        let many = self.len();
        if looks >= LOOKS_TO_EXPIRATION {
            (0..BUCKETS).for_each(|bucket| self.forget(bucket, when, expiration));
            self.looks.store(1, Relaxed);
        } else if many <= COMFORTABLE {
            self.looks.store(looks + 1, Relaxed);
        } else {
            let goal = ((many - COMFORTABLE) * 4 / 3).min(LARGEST_GOAL);
            self.forget_some(when, goal);
        }
    }

    fn forget_some(&self, when: Instant, goal: usize) {
        let enough = self.len().saturating_sub(goal);
        let start = self.rover.load(Relaxed);
        for bucket in (1..=BUCKETS).map(|step| (start + step) % BUCKETS) {
            self.forget(bucket, when, RECENT);
            self.rover.store(bucket, Relaxed);
            if self.len() <= enough {
                break;
            }
        }
    }

    /// Forgets a bucket's entries that were not used for `idle`.
    fn forget(&self, bucket: usize, when: Instant, idle: Duration) {
        let is_old = |entry: &Arc<Entry<V>>| when >= Instant::from_nanos(entry.last_use.load(Relaxed)) + idle;
        let all = &self.buckets[bucket];
        if !all.load().iter().any(is_old) {
            return;
        }
        let mut forgotten = 0;
        all.rcu(|bucket| {
            let (old, kept): (Bucket<V>, Bucket<V>) = bucket.iter().map(Arc::clone).partition(is_old);
            forgotten = old.len();
            kept
        });
        self.entries.fetch_sub(forgotten, Relaxed);
    }

    fn bucket(&self, address: IpAddr) -> &ArcSwap<Bucket<V>> {
        &self.buckets[leading_bits(fold(address), BITS)]
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    fn after(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn the_first_value_stays() {
        let table = Locality::new(Instant::ZERO);
        assert!(table.find(address(1), Instant::ZERO).is_none());
        table.insert(address(1), 'a', Instant::ZERO);
        table.insert(address(1), 'b', Instant::ZERO);
        table.insert(address(2), 'c', Instant::ZERO);
        assert_eq!(table.find(address(1), Instant::ZERO).unwrap().value, 'a');
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn the_thirtieth_look_forgets_what_was_not_used() {
        let table = Locality::new(Instant::ZERO);
        let expiration = Duration::from_secs(601);
        table.insert(address(1), (), Instant::ZERO);
        table.insert(address(2), (), Instant::ZERO);
        table.find(address(2), after(1_200));
        table.tidy(after(1_799), expiration);
        assert_eq!(table.len(), 2, "29 looks only count");
        table.tidy(after(1_800), expiration);
        assert_eq!(table.len(), 1);
        assert!(table.find(address(2), after(1_800)).is_some());
        table.tidy(after(3_599), expiration);
        assert_eq!(table.len(), 1);
        table.tidy(after(1_000_000), expiration);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn a_crowded_table_forgets_the_idle_and_a_full_one_takes_no_more() {
        let table = Locality::new(Instant::ZERO);
        (0..30_000).for_each(|number| table.insert(address(number), (), Instant::ZERO));
        assert_eq!(table.len(), FULL);
        table.tidy(after(60), DAY);
        assert_eq!(table.len(), FULL, "all are recent");
        table.tidy(after(360), DAY);
        let goal = LARGEST_GOAL.min((FULL - COMFORTABLE) * 4 / 3);
        assert!((FULL - goal - 64..=FULL - goal).contains(&table.len()), "{}", table.len());
    }
}

#[cfg(all(test, feature = "loom"))]
mod loom_models {
    use super::super::testing::model;
    use super::*;
    use loom::thread;

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    /// Two workers meet the same new destination: one entry, which both find.
    #[test]
    fn a_destination_is_remembered_once() {
        model(|| {
            let table = Arc::new(Locality::new(Instant::ZERO));
            let same = Arc::clone(&table);
            let other = thread::spawn(move || same.insert(address(1), 'a', Instant::ZERO));
            table.insert(address(1), 'b', Instant::ZERO);
            other.join().expect("the model's thread");
            assert_eq!(table.len(), 1);
            assert!(table.find(address(1), Instant::ZERO).is_some());
        });
    }

    /// A worker remembers a destination while another forgets old ones: nothing new is lost, and the number of
    /// entries is right.
    #[test]
    fn forgetting_loses_nothing_new() {
        model(|| {
            let table = Arc::new(Locality::new(Instant::ZERO));
            table.insert(address(1), 'a', Instant::ZERO);
            let later = Instant::ZERO + Duration::from_secs(1_800);
            let same = Arc::clone(&table);
            let other = thread::spawn(move || same.insert(address(2), 'b', later));
            table.tidy(later, Duration::from_secs(600));
            other.join().expect("the model's thread");
            assert!(table.find(address(1), later).is_none());
            assert_eq!(table.find(address(2), later).map(|entry| entry.value), Some('b'));
            assert_eq!(table.len(), 1);
        });
    }
}
