//! Who was named in the log as holding a VIP too, and how often that may be said: what comes in by a link does not fill a
//! disk.

use fastlvs_core::net::Mac;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Who is remembered at most.
const REMEMBERED: usize = 1024;
/// How soon the same one is named again.
const AGAIN: Duration = Duration::from_secs(3600);
/// Lines that may follow one another, and how long it takes until there may be one more.
const BURST: u32 = 8;
const LINE: Duration = Duration::from_secs(10);

/// What was said, and how much was not.
#[derive(Debug)]
pub struct Told {
    named: HashMap<(IpAddr, Mac), Named>,
    lines: u32,
    since: Instant,
    /// Claims by others than those remembered that were left unsaid since the last line.
    unsaid: u64,
}

/// One who was named.
#[derive(Debug)]
struct Named {
    at: Instant,
    /// Claims that were left unsaid since.
    unsaid: u64,
}

impl Told {
    /// Nothing was said yet.
    pub fn new(now: Instant) -> Self {
        Self { named: HashMap::new(), lines: BURST, since: now, unsaid: 0 }
    }

    /// Whether to say now that `mac` claims `vip`; if so, how many claims were left unsaid: its own since it was named
    /// last, or those of others since the last line.
    pub fn say(&mut self, vip: IpAddr, mac: Mac, now: Instant) -> Option<u64> {
        if let Some(named) = self.named.get_mut(&(vip, mac))
            && now.saturating_duration_since(named.at) < AGAIN
        {
            named.unsaid += 1;
            return None;
        }
        if !self.take_line(now) {
            self.unsaid += 1;
            return None;
        }
        if self.named.len() >= REMEMBERED {
            self.named.retain(|_, named| now.saturating_duration_since(named.at) < AGAIN);
        }
        if self.named.len() >= REMEMBERED
            && let Some(oldest) = self.named.iter().min_by_key(|(_, named)| named.at).map(|(who, _)| *who)
        {
            self.named.remove(&oldest);
        }
        let before = self.named.insert((vip, mac), Named { at: now, unsaid: 0 });
        Some(before.map_or(0, |named| named.unsaid) + std::mem::take(&mut self.unsaid))
    }

    fn take_line(&mut self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.since).as_secs() / LINE.as_secs();
        if earned > 0 {
            self.since = now;
            self.lines = BURST.min(self.lines.saturating_add(u32::try_from(earned).unwrap_or(BURST)));
        }
        let may = self.lines > 0;
        self.lines -= u32::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 80));

    fn mac(number: u32) -> Mac {
        let [a, b, c, d] = number.to_be_bytes();
        Mac([2, 0, a, b, c, d])
    }

    #[test]
    fn each_is_named_once_and_an_hour_later_with_what_was_left_unsaid() {
        let start = Instant::now();
        let mut told = Told::new(start);
        assert_eq!(told.say(VIP, mac(1), start), Some(0));
        assert!((0..500).all(|_| told.say(VIP, mac(1), start).is_none()));
        assert_eq!(told.say(VIP, mac(2), start), Some(0), "another is another's matter");
        assert_eq!(told.say(VIP, mac(1), start + AGAIN), Some(500));
    }

    #[test]
    fn made_up_claims_cost_few_lines_and_little_memory() {
        let start = Instant::now();
        let mut told = Told::new(start);
        let said = (0..50_000).filter(|number| told.say(VIP, mac(*number), start).is_some()).count();
        assert_eq!(said, 8);
        assert_eq!(told.say(VIP, mac(60_000), start + LINE), Some(49_992));
        assert_eq!(told.say(VIP, mac(60_001), start + LINE), None);
        for number in 0..5000 {
            told.say(VIP, mac(number), start + LINE * (number + 2));
        }
        assert!(told.named.len() <= REMEMBERED);
    }
}
