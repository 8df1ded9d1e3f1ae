//! The schedulers that look a server up by an address: dh (the packet's destination) and sh (its
//! source, the client).
//!
//! A table of 256 buckets is filled from the list's head: dh gives the servers one bucket each in
//! turn, weights ignored; sh gives each max(weight, 1) buckets in a row. A bucket whose server is
//! not usable has no answer. dh's table is not made anew when a weight is edited, sh's is.
//!
//! sh has two flags: `sh-port` hashes the client's port too; `sh-fallback` tries other buckets when the
//! first has no answer: the k-th is found by the hash with k + the first added, to which that sum is added.
//!
//! Cost: one multiplication and one look-up. Source: `ipvsadm(8)`, `dh` and `sh`.

use super::hash::{fold, leading_bits};
use super::{Request, Scheduler, Selection, ServerEvent, Servers};
use std::sync::Arc;

const BITS: u32 = 8;
const BUCKETS: usize = 1 << BITS;

/// Which address is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Destination,
    Source,
}

/// The table: each bucket holds a place of the list.
#[derive(Debug)]
pub(super) struct Hashed {
    by: By,
    buckets: Arc<[usize]>,
    /// Whether the list has changed since the table was made.
    is_stale: bool,
}

impl Hashed {
    /// What is hashed.
    fn key(&self, request: &Request<'_>) -> u32 {
        let client = request.flow.client;
        match self.by {
            By::Destination => fold(request.towards),
            By::Source if request.flags.port => fold(client.address).wrapping_add(client.port.into()),
            By::Source => fold(client.address),
        }
    }

    pub(super) fn new(by: By, servers: Servers<'_>) -> Self {
        let shares = servers.iter().enumerate().flat_map(|(place, server)| {
            let share = if by == By::Source { server.weight().max(1) } else { 1 };
            std::iter::repeat_n(place, share as usize)
        });
        Self { by, buckets: shares.cycle().take(BUCKETS).collect(), is_stale: false }
    }
}

impl Scheduler for Hashed {
    fn name(&self) -> &'static str {
        match self.by {
            By::Destination => "dh",
            By::Source => "sh",
        }
    }

    fn select(&self, request: &Request<'_>, servers: Servers<'_>) -> Selection {
        let usable = |bucket: usize| {
            let place = self.buckets.get(bucket).copied()?;
            servers.get(place)?.is_usable().then_some(place)
        };
        let hash = leading_bits(self.key(request), BITS);
        let first = usable(hash);
        if first.is_some() || self.by == By::Destination || !request.flags.fallback {
            return first.into();
        }
        let offsets = (0..BUCKETS).map(|k| (k + hash) % BUCKETS);
        offsets.map(|offset| (offset + hash) % BUCKETS).find_map(usable).into()
    }

    fn successor(self: Arc<Self>, event: ServerEvent<'_>) -> Arc<dyn Scheduler> {
        match (self.by, event) {
            (By::Destination, ServerEvent::Edited(_)) => self,
            _ if self.is_stale => self,
            (by, _) => Arc::new(Self { by, buckets: Arc::clone(&self.buckets), is_stale: true }),
        }
    }

    fn settled(&self, servers: Servers<'_>) -> Option<Arc<dyn Scheduler>> {
        self.is_stale.then(|| Arc::new(Self::new(self.by, servers)) as _)
    }
}

#[cfg(test)]
mod tests {
    use super::super::SchedulerFlags;
    use super::super::testing::{flow, pick, pick_with, servers};
    use super::*;
    use crate::time::Instant;

    #[test]
    fn the_address_decides_the_bucket() {
        // 203.0.113.9 falls into bucket 64, 198.51.100.1 into 96.
        let list = servers(&[1, 5, 0]);
        let (dh, sh) = (Hashed::new(By::Destination, &list), Hashed::new(By::Source, &list));
        let at = |scheduler: &Hashed, client: &str, destination: &str| {
            pick(scheduler, &list, flow(client, destination), Instant::ZERO)
        };
        assert_eq!(at(&dh, "10.0.0.1", "203.0.113.9"), 64 % 3);
        assert_eq!(at(&dh, "10.0.0.1", "198.51.100.1"), 96 % 3);
        // A round of sh is 1 + 5 + 1 buckets; 64 % 7 = 1 and 96 % 7 = 5 are the second server's.
        assert_eq!(at(&sh, "203.0.113.9", "10.0.0.1"), 1);
        assert_eq!(at(&sh, "198.51.100.1", "10.0.0.1"), 1);
        // 39 % 7 = 4; with weight 0 the bucket has no answer.
        list[1].set_weight(0);
        assert_eq!(at(&sh, "10.0.0.1", "10.0.0.1"), -1);
    }

    #[test]
    fn flags_hash_the_port_and_fall_back() {
        let list = servers(&[1, 1]);
        let sh = Hashed::new(By::Source, &list);
        let with = |flags| pick_with(&sh, &list, flow("203.0.113.9", "10.0.0.1"), flags);
        let (plain, port) = (SchedulerFlags::default(), SchedulerFlags { port: true, fallback: false });
        // Port 40000 takes the client from bucket 64 to 228.
        assert_eq!((with(plain), with(port)), (0, 0));
        list[0].set_weight(0);
        let fallback = SchedulerFlags { fallback: true, port: false };
        assert_eq!(
            (with(plain), with(fallback)),
            (-1, 1),
            "buckets 64, 128 are the first server's, 129 is not"
        );
    }
}
