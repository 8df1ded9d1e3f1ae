//! Services of blocks of addresses and ranges of ports, which the kernel has not: how a packet finds the most particular
//! one.
//!
//! The longest block that has a service for the port counts; of its services the one with the fewest ports; of as many,
//! the one whose ports begin first.

use super::ServiceKey;
use crate::net::{Endpoint, Prefix, Protocol};
use foldhash::fast::RandomState;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;

/// Where the services of blocks and ranges stand in their table.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges {
    /// Longest first.
    lengths: Vec<Length>,
}

/// The blocks of one length, by their first address: what each port finds there.
#[derive(Clone, Debug)]
struct Length {
    protocol: Protocol,
    ipv4: bool,
    bits: u8,
    blocks: HashMap<IpAddr, Vec<Piece>, RandomState>,
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
        let mut lengths = Vec::<Length>::new();
        for (place, key) in keys.enumerate().filter(|(_, key)| !key.is_exact()) {
            let block = key.address().block();
            let (protocol, ipv4, bits) = (key.protocol, !key.is_ipv6(), block.length());
            let known = lengths.iter().position(|l| (l.protocol, l.ipv4, l.bits) == (protocol, ipv4, bits));
            let known = known.unwrap_or_else(|| {
                lengths.push(Length { protocol, ipv4, bits, blocks: HashMap::default() });
                lengths.len() - 1
            });
            let (first, last) = key.address().ports().into_inner();
            lengths[known].blocks.entry(block.network()).or_default().push(Piece { first, last, place });
        }
        for pieces in lengths.iter_mut().flat_map(|length| length.blocks.values_mut()) {
            *pieces = without_overlaps(pieces);
        }
        lengths.sort_by_key(|length| Reverse(length.bits));
        Self { lengths }
    }

    /// The place of the most particular service that takes a packet to `destination`.
    pub(super) fn find(&self, protocol: Protocol, destination: Endpoint) -> Option<usize> {
        let Endpoint { address, port } = destination;
        let fits = |length: &&Length| length.protocol == protocol && length.ipv4 == address.is_ipv4();
        self.lengths.iter().filter(fits).find_map(|length| {
            let pieces = length.blocks.get(&Prefix::new(address, length.bits).ok()?.network())?;
            let piece = &pieces[pieces.partition_point(|piece| piece.first <= port).checked_sub(1)?];
            (port <= piece.last).then_some(piece.place)
        })
    }
}

/// The same in pieces: each port has the range with the fewest ports; of as many, the one that begins first.
fn without_overlaps(ranges: &[Piece]) -> Vec<Piece> {
    let mut starts: Vec<u32> =
        ranges.iter().flat_map(|r| [u32::from(r.first), u32::from(r.last) + 1]).collect();
    starts.sort_unstable();
    starts.dedup();
    let mut pieces = Vec::<Piece>::new();
    for bounds in starts.windows(2) {
        let (first, last) = (bounds[0] as u16, (bounds[1] - 1) as u16);
        let here = ranges.iter().filter(|r| r.first <= first && last <= r.last);
        let Some(&Piece { place, .. }) = here.min_by_key(|r| (r.last - r.first, r.first)) else { continue };
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

    proptest! {
        #[test]
        fn pieces_say_what_ranges_say(ends in prop::collection::vec((0_u16..40, 0_u16..40), 1..12), port in 0_u16..45) {
            let range = |(place, (a, b)): (usize, &(u16, u16))| Piece { first: *a.min(b), last: *a.max(b), place };
            let ranges: Vec<_> = ends.iter().enumerate().map(range).collect();
            let fits = |r: &&Piece| r.first <= port && port <= r.last;
            let expected = ranges.iter().filter(fits).min_by_key(|r| (r.last - r.first, r.first)).map(|r| (r.first, r.last));
            let pieces = without_overlaps(&ranges);
            prop_assert!(pieces.windows(2).all(|two| two[0].last < two[1].first));
            let found = pieces.iter().find(fits).map(|piece| (ranges[piece.place].first, ranges[piece.place].last));
            prop_assert_eq!(found, expected);
        }
    }
}
