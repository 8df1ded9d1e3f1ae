//! The longest prefix that holds an address. A few prefixes are looked through one by one, which is fastest; of
//! many, those of each length are hashed, so that a full routing table costs a look-up a length.

use crate::net::Prefix;
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::net::IpAddr;

/// As many prefixes are looked through one by one.
const FEW: usize = 16;

/// Prefixes, each with something that it stands for.
#[derive(Clone, Debug)]
pub struct Prefixes<T> {
    /// Longest first; of the same length, as they were given.
    entries: Vec<(Prefix, T)>,
    /// Places among the entries, by length and network, longest first; empty while there are few.
    lengths: Vec<Length>,
}

/// The prefixes of one family and length, by their first address.
#[derive(Clone, Debug)]
struct Length {
    ipv4: bool,
    bits: u8,
    places: HashMap<IpAddr, usize, RandomState>,
}

impl<T> Default for Prefixes<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), lengths: Vec::new() }
    }
}

impl<T> Prefixes<T> {
    /// These prefixes. Of two that are the same the first counts.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = (Prefix, T)>) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.length()));
        let mut lengths = Vec::<Length>::new();
        if entries.len() > FEW {
            for (place, (prefix, _)) in entries.iter().enumerate() {
                let (ipv4, bits) = (prefix.address().is_ipv4(), prefix.length());
                let known = lengths.iter().position(|l| (l.ipv4, l.bits) == (ipv4, bits));
                let known = known.unwrap_or_else(|| {
                    lengths.push(Length { ipv4, bits, places: HashMap::default() });
                    lengths.len() - 1
                });
                lengths[known].places.entry(prefix.network()).or_insert(place);
            }
        }
        Self { entries, lengths }
    }

    /// What the longest prefix stands for that holds `address`.
    #[must_use]
    pub fn find(&self, address: IpAddr) -> Option<&T> {
        if self.lengths.is_empty() {
            return self.entries.iter().find(|(prefix, _)| prefix.contains(address)).map(|(_, what)| what);
        }
        let place = self.lengths.iter().filter(|l| l.ipv4 == address.is_ipv4()).find_map(|length| {
            let network = Prefix::new(address, length.bits).ok()?.network();
            length.places.get(&network)
        })?;
        Some(&self.entries[*place].1)
    }

    /// Takes them apart.
    #[must_use]
    pub fn into_entries(self) -> Vec<(Prefix, T)> {
        self.entries
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
