//! The schedulers that keep to the heaviest server as long as they can: fo and ovf.
//!
//! | name | takes the heaviest of | source |
//! |---|---|---|
//! | `fo` | all servers: the others stand by | `ipvsadm(8)` |
//! | `ovf` | those with no more active connections than their weight: the rest overflows | `ipvsadm(8)` |
//!
//! Cost: one walk of the list. Ties go to the server met first. Neither keeps any state.

use super::{Request, Scheduler, Selection, ServerEvent, Servers};
use std::sync::Arc;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heaviest {
    Failover,
    Overflow,
}

impl Scheduler for Heaviest {
    fn name(&self) -> &'static str {
        match self {
            Self::Failover => "fo",
            Self::Overflow => "ovf",
        }
    }

    fn select(&self, _request: &Request<'_>, servers: Servers<'_>) -> Selection {
        let mut best: Option<(usize, u32)> = None;
        for (place, server) in servers.iter().enumerate() {
            let weight = server.effective_weight();
            let has_room = *self == Self::Failover || server.active() <= weight;
            if weight > 0 && has_room && best.is_none_or(|(_, heaviest)| weight > heaviest) {
                best = Some((place, weight));
            }
        }
        best.map(|(place, _)| place).into()
    }

    fn successor(self: Arc<Self>, _event: ServerEvent<'_>) -> Arc<dyn Scheduler> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{picks, servers};
    use super::*;

    #[test]
    fn the_heaviest_stands_before_the_others() {
        let list = servers(&[1, 3, 3, 0]);
        assert_eq!(picks(&Heaviest::Failover, &list, 2), [1, 1]);
        list[1].set_thresholds(1, 0);
        list[1].bind();
        assert_eq!(picks(&Heaviest::Failover, &list, 1), [2], "an overloaded server is passed over");
    }

    #[test]
    fn one_more_than_the_weight_overflows() {
        let list = servers(&[1, 3, 3, 2]);
        let mut chosen = [0; 4];
        for _ in 0..13 {
            let place = picks(&Heaviest::Overflow, &list, 1)[0].cast_unsigned();
            list[place].bind();
            list[place].set_active(true);
            chosen[place] += 1;
        }
        assert_eq!(chosen, [2, 4, 4, 3]);
        assert_eq!(picks(&Heaviest::Overflow, &list, 1), [-1]);
    }
}
