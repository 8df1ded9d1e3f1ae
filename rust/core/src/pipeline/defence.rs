//! The defences against floods, `drop_entry` and `drop_packet`, and the lots that they and schedulers draw.

use crate::conn::ConnectionTable;
use crate::settings::{Defence, Settings};
use crate::time::{Duration, Instant};

const BEAT: Duration = Duration::from_secs(1);

/// What the defences remember.
#[derive(Debug)]
pub(super) struct Defences {
    /// Pages of memory that are free.
    pub(super) available_memory: u64,
    /// Packets to spare before `drop_packet` drops one.
    countdown: u32,
    /// When the next second begins.
    next_second: Instant,
}

impl Default for Defences {
    fn default() -> Self {
        Self { available_memory: u64::MAX, countdown: 0, next_second: Instant::ZERO }
    }
}

impl Defences {
    /// Whether memory is scarce.
    pub(super) fn scarce(&self, settings: &Settings) -> bool {
        self.available_memory < settings.amemthresh.into()
    }

    /// Does what is to be done each second.
    pub(super) fn tick(
        &mut self,
        settings: &Settings,
        connections: &mut ConnectionTable,
        lots: &mut Lots,
        now: Instant,
    ) {
        if now < self.next_second {
            return;
        }
        self.next_second = now + BEAT;
        let scarce = self.scarce(settings);
        if settings.drop_entry.acts(scarce) {
            connections.thin_out(|| lots.draw(), now);
        }
        if settings.drop_packet == Defence::Automatic {
            self.countdown = self.drop_rate(settings);
        }
    }

    /// Whether this packet, which would start a connection, is one of those that `drop_packet` drops.
    pub(super) fn drops(&mut self, settings: &Settings) -> bool {
        let rate = self.drop_rate(settings);
        if rate == 0 {
            return false;
        }
        self.countdown = self.countdown.saturating_sub(1);
        if self.countdown > 0 {
            return false;
        }
        self.countdown = rate;
        true
    }

    /// `drop_packet` drops one of so many; 0: none.
    fn drop_rate(&self, settings: &Settings) -> u32 {
        match settings.drop_packet {
            Defence::Always => settings.am_droprate,
            Defence::Automatic if self.scarce(settings) => {
                settings.amemthresh / (settings.amemthresh - self.available_memory as u32)
            }
            Defence::Off | Defence::Automatic => 0,
        }
    }
}

/// Numbers that nobody outside can foretell, as long as the first is not known: a Weyl sequence, mixed
/// (Steele, Lea and Flood, 2014).
#[derive(Debug)]
pub(super) struct Lots(u64);

impl Lots {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_so_many_is_dropped() {
        let settings = Settings { drop_packet: Defence::Always, am_droprate: 3, ..Settings::default() };
        let mut defences = Defences::default();
        let dropped: Vec<_> = (0..7).map(|_| defences.drops(&settings)).collect();
        assert_eq!(dropped, [true, false, false, true, false, false, true]);
    }

    #[test]
    fn the_automatic_ones_look_at_the_memory() {
        let settings = Settings { drop_packet: Defence::Automatic, amemthresh: 1000, ..Settings::default() };
        let mut defences = Defences::default();
        assert!(!defences.drops(&settings));
        defences.available_memory = 500;
        let (mut connections, mut lots) = (ConnectionTable::new((1, 2)), Lots::new(1));
        defences.tick(&settings, &mut connections, &mut lots, Instant::ZERO);
        let dropped: Vec<_> = (0..4).map(|_| defences.drops(&settings)).collect();
        assert_eq!(dropped, [false, true, false, true]);
    }
}
