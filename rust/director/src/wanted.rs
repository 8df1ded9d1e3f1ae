//! Neighbours that frames waited for, to be confirmed for a while: how many there are is not the senders' to say.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Neighbours that are remembered at most.
const KEPT: usize = 4096;
/// How long one is confirmed after the last frame that waited for it. Later the next frame may wait again.
const KEEP: Duration = Duration::from_secs(600);
/// How long the kernel takes to find one out, or gives up.
const ANSWER: Duration = Duration::from_secs(5);

/// A neighbour: the index of its link, and its address.
pub type Place = (u32, IpAddr);

/// The neighbours that frames waited for, and when the last one did.
#[derive(Debug, Default)]
pub struct Wanted(HashMap<Place, Instant>);

impl Wanted {
    /// A frame waits for it. When there are too many, the new one is not remembered.
    pub fn note(&mut self, place: Place, now: Instant) {
        if self.0.len() < KEPT || self.0.contains_key(&place) {
            self.0.insert(place, now);
        }
    }

    /// Has each confirmed that answered. One that did not is forgotten: a made-up sender's address, mostly.
    pub fn confirm(&mut self, now: Instant, answered: impl Fn(&Place) -> bool, mut ask: impl FnMut(Place)) {
        self.0.retain(|place, last| {
            let age = now.saturating_duration_since(*last);
            let there = answered(place);
            if there && age < KEEP {
                ask(*place);
            }
            age < ANSWER || (there && age < KEEP)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: u32) -> Place {
        (1, IpAddr::from(number.to_be_bytes()))
    }

    fn asked(wanted: &mut Wanted, now: Instant, answered: impl Fn(&Place) -> bool) -> Vec<Place> {
        let mut asked = Vec::new();
        wanted.confirm(now, answered, |place| asked.push(place));
        asked
    }

    #[test]
    fn only_who_answered_is_asked_again_and_not_for_ever() {
        let (start, mut wanted) = (Instant::now(), Wanted::default());
        (0..3000).for_each(|number| wanted.note(place(number), start));
        let first = |at: &Place| *at == place(0);
        let later = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(asked(&mut wanted, later(1), first), [place(0)]);
        assert_eq!(wanted.0.len(), 3000, "the others may still answer");
        assert_eq!(asked(&mut wanted, later(20), first), [place(0)]);
        assert_eq!(wanted.0.len(), 1);
        assert_eq!(asked(&mut wanted, later(600), first), []);
        assert_eq!(wanted.0.len(), 0);
    }

    #[test]
    fn there_is_an_end_to_them_and_room_again() {
        let (start, mut wanted) = (Instant::now(), Wanted::default());
        (0..10_000).for_each(|number| wanted.note(place(number), start));
        assert_eq!(wanted.0.len(), KEPT);
        assert_eq!(asked(&mut wanted, start + ANSWER, |_| false), []);
        wanted.note(place(10_000), start + ANSWER);
        assert_eq!(wanted.0.len(), 1);
    }
}
