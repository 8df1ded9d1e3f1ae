//! The power of two choices (twos): two servers are drawn by weight, the less loaded one takes the
//! connection.
//!
//! Load is (active · 256 + inactive) / weight; the first choice wins ties. As in the kernel both lots are
//! drawn from 0 to the sum of weights inclusive, so the list's head is a little likelier than its weight says.
//!
//! Cost: two walks of the list. Source: M. Mitzenmacher, "The Power of Two Choices in Randomized Load
//! Balancing", 2001; the kernel's `twos` since 5.13.

use super::least::Least;
use super::{Request, Scheduler, Selection, ServerEvent, Servers};
use std::sync::Arc;

/// It keeps nothing.
#[derive(Debug)]
pub(super) struct TwoChoices;

impl Scheduler for TwoChoices {
    fn name(&self) -> &'static str {
        "twos"
    }

    fn select(&self, request: &Request<'_>, servers: Servers<'_>) -> Selection {
        let usable = || servers.iter().enumerate().filter(|(_, server)| server.is_usable());
        let total: u64 = usable().map(|(_, server)| u64::from(server.weight())).sum();
        if total == 0 {
            return Selection::NoServer;
        }
        // Two independent lots of 32 bits each, stretched over 0 ..= total.
        let lots = [request.random & u64::from(u32::MAX), request.random >> 32];
        let drawn = lots.map(|lot| {
            let mut left = ((u128::from(lot) * u128::from(total + 1)) >> 32) as u64;
            usable().find(|(_, server)| {
                let reached = left <= u64::from(server.weight());
                left = left.saturating_sub(server.weight().into());
                reached
            })
        });
        let [Some((first, one)), Some((second, two))] = drawn else { return Selection::NoServer };
        let ((cost, weight), (other, its_weight)) =
            (Least::WeightedConnections.cost(one), Least::WeightedConnections.cost(two));
        Selection::Server(if its_weight * cost > weight * other { second } else { first })
    }

    fn successor(self: Arc<Self>, _event: ServerEvent<'_>) -> Arc<dyn Scheduler> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::SchedulerFlags;
    use super::super::testing::{flow, servers};
    use super::*;
    use crate::settings::Settings;
    use crate::time::Instant;

    fn choice(list: Servers<'_>, lots: (u32, u32)) -> usize {
        let settings = Settings::default();
        let request = Request {
            flow: flow("192.0.2.1", "10.9.9.9"),
            towards: [10, 9, 9, 9].into(),
            now: Instant::ZERO,
            flags: SchedulerFlags::default(),
            settings: &settings,
            random: u64::from(lots.1) << 32 | u64::from(lots.0),
        };
        match TwoChoices.select(&request, list) {
            Selection::Server(place) => place,
            Selection::NoServer => usize::MAX,
        }
    }

    #[test]
    fn the_less_loaded_of_two_takes_it() {
        // Lots of 0, 1 and 2 of 0 ..= 3 draw the first server (weight 2), 3 the second.
        let (head, tail) = (0, u32::MAX);
        let list = servers(&[2, 0, 1]);
        assert_eq!(choice(&list, (head, tail)), 0, "ties go to the first choice");
        assert_eq!(choice(&list, (tail, head)), 2);
        list[2].bind();
        assert_eq!(choice(&list, (tail, head)), 0);
        assert_eq!(choice(&list, (tail, tail)), 2, "both lots may fall on one server");
        assert_eq!(choice(&servers(&[0]), (head, tail)), usize::MAX);
    }
}
