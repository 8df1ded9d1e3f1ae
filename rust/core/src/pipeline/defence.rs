//! The defences against floods, `drop_entry` and `drop_packet`, and the lots that they and schedulers draw.

use crate::conn::ConnectionTable;
use crate::settings::{Defence, Settings};
use crate::time::{Duration, Instant};

const BEAT: Duration = Duration::from_secs(1);

/// What the defences remember. They look at the memory each second, and when one of them is set.
#[derive(Debug)]
pub(super) struct Defences {
    /// Pages of memory that are free.
    pub(super) available_memory: u64,
    /// Whether memory was scarce at the last look.
    scarce: bool,
    /// `drop_packet` drops one of so many; 0: none.
    drop_rate: u32,
    /// Packets to spare before `drop_packet` drops one.
    countdown: u32,
    /// When the next second begins.
    next_second: Instant,
    /// How they were set at the last look.
    modes: [Defence; 3],
}

impl Default for Defences {
    fn default() -> Self {
        Self {
            available_memory: u64::MAX,
            scarce: false,
            drop_rate: 0,
            countdown: 0,
            next_second: Instant::ZERO,
            modes: [Defence::Off; 3],
        }
    }
}

impl Defences {
    /// Whether memory was scarce at the last look.
    pub(super) const fn scarce(&self) -> bool {
        self.scarce
    }

    /// Looks, if it is time, and does what is to be done each second.
    pub(super) fn tick(
        &mut self,
        settings: &Settings,
        connections: &mut ConnectionTable,
        lots: &mut Lots,
        now: Instant,
    ) {
        self.set(settings);
        if now < self.next_second {
            return;
        }
        self.next_second = now + BEAT;
        self.look(settings);
        if settings.drop_entry.acts(self.scarce) {
            connections.thin_out(|| lots.draw(), now);
        }
    }

    /// Looks, if one of them is set otherwise than at the last look.
    pub(super) fn set(&mut self, settings: &Settings) {
        let modes = [settings.drop_entry, settings.drop_packet, settings.secure_tcp];
        if modes != self.modes {
            self.modes = modes;
            self.look(settings);
        }
    }

    /// Whether this packet, which would start a connection, is one of those that `drop_packet` drops.
    pub(super) fn drops(&mut self) -> bool {
        if self.drop_rate == 0 {
            return false;
        }
        self.countdown = self.countdown.saturating_sub(1);
        if self.countdown > 0 {
            return false;
        }
        self.countdown = self.drop_rate;
        true
    }

    fn look(&mut self, settings: &Settings) {
        let (available, wanted) = (self.available_memory, settings.amemthresh);
        self.scarce = available < wanted.into();
        self.drop_rate = match settings.drop_packet {
            Defence::Always => settings.am_droprate,
            Defence::Automatic if self.scarce => {
                self.countdown = wanted / (wanted - available as u32);
                self.countdown
            }
            Defence::Off | Defence::Automatic => 0,
        };
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

    fn at(millis: u64, defences: &mut Defences, settings: &Settings) {
        let (mut connections, mut lots) = (ConnectionTable::new((1, 2)), Lots::new(1));
        let now = Instant::ZERO + Duration::from_millis(millis);
        defences.tick(settings, &mut connections, &mut lots, now);
    }

    #[test]
    fn the_first_of_so_many_is_dropped() {
        let settings = Settings { drop_packet: Defence::Always, am_droprate: 3, ..Settings::default() };
        let mut defences = Defences::default();
        at(0, &mut defences, &settings);
        let dropped: Vec<_> = (0..7).map(|_| defences.drops()).collect();
        assert_eq!(dropped, [true, false, false, true, false, false, true]);
    }

    #[test]
    fn the_automatic_ones_look_at_the_memory() {
        let settings = Settings { drop_packet: Defence::Automatic, amemthresh: 1000, ..Settings::default() };
        let mut defences = Defences::default();
        at(0, &mut defences, &settings);
        assert!(!defences.drops());
        defences.available_memory = 500;
        at(1000, &mut defences, &settings);
        let dropped: Vec<_> = (0..4).map(|_| defences.drops()).collect();
        assert_eq!(dropped, [false, true, false, true]);
    }

    #[test]
    fn they_look_each_second_and_when_one_of_them_is_set() {
        let mut settings = Settings { secure_tcp: Defence::Automatic, ..Settings::default() };
        let mut defences = Defences { available_memory: 5000, ..Defences::default() };
        at(0, &mut defences, &settings);
        settings.amemthresh = 6000;
        at(999, &mut defences, &settings);
        assert!(!defences.scarce(), "nobody has looked");
        at(1000, &mut defences, &settings);
        assert!(defences.scarce());
        settings.amemthresh = 4000;
        settings.drop_packet = Defence::Automatic;
        at(1001, &mut defences, &settings);
        assert!(!defences.scarce());
    }
}
