//! The longest prefix that holds an address. A few prefixes are looked through one by one, which is fastest; of
//! many, those of each length are hashed, so that a full routing table costs a look-up a length.

use crate::net::Prefix;
use foldhash::fast::RandomState;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

/// As many prefixes are looked through one by one.
const FEW: usize = 16;

/// Prefixes, each with something that it stands for.
#[derive(Clone, Debug)]
pub struct Prefixes<T> {
    /// Longest first; of the same length, as they were given.
    entries: Vec<(Prefix, T)>,
    /// Places among the entries; empty while there are few.
    places: ByLength<usize>,
}

impl<T> Default for Prefixes<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), places: ByLength::default() }
    }
}

impl<T> Prefixes<T> {
    /// These prefixes. Of two that are the same the first counts.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = (Prefix, T)>) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_by_key(|(prefix, _)| Reverse(prefix.length()));
        let mut places = ByLength::default();
        if entries.len() > FEW {
            for (place, (prefix, _)) in entries.iter().enumerate() {
                places.entry(*prefix).or_insert(place);
            }
        }
        Self { entries, places }
    }

    /// What the longest prefix stands for that holds `address`.
    #[must_use]
    pub fn find(&self, address: IpAddr) -> Option<&T> {
        if self.entries.len() <= FEW {
            return self.entries.iter().find(|(prefix, _)| prefix.contains(address)).map(|(_, what)| what);
        }
        let place = self.places.holding(address).next()?;
        Some(&self.entries[*place].1)
    }

    /// Takes them apart.
    #[must_use]
    pub fn into_entries(self) -> Vec<(Prefix, T)> {
        self.entries
    }
}

/// Things by prefix, hashed: a look-up costs a length that there is, not a prefix.
#[derive(Clone, Debug)]
pub(crate) struct ByLength<T> {
    /// Longest first.
    lengths: Vec<Length<T>>,
}

/// The prefixes of one family and length, by their first address.
#[derive(Clone, Debug)]
struct Length<T> {
    ipv4: bool,
    bits: u8,
    blocks: HashMap<IpAddr, T, RandomState>,
}

impl<T> Default for ByLength<T> {
    fn default() -> Self {
        Self { lengths: Vec::new() }
    }
}

impl<T> ByLength<T> {
    /// What there is of a prefix, or its place.
    pub(crate) fn entry(&mut self, prefix: Prefix) -> Entry<'_, IpAddr, T> {
        let (ipv4, bits) = (prefix.address().is_ipv4(), prefix.length());
        let known = self.lengths.iter().position(|length| (length.ipv4, length.bits) == (ipv4, bits));
        let known = known.unwrap_or_else(|| {
            let place = self.lengths.partition_point(|length| length.bits >= bits);
            self.lengths.insert(place, Length { ipv4, bits, blocks: HashMap::default() });
            place
        });
        self.lengths[known].blocks.entry(prefix.network())
    }

    /// All things.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.lengths.iter_mut().flat_map(|length| length.blocks.values_mut())
    }

    /// What there is of each prefix that holds `address`, the longest first.
    pub(crate) fn holding(&self, address: IpAddr) -> impl Iterator<Item = &T> {
        let lengths = self.lengths.iter().filter(move |length| length.ipv4 == address.is_ipv4());
        lengths.filter_map(move |length| {
            let network = Prefix::new(address, length.bits).ok()?.network();
            length.blocks.get(&network)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn prefix() -> impl Strategy<Value = Prefix> {
        prop_oneof![
            (0_u32..64, 24..=32_u8).prop_map(|(host, length)| {
                Prefix::new(IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 | host << 2)), length).unwrap()
            }),
            (0_u128..16, 118..=128_u8).prop_map(|(host, length)| {
                Prefix::new(IpAddr::from(std::net::Ipv6Addr::from_bits(0xfd << 120 | host)), length).unwrap()
            }),
        ]
    }

    proptest! {
        #[test]
        fn many_are_found_as_few_are(prefixes in prop::collection::vec(prefix(), 0..60), asked in prefix()) {
            let address = asked.address();
            let longest = prefixes
                .iter()
                .enumerate()
                .filter(|(_, p)| p.contains(address))
                .max_by_key(|(place, p)| (p.length(), std::cmp::Reverse(*place)))
                .map(|(place, _)| place);
            let all = Prefixes::new(prefixes.into_iter().enumerate().map(|(place, prefix)| (prefix, place)));
            prop_assert_eq!(all.find(address).copied(), longest);
        }
    }
}
