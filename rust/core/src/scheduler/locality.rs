//! What lblc and lblcr remember of each destination: a table that all workers share.
//!
//! 1,024 cells, found by a hash with a secret key, because the destination is the client's choice; each is an immutable
//! list of entries that is replaced as a whole when an entry comes or goes. So a look-up locks nothing and waits for
//! nobody, and what a hit changes (the time of last use, the value) are atomics of the entry itself. There are no
//! cells before there is an entry. New entries are refused when there are 24,576, as in Linux since 6.1.191.
//!
//! Entries are forgotten on the kernel's beat: every 60 s one look. Every thirtieth look removes what was
//! not used for the expiration time. The others count up to it, unless there are more than 16,384 entries:
//! then they remove some of those that were not used for 360 s: bucket after bucket of the kernel's table, whose public
//! hash decides here, and only here, which go. There is no timer: whoever asks at or after such a time does the looks
//! that are due.

use super::hash::{fold, leading_bits};
use crate::shared::{ArcSwap, AtomicU64, AtomicUsize, SecretHash};
use crate::time::{Duration, Instant};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A model gets along with fewer buckets.
const BITS: u32 = if cfg!(feature = "loom") { 1 } else { 10 };
/// Of the kernel's table; there are as many cells.
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
    /// None until there is an entry.
    cells: ArcSwap<Cells<V>>,
    /// `SipHash` with keys of its own.
    hasher: SecretHash,
    entries: AtomicUsize,
    /// When the next look is due, in nanoseconds. Who moves it on does the look: the exchange is the only
    /// arbiter, so `Relaxed` is enough.
    next_look: AtomicU64,
    /// Looks since the last expiration. Only who does a look writes it.
    looks: AtomicU64,
    /// The kernel's bucket after which the next partial look begins. Only who does a look writes it.
    rover: AtomicUsize,
}

type Cells<V> = Box<[ArcSwap<Cell<V>>]>;
type Cell<V> = Vec<Arc<Entry<V>>>;

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
            cells: ArcSwap::from_pointee(Cells::default()),
            hasher: SecretHash::default(),
            entries: AtomicUsize::new(0),
            next_look: AtomicU64::new((now + BEAT).as_nanos()),
            looks: AtomicU64::new(1),
            rover: AtomicUsize::new(0),
        }
    }

    /// What is remembered of `address`, which is used now.
    pub(super) fn find(&self, address: IpAddr, now: Instant) -> Option<Arc<Entry<V>>> {
        let cells = self.cells.load();
        let cell = cells.get(self.place(address))?.load();
        let entry = cell.iter().find(|entry| entry.address == address)?;
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
        self.with_cells(|cells| {
            cells[self.place(address)].rcu(|cell| {
                is_new = cell.iter().all(|entry| entry.address != address);
                if !is_new {
                    return Arc::clone(cell);
                }
                Arc::new(std::iter::once(&new).chain(cell.iter()).map(Arc::clone).collect())
            });
        });
        if !is_new {
            self.entries.fetch_sub(1, Relaxed);
        }
    }

    /// Whether `fits` any of the values.
    pub(super) fn any(&self, fits: impl Fn(&V) -> bool) -> bool {
        self.cells.load().iter().any(|cell| cell.load().iter().any(|entry| fits(&entry.value)))
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
            self.forget(when, expiration, |_| true);
            self.looks.store(1, Relaxed);
        } else if many <= COMFORTABLE {
            self.looks.store(looks + 1, Relaxed);
        } else {
            let goal = ((many - COMFORTABLE) * 4 / 3).min(LARGEST_GOAL);
            self.forget_some(when, goal);
        }
    }

    /// Forgets `goal` entries or a bucket's more, of those that were not used lately.
    fn forget_some(&self, when: Instant, goal: usize) {
        let mut idle = vec![0; BUCKETS];
        for cell in self.cells.load().iter() {
            let cell = cell.load();
            let old = cell.iter().filter(|entry| entry.is_idle(when, RECENT));
            for entry in old {
                idle[bucket(entry.address)] += 1;
            }
        }
        let start = self.rover.load(Relaxed);
        let (mut seen, mut forgotten, mut last) = (vec![false; BUCKETS], 0, start);
        for bucket in (1..=BUCKETS).map(|step| (start + step) % BUCKETS) {
            forgotten += idle[bucket];
            (seen[bucket], last) = (true, bucket);
            if forgotten >= goal {
                break;
            }
        }
        self.rover.store(last, Relaxed);
        self.forget(when, RECENT, |entry| seen[bucket(entry.address)]);
    }

    /// Forgets those entries that were not used for `idle`.
    fn forget(&self, when: Instant, idle: Duration, those: impl Fn(&Entry<V>) -> bool) {
        let goes = |entry: &Arc<Entry<V>>| entry.is_idle(when, idle) && those(entry);
        for all in self.cells.load().iter().filter(|all| all.load().iter().any(goes)) {
            let mut forgotten = 0;
            all.rcu(|cell| {
                let (old, kept): (Cell<V>, Cell<V>) = cell.iter().map(Arc::clone).partition(goes);
                forgotten = old.len();
                kept
            });
            self.entries.fetch_sub(forgotten, Relaxed);
        }
    }

    /// Does something with the cells, which are made when they are needed first. Of two workers' the first's stay.
    fn with_cells(&self, something: impl FnOnce(&Cells<V>)) {
        if self.cells.load().is_empty() {
            let none = Arc::new(Cell::new());
            self.cells.rcu(|cells| {
                if !cells.is_empty() {
                    return Arc::clone(cells);
                }
                Arc::new((0..BUCKETS).map(|_| ArcSwap::new(Arc::clone(&none))).collect::<Cells<V>>())
            });
        }
        something(&self.cells.load());
    }

    fn place(&self, address: IpAddr) -> usize {
        self.hasher.hash_one(address) as usize % BUCKETS
    }
}

impl<V> Entry<V> {
    fn is_idle(&self, when: Instant, time: Duration) -> bool {
        when >= Instant::from_nanos(self.last_use.load(Relaxed)) + time
    }
}

/// Where the kernel's table has an address.
fn bucket(address: IpAddr) -> usize {
    leading_bits(fold(address), BITS)
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
    fn there_are_no_cells_before_there_is_an_entry() {
        let table = Locality::new(Instant::ZERO);
        table.tidy(after(1_800), DAY);
        assert!(table.find(address(1), after(1_800)).is_none() && !table.any(|()| true));
        assert!(table.cells.load().is_empty());
        table.insert(address(1), (), after(1_800));
        assert_eq!(table.cells.load().len(), BUCKETS);
    }

    /// Addresses of one bucket of the kernel's are spread over the cells.
    #[test]
    fn destinations_that_collide_in_the_kernel_do_not_here() {
        let table = Locality::new(Instant::ZERO);
        let colliding: Vec<_> =
            (0..).map(address).filter(|a| bucket(*a) == bucket(address(0))).take(1_024).collect();
        for address in &colliding {
            table.insert(*address, (), Instant::ZERO);
        }
        assert_eq!(table.len(), colliding.len());
        let longest = table.cells.load().iter().map(|cell| cell.load().len()).max();
        assert!(longest < Some(32), "{longest:?}");
    }

    /// The kernel's buckets, walked one by one: which of these destinations a look leaves.
    #[test]
    fn which_are_forgotten_follows_the_kernels_buckets() {
        let table = Locality::new(Instant::ZERO);
        let mut known: Vec<u32> = (0..20_000).collect();
        for number in &known {
            table.insert(address(*number), (), Instant::ZERO);
        }
        let recent = |number: &u32| number.is_multiple_of(7);
        for number in known.iter().filter(|number| recent(number)) {
            table.find(address(*number), after(600));
        }
        let mut rover = 0;
        for look in 6..10 {
            let goal = (known.len().saturating_sub(COMFORTABLE) * 4 / 3).min(LARGEST_GOAL);
            let enough = known.len() - goal;
            let start = rover;
            for place in (1..=BUCKETS).map(|step| (start + step) % BUCKETS) {
                if goal == 0 {
                    break;
                }
                known.retain(|number| recent(number) || bucket(address(*number)) != place);
                rover = place;
                if known.len() <= enough {
                    break;
                }
            }
            table.tidy(after(look * 60), DAY);
            let mut left: Vec<_> = table.cells.load().iter().flat_map(|cell| cell.load().to_vec()).collect();
            left.sort_by_key(|entry| entry.address);
            assert!(
                left.iter().map(|entry| entry.address).eq(known.iter().map(|n| address(*n))),
                "look {look}"
            );
        }
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
