//! Which connection a packet's tuple belongs to, where several may have one tuple.
//!
//! Two virtual services may lead one client's port to the same port of one server: the server's packets bear one
//! tuple then. The kernel's rule is that the newest connection is found as long as it is there, and after it the one before. The newest
//! alone stands in the index; the others are chained beside it, at no cost while no tuple is shared.

use foldhash::fast::RandomState;
use hashbrown::hash_table::Entry;
use hashbrown::{HashMap, HashTable};

/// No reference.
const NONE: u32 = u32::MAX;

/// References to connections by tuples. What a reference's tuple is, the caller knows.
#[derive(Debug, Default)]
pub(super) struct Index {
    newest: HashTable<u32>,
    /// The references that share their tuple with others. Both neighbours are kept, so that leaving costs the same wherever
    /// in the row a reference stands: a client can make the row as long as it likes.
    shared: HashMap<u32, Neighbours, RandomState>,
}

#[derive(Clone, Copy, Debug)]
struct Neighbours {
    newer: u32,
    older: u32,
}

impl Index {
    /// The newest reference of the tuple with that hash for which `is` holds.
    pub(super) fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        self.newest.find(hash, |reference| is(*reference)).copied()
    }

    /// Adds a reference, the newest of its tuple. `is`: whether another has the same tuple; `hash_of`: the hash of
    /// another's tuple.
    pub(super) fn insert(
        &mut self,
        reference: u32,
        hash: u64,
        is: impl Fn(u32) -> bool,
        hash_of: impl Fn(u32) -> u64,
    ) {
        match self.newest.entry(hash, |other| is(*other), |other| hash_of(*other)) {
            Entry::Vacant(entry) => {
                entry.insert(reference);
            }
            Entry::Occupied(mut entry) => {
                let older = std::mem::replace(entry.get_mut(), reference);
                self.shared.insert(reference, Neighbours { newer: NONE, older });
                self.shared.entry(older).or_insert(Neighbours { newer: NONE, older: NONE }).newer = reference;
            }
        }
    }

    /// Removes a reference whose tuple has that hash: the next older one of the tuple is found again.
    pub(super) fn remove(&mut self, reference: u32, hash: u64) {
        let Neighbours { newer, older } =
            self.shared.remove(&reference).unwrap_or(Neighbours { newer: NONE, older: NONE });
        self.meet(newer, older);
        if newer != NONE {
            return;
        }
        if let Ok(mut entry) = self.newest.find_entry(hash, |other| *other == reference) {
            if older == NONE {
                entry.remove();
            } else {
                *entry.get_mut() = older;
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.newest.is_empty() && self.shared.is_empty()
    }

    /// Two references become neighbours; one that has none any more is alone with its tuple.
    fn meet(&mut self, newer: u32, older: u32) {
        for (reference, newer, older) in [(newer, None, Some(older)), (older, Some(newer), None)] {
            if let Some(row) = self.shared.get_mut(&reference) {
                row.newer = newer.unwrap_or(row.newer);
                row.older = older.unwrap_or(row.older);
                if (row.newer, row.older) == (NONE, NONE) {
                    self.shared.remove(&reference);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Connection, ConnectionTable, Found};
    use super::*;
    use crate::net::{Endpoint, FlowKey, Protocol};
    use crate::server::{Method, RealServer, ServerId};
    use crate::time::Instant;
    use proptest::prelude::*;
    use std::sync::Arc;

    /// What is done to a table: a connection is added, or one of those there goes.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Add { client_port: u16, vip: u8, server: u8, method: Method },
        Remove(prop::sample::Index),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let method = prop_oneof![
            3 => Just(Method::Masquerading),
            1 => Just(Method::Gatewaying),
            1 => Just(Method::Tunneling),
        ];
        let add = (0..2_u16, 1..3_u8, 1..3_u8, method)
            .prop_map(|(client_port, vip, server, method)| Step::Add { client_port, vip, server, method });
        let step = prop_oneof![3 => add, 2 => any::<prop::sample::Index>().prop_map(Step::Remove)];
        prop::collection::vec(step, 1..60)
    }

    fn endpoint(network: u8, host: u8, port: u16) -> Endpoint {
        Endpoint::new([10, network, 0, host].into(), port)
    }

    fn flow(source: Endpoint, destination: Endpoint) -> FlowKey {
        FlowKey { protocol: Protocol::UDP, source, destination }
    }

    /// A connection of the list that the table is compared with.
    #[derive(Debug)]
    struct Listed {
        found: Found,
        client_port: u16,
        inbound: FlowKey,
        outbound: FlowKey,
    }

    /// The kernel's rule: from the newest to the oldest; no packet from port 0 belongs to a connection.
    fn listed(list: &[Listed], flow: &FlowKey) -> Option<Found> {
        list.iter().rev().find_map(|one| {
            let inbound = one.inbound == *flow && one.client_port != 0;
            let outbound = one.outbound == *flow;
            (inbound || outbound).then_some(Found { outbound, ..one.found })
        })
    }

    proptest! {
        #[test]
        fn the_newest_is_found_then_the_older(steps in steps()) {
            let servers = [1, 2].map(|n| {
                Arc::new(RealServer::new(ServerId(n.into()), endpoint(2, n, 80), Method::Masquerading, 1))
            });
            let mut table = ConnectionTable::new((1, 2));
            let mut list: Vec<Listed> = Vec::new();
            for step in steps {
                match step {
                    Step::Add { client_port, vip, server, method } => {
                        let inbound = flow(endpoint(0, 9, client_port), endpoint(1, vip, 80));
                        let server = Arc::clone(&servers[usize::from(server) - 1]);
                        let mut connection = Connection::new(&inbound, server, 80, Instant::ZERO);
                        connection.method = method;
                        let outbound = connection.outbound_key();
                        let found = Found { id: table.insert(connection), outbound: false };
                        list.push(Listed { found, client_port, inbound, outbound });
                    }
                    Step::Remove(which) if !list.is_empty() => {
                        let gone = list.remove(which.index(list.len()));
                        table.remove(gone.found.id.0, Instant::ZERO, false);
                    }
                    Step::Remove(_) => {}
                }
                for client in (0..2).map(|port| endpoint(0, 9, port)) {
                    for other in (1..3).flat_map(|n| (1..3).map(move |m| endpoint(n, m, 80))) {
                        for flow in [flow(client, other), flow(other, client)] {
                            prop_assert_eq!(table.find(&flow), listed(&list, &flow), "{:?}", flow);
                        }
                    }
                }
            }
            for one in list {
                table.remove(one.found.id.0, Instant::ZERO, false);
            }
            prop_assert!(table.index.is_empty());
        }
    }

    #[test]
    fn neither_end_of_a_long_row_costs_more_to_leave() {
        let mut index = Index::default();
        let count = 200_000;
        (0..count).for_each(|n| index.insert(n, 7, |_| true, |_| 7));
        (0..count / 2).for_each(|n| index.remove(n, 7));
        assert_eq!(index.find(7, |_| true), Some(count - 1));
        (count / 2..count).rev().for_each(|n| index.remove(n, 7));
        assert!(index.is_empty());
    }
}
