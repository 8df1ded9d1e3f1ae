//! The weights of a service's servers, whose greatest common divisor and largest are known after each change of one:
//! those of any two are kept, and of any two such pairs, up to the top.

use super::Servers;
use super::hash::greatest_common_divisor;
use crate::server::ServerId;
use foldhash::fast::RandomState;
use std::collections::HashMap;

/// Weights by server.
#[derive(Clone, Debug, Default)]
pub(super) struct Weights {
    /// A binary tree: the top is 1, below n are 2n and 2n + 1, the servers' own weights are in the second half. 0 counts
    /// for nothing.
    nodes: Vec<Node>,
    places: HashMap<ServerId, usize, RandomState>,
    free: Vec<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Node {
    divisor: u32,
    largest: u32,
}

impl Node {
    fn of(one: Self, other: Self) -> Self {
        Self {
            divisor: greatest_common_divisor(one.divisor, other.divisor),
            largest: one.largest.max(other.largest),
        }
    }
}

impl Weights {
    /// Those that these servers have now.
    pub(super) fn of(servers: Servers<'_>) -> Self {
        let mut weights = Self::default();
        weights.make_room(servers.len());
        let half = weights.nodes.len() / 2;
        for server in servers {
            let Some(place) = weights.free.pop() else { break };
            weights.places.insert(server.id(), place);
            weights.nodes[place] = Node { divisor: server.weight(), largest: server.weight() };
        }
        (1..half).rev().for_each(|node| weights.sum(node));
        weights
    }

    /// The greatest common divisor of all weights but 0, and the largest; 0 if there is none.
    pub(super) fn divisor_and_largest(&self) -> (u32, u32) {
        let Node { divisor, largest } = self.nodes.get(1).copied().unwrap_or_default();
        (divisor, largest)
    }

    /// A server has that weight, which may be new.
    pub(super) fn set(&mut self, server: ServerId, weight: u32) {
        if !self.places.contains_key(&server) {
            if self.free.is_empty() {
                self.make_room((self.places.len() + 1) * 2);
            }
            self.places.extend(self.free.pop().map(|place| (server, place)));
        }
        self.put(server, weight);
    }

    /// A server has gone.
    pub(super) fn remove(&mut self, server: ServerId) {
        self.put(server, 0);
        self.free.extend(self.places.remove(&server));
    }

    fn put(&mut self, server: ServerId, weight: u32) {
        let Some(&place) = self.places.get(&server) else { return };
        self.nodes[place] = Node { divisor: weight, largest: weight };
        let mut node = place / 2;
        while node > 0 {
            self.sum(node);
            node /= 2;
        }
    }

    fn sum(&mut self, node: usize) {
        self.nodes[node] = Node::of(self.nodes[2 * node], self.nodes[2 * node + 1]);
    }

    /// Gives the tree room for so many servers.
    fn make_room(&mut self, servers: usize) {
        let (old, new) = (self.nodes.len() / 2, servers.next_power_of_two().max(2));
        let mut nodes = vec![Node::default(); 2 * new];
        nodes[new..new + old].copy_from_slice(&self.nodes[old..]);
        self.nodes = nodes;
        self.places.values_mut().for_each(|place| *place = *place - old + new);
        self.free = (new + old..2 * new).rev().collect();
        (1..new).rev().for_each(|node| self.sum(node));
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::super::testing::servers;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against all weights gone through.
        #[test]
        fn the_top_is_of_all(begin in prop::collection::vec(0_u32..40, 0..9), steps in prop::collection::vec((0_u32..12, 0_u32..60), 0..60)) {
            let list = servers(&begin);
            let mut weights = Weights::of(&list);
            let mut all: HashMap<_, _> = list.iter().map(|server| (server.id(), server.weight())).collect();
            for (id, weight) in steps {
                let id = ServerId(id);
                if weight > 50 {
                    weights.remove(id);
                    all.remove(&id);
                } else {
                    weights.set(id, weight);
                    all.insert(id, weight);
                }
                let divisor = all.values().copied().fold(0, greatest_common_divisor);
                prop_assert_eq!(weights.divisor_and_largest(), (divisor, all.values().copied().max().unwrap_or(0)));
            }
        }
    }
}
