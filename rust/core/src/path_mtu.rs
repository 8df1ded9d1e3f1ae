//! What routers said about the longest packet that reaches an address (RFC 1191).

use crate::time::{Duration, Instant};
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::net::IpAddr;

/// The least that a router is believed, in bytes (Linux's `min_pmtu`): a smaller number is more likely a lie.
const LEAST: u32 = 552;
/// How long it is believed (Linux's `mtu_expires`).
const LIFE: Duration = Duration::from_secs(600);
/// Addresses remembered; the one that was learnt longest ago makes room for another.
const ADDRESSES: usize = 256;

/// Path MTUs by address.
#[derive(Debug, Default)]
pub struct PathMtus(HashMap<IpAddr, Learnt, RandomState>);

#[derive(Clone, Copy, Debug)]
struct Learnt {
    mtu: u32,
    until: Instant,
}

impl PathMtus {
    /// What the way to `address` takes, if less than `mtu`, which its first link does.
    #[must_use]
    pub fn limit(&self, address: IpAddr, mtu: u32, now: Instant) -> u32 {
        if self.0.is_empty() {
            return mtu;
        }
        let learnt = self.0.get(&address).filter(|learnt| learnt.until > now);
        learnt.map_or(mtu, |learnt| learnt.mtu.min(mtu))
    }

    /// A router said that packets to `address` may be `told` bytes long, where so far they could be `known`.
    pub fn learn(&mut self, address: IpAddr, told: u32, known: u32, now: Instant) {
        if told >= known {
            return;
        }
        if self.0.len() == ADDRESSES && !self.0.contains_key(&address) {
            let oldest = self.0.iter().min_by_key(|(address, learnt)| (learnt.until, **address));
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                self.0.remove(&oldest);
            }
        }
        self.0.insert(address, Learnt { mtu: told.max(LEAST), until: now + LIFE });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routers_are_believed_for_ten_minutes_and_within_reason() {
        let (address, start) = ([10, 0, 0, 9].into(), Instant::ZERO);
        let mut mtus = PathMtus::default();
        assert_eq!(mtus.limit(address, 1500, start), 1500);
        mtus.learn(address, 1300, 1500, start);
        assert_eq!(mtus.limit(address, 1500, start), 1300);
        assert_eq!(mtus.limit(address, 1280, start), 1280);
        mtus.learn(address, 1400, 1300, start);
        assert_eq!(mtus.limit(address, 1500, start), 1300, "nobody makes it longer");
        mtus.learn(address, 0, 1300, start);
        assert_eq!(mtus.limit(address, 1500, start), LEAST);
        assert_eq!(mtus.limit(address, 1500, start + LIFE), 1500);
        let later = start + Duration::from_secs(1);
        for number in 0..ADDRESSES {
            mtus.learn(IpAddr::from([10, 1, (number >> 8) as u8, number as u8]), 1000, 1500, later);
        }
        assert_eq!(mtus.limit(address, 1500, later), 1500, "forgotten for others");
    }
}
