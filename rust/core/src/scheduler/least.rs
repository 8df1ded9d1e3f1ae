//! The schedulers that look for the least loaded server: lc, wlc, sed and nq.
//!
//! | name | takes the server with the least | source |
//! |---|---|---|
//! | `lc` | active · 256 + inactive | `ipvsadm(8)` |
//! | `wlc` | (active · 256 + inactive) / weight | `ipvsadm(8)` |
//! | `sed` | (active + 1) / weight: the shortest expected delay | `ipvsadm(8)` |
//! | `nq` | as sed, but an idle server at once, whatever its weight: never queue | `ipvsadm(8)` |
//!
//! Cost: one walk of the list. Ties go to the server met first. Quotients are compared by cross
//! multiplication in 128 bits, so nothing overflows. None keeps any state.

use super::{Request, Scheduler, Selection, ServerEvent, Servers};
use crate::server::RealServer;
use std::sync::Arc;

/// Which of the four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Least {
    Connections,
    WeightedConnections,
    ExpectedDelay,
    NeverQueue,
}

impl Scheduler for Least {
    fn name(&self) -> &'static str {
        match self {
            Self::Connections => "lc",
            Self::WeightedConnections => "wlc",
            Self::ExpectedDelay => "sed",
            Self::NeverQueue => "nq",
        }
    }

    fn select(&self, _request: &Request<'_>, servers: Servers<'_>) -> Selection {
        if *self == Self::NeverQueue
            && let Some(idle) = servers.iter().position(|s| s.is_usable() && s.active() == 0)
        {
            return Selection::Server(idle);
        }
        self.of(servers).into()
    }

    fn successor(self: Arc<Self>, _event: ServerEvent<'_>) -> Arc<dyn Scheduler> {
        self
    }
}

impl Least {
    /// The place of the usable server with the least cost for its weight.
    pub(super) fn of<'a>(self, servers: impl IntoIterator<Item = &'a Arc<RealServer>>) -> Option<usize> {
        let mut best: Option<(usize, u128, u128)> = None;
        for (place, server) in servers.into_iter().enumerate() {
            // Of one moment: an overload that comes meanwhile does not make it a weight of 0 to divide by.
            let effective = server.effective_weight();
            if effective == 0 {
                continue;
            }
            let (cost, weight) = self.formula(server.active(), server.inactive(), effective);
            if best.is_none_or(|(_, least, its_weight)| least * weight > cost * its_weight) {
                best = Some((place, cost, weight));
            }
        }
        best.map(|(place, ..)| place)
    }

    /// A server's cost, and the weight that divides it.
    pub(super) fn cost(self, server: &RealServer) -> (u128, u128) {
        self.formula(server.active(), server.inactive(), server.weight())
    }

    fn formula(self, active: u32, inactive: u32, weight: u32) -> (u128, u128) {
        let (active, weight) = (u128::from(active), u128::from(weight));
        let overhead = active * 256 + u128::from(inactive);
        match self {
            Self::Connections => (overhead, 1),
            Self::WeightedConnections => (overhead, weight),
            Self::ExpectedDelay | Self::NeverQueue => (active + 1, weight),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{picks, servers};
    use super::*;

    /// Servers with these weights, active and inactive connections.
    fn loaded(list: &[(u32, u32, u32)]) -> Vec<Arc<RealServer>> {
        let servers = servers(&list.iter().map(|(weight, ..)| *weight).collect::<Vec<_>>());
        for (server, (_, active, inactive)) in servers.iter().zip(list) {
            (0..active + inactive).for_each(|_| server.bind());
            (0..*active).for_each(|_| server.set_active(true));
        }
        servers
    }

    #[test]
    fn each_follows_its_formula() {
        let list = loaded(&[(0, 0, 0), (1, 2, 0), (4, 3, 0), (1, 1, 250)]);
        assert_eq!(picks(&Least::Connections, &list, 1), [3]);
        assert_eq!(picks(&Least::WeightedConnections, &list, 1), [2]);
        assert_eq!(picks(&Least::ExpectedDelay, &list, 1), [2]);
        assert_eq!(picks(&Least::NeverQueue, &list, 1), [2]);
        let list = loaded(&[(9, 1, 0), (1, 0, 99)]);
        assert_eq!(picks(&Least::ExpectedDelay, &list, 1), [0]);
        assert_eq!(picks(&Least::NeverQueue, &list, 1), [1], "an idle server at once");
    }

    #[test]
    fn ties_go_to_the_first() {
        let list = loaded(&[(2, 2, 0), (1, 1, 0)]);
        assert_eq!(picks(&Least::WeightedConnections, &list, 1), [0]);
    }

    #[test]
    fn millions_of_connections_are_compared_rightly() {
        let worse = |(cost, weight): (u128, u128), (other, its_weight): (u128, u128)| {
            cost * its_weight > other * weight
        };
        for least in [Least::WeightedConnections, Least::ExpectedDelay] {
            let (heavy, light) = (least.formula(u32::MAX, u32::MAX, 1), least.formula(8_400_000, 0, 1));
            assert!(worse(heavy, light) && !worse(light, heavy));
            let huge = i32::MAX.unsigned_abs();
            assert!(worse(least.formula(u32::MAX, 0, huge - 1), least.formula(u32::MAX, 0, huge)));
        }
    }
}
