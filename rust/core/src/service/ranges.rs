//! Services of blocks of addresses and ranges of ports, which the kernel has not: how a packet finds the most particular
//! one.
//!
//! The longest block that has a service for the port counts; of its services the one with the fewest ports; of as many,
//! the one whose ports begin first.

use super::ServiceKey;
use crate::net::{Endpoint, Protocol};
use crate::prefixes::ByLength;
use std::collections::{BTreeMap, BTreeSet};

/// Where the services of blocks and ranges stand in their table.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges {
    /// By protocol, what each port finds in a block.
    protocols: Vec<(Protocol, ByLength<Vec<Piece>>)>,
}

/// A range of ports that find the same service. Pieces of a block are in order and do not overlap.
#[derive(Clone, Copy, Debug)]
struct Piece {
    first: u16,
    last: u16,
    place: usize,
}

impl Ranges {
    /// Of the services with these names, in this order, those that are more than an address and a port.
    pub(super) fn new<'a>(keys: impl Iterator<Item = &'a ServiceKey>) -> Self {
        let mut protocols = Vec::<(Protocol, ByLength<Vec<Piece>>)>::new();
        for (place, key) in keys.enumerate().filter(|(_, key)| !key.is_exact()) {
            let known = protocols.iter().position(|(protocol, _)| *protocol == key.protocol);
            let known = known.unwrap_or_else(|| {
                protocols.push((key.protocol, ByLength::default()));
                protocols.len() - 1
            });
            let (first, last) = key.address().ports().into_inner();
            let pieces = protocols[known].1.entry(key.address().block()).or_default();
            pieces.push(Piece { first, last, place });
        }
        for pieces in protocols.iter_mut().flat_map(|(_, blocks)| blocks.values_mut()) {
            *pieces = without_overlaps(std::mem::take(pieces));
        }
        Self { protocols }
    }

    /// The place of the most particular service that takes a packet to `destination`.
    pub(super) fn find(&self, protocol: Protocol, destination: Endpoint) -> Option<usize> {
        let Endpoint { address, port } = destination;
        let (_, blocks) = self.protocols.iter().find(|(known, _)| *known == protocol)?;
        blocks.holding(address).find_map(|pieces| {
            let piece = &pieces[pieces.partition_point(|piece| piece.first <= port).checked_sub(1)?];
            (port <= piece.last).then_some(piece.place)
        })
    }
}

/// The same in pieces: each port has the range with the fewest ports; of as many, the one that begins first.
fn without_overlaps(mut ranges: Vec<Piece>) -> Vec<Piece> {
    let mut bounds: Vec<u32> =
        ranges.iter().flat_map(|r| [u32::from(r.first), u32::from(r.last) + 1]).collect();
    bounds.sort_unstable();
    bounds.dedup();
    ranges.sort_by_key(|r| (r.last - r.first, r.first));
    let at = |port: u32| bounds.partition_point(|bound| *bound < port);
    let mut free: BTreeSet<_> = (0..bounds.len()).collect();
    let mut taken = BTreeMap::new();
    for range in &ranges {
        let theirs: Vec<_> =
            free.range(at(range.first.into())..at(u32::from(range.last) + 1)).copied().collect();
        for part in theirs {
            free.remove(&part);
            taken.insert(part, range.place);
        }
    }
    let mut pieces = Vec::<Piece>::new();
    for (part, place) in taken {
        let (first, last) = (bounds[part] as u16, (bounds[part + 1] - 1) as u16);
        match pieces.last_mut().filter(|piece| piece.place == place && piece.last + 1 == first) {
            Some(piece) => piece.last = last,
            None => pieces.push(Piece { first, last, place }),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(protocol: Protocol, text: &str) -> ServiceKey {
        ServiceKey::at(protocol, text.parse().unwrap())
    }

    #[test]
    fn the_most_particular_service_is_found() {
        let (tcp, udp) = (Protocol::TCP, Protocol::UDP);
        let names = [
            (tcp, "10.0.0.0/8:0"),
            (tcp, "10.9.0.0/16:8000-8999"),
            (tcp, "10.9.0.0/16:8500-8509"),
            (tcp, "10.9.9.0/24:80"),
            (tcp, "10.9.9.9:8000-8100"),
            (tcp, "10.9.9.9:8050-8150"),
            (udp, "10.9.9.0/24:80-90"),
            (tcp, "[2001:db8::/64]:443"),
            (tcp, "10.9.9.1:443"),
        ];
        let keys = names.map(|(protocol, text)| key(protocol, text));
        let ranges = Ranges::new(keys.iter());
        for (protocol, destination, found) in [
            (tcp, "10.1.1.1:1", Some(0)),
            (tcp, "10.9.1.1:8499", Some(1)),
            (tcp, "10.9.1.1:8500", Some(2)),
            (tcp, "10.9.1.1:8509", Some(2)),
            (tcp, "10.9.1.1:8510", Some(1)),
            (tcp, "10.9.1.1:9000", Some(0)),
            (tcp, "10.9.9.1:80", Some(3)),
            (tcp, "10.9.9.1:8500", Some(2)),
            (tcp, "10.9.9.9:8049", Some(4)),
            (tcp, "10.9.9.9:8100", Some(4)),
            (tcp, "10.9.9.9:8101", Some(5)),
            (tcp, "10.9.9.9:8151", Some(1)),
            (udp, "10.9.9.9:90", Some(6)),
            (udp, "10.9.9.9:91", None),
            (tcp, "[2001:db8::ffff]:443", Some(7)),
            (tcp, "[2001:db8:0:1::]:443", None),
            (tcp, "11.0.0.0:80", None),
            (tcp, "10.9.9.1:443", Some(0)),
        ] {
            assert_eq!(ranges.find(protocol, destination.parse().unwrap()), found, "{destination}");
        }
    }

    #[test]
    fn many_ranges_of_a_block_are_put_in_order_at_once() {
        let all = 60_000;
        let ranges: Vec<_> =
            (0..all).map(|n| Piece { first: n, last: n + 1 + n % 7, place: n.into() }).collect();
        let began = std::time::Instant::now();
        let pieces = without_overlaps(ranges);
        assert!(pieces.is_sorted_by_key(|piece| piece.first) && pieces.len() > usize::from(all) / 7);
        // Each part looked for among all ranges, the unoptimised test takes minutes.
        assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    }

    proptest! {
        #[test]
        fn pieces_say_what_ranges_say(ends in prop::collection::vec((0_u16..40, 0_u16..40), 1..12), port in 0_u16..45) {
            let range = |(place, (a, b)): (usize, &(u16, u16))| Piece { first: *a.min(b), last: *a.max(b), place };
            let ranges: Vec<_> = ends.iter().enumerate().map(range).collect();
            let fits = |r: &&Piece| r.first <= port && port <= r.last;
            let expected = ranges.iter().filter(fits).min_by_key(|r| (r.last - r.first, r.first)).map(|r| (r.first, r.last));
            let pieces = without_overlaps(ranges.clone());
            prop_assert!(pieces.windows(2).all(|two| two[0].last < two[1].first));
            let found = pieces.iter().find(fits).map(|piece| (ranges[piece.place].first, ranges[piece.place].last));
            prop_assert_eq!(found, expected);
        }
    }
}
