//! Which of an interface's addresses a packet is best sent from. A few addresses are looked through one by one; of
//! many, VIPs perhaps, the best one is found without looking at all.

use crate::net::Prefix;
use crate::prefixes::ByLength;
use std::net::{IpAddr, Ipv6Addr};

/// As many addresses are looked through one by one.
const FEW: usize = 16;

/// The addresses of one interface, to be sent from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// In the interface's order.
    addresses: Vec<Prefix>,
    /// How those of many are found.
    index: Option<Index>,
}

#[derive(Clone, Debug, Default)]
struct Index {
    /// The first place of IPv4.
    first: Option<usize>,
    /// The first place of each network of IPv4.
    networks: ByLength<usize>,
    /// Those of IPv6 with their places, in the order of their bits.
    sorted: Vec<(u128, usize)>,
    /// The latest place of any range of these: a tree whose leaves are its second half, each node the greater of two.
    latest: Vec<usize>,
}

impl Sources {
    pub(crate) fn new(addresses: &[Prefix]) -> Self {
        let index = (addresses.len() > FEW).then(|| Index::new(addresses));
        Self { addresses: addresses.to_vec(), index }
    }

    /// For a packet to `destination`: in IPv4 one whose prefix holds it, else the first; in IPv6 the one that has most
    /// leading bits in common with it (RFC 6724 §5, rule 8), of several the last.
    pub(crate) fn find(&self, destination: IpAddr) -> Option<IpAddr> {
        let of_family = || self.addresses.iter().filter(|p| p.address().is_ipv4() == destination.is_ipv4());
        let chosen = match (&self.index, destination) {
            (Some(index), IpAddr::V6(to)) => index.nearest(to.to_bits()).map(|place| &self.addresses[place]),
            (Some(index), IpAddr::V4(_)) => index.holding(destination).map(|place| &self.addresses[place]),
            (None, IpAddr::V6(to)) => of_family().max_by_key(|prefix| common(prefix.address(), to)),
            (None, IpAddr::V4(_)) => {
                of_family().find(|prefix| prefix.contains(destination)).or_else(|| of_family().next())
            }
        };
        chosen.map(Prefix::address)
    }
}

/// How many leading bits two addresses have in common.
fn common(address: IpAddr, other: Ipv6Addr) -> u32 {
    match address {
        IpAddr::V6(address) => (address.to_bits() ^ other.to_bits()).leading_zeros(),
        IpAddr::V4(_) => 0,
    }
}

impl Index {
    fn new(addresses: &[Prefix]) -> Self {
        let mut index = Self::default();
        for (place, prefix) in addresses.iter().enumerate() {
            match prefix.address() {
                IpAddr::V6(address) => index.sorted.push((address.to_bits(), place)),
                IpAddr::V4(_) => {
                    index.first.get_or_insert(place);
                    index.networks.entry(*prefix).or_insert(place);
                }
            }
        }
        index.sorted.sort_unstable();
        let leaves = index.sorted.len();
        index.latest = vec![0; leaves];
        index.latest.extend(index.sorted.iter().map(|(_, place)| *place));
        for node in (1..leaves).rev() {
            index.latest[node] = index.latest[2 * node].max(index.latest[2 * node + 1]);
        }
        index
    }

    /// The first place whose prefix holds the address, or else the first.
    fn holding(&self, address: IpAddr) -> Option<usize> {
        self.networks.holding(address).min().copied().or(self.first)
    }

    /// The latest place of those with most leading bits in common: next to the address in the order of bits are some of them.
    fn nearest(&self, bits: u128) -> Option<usize> {
        let behind = self.sorted.partition_point(|(address, _)| *address < bits);
        let beside = behind.saturating_sub(1)..(behind + 1).min(self.sorted.len());
        let common = self.sorted[beside].iter().map(|(address, _)| (address ^ bits).leading_zeros()).max()?;
        let rest = u128::MAX.checked_shr(common).unwrap_or(0);
        let first = self.sorted.partition_point(|(address, _)| *address < bits & !rest);
        let end = self.sorted.partition_point(|(address, _)| *address <= bits | rest);
        Some(self.latest_of(first, end))
    }

    /// The latest place of a range of the sorted ones.
    fn latest_of(&self, first: usize, end: usize) -> usize {
        let leaves = self.sorted.len();
        let (mut low, mut high, mut latest) = (first + leaves, end + leaves, 0);
        while low < high {
            if low % 2 == 1 {
                latest = latest.max(self.latest[low]);
                low += 1;
            }
            if high % 2 == 1 {
                high -= 1;
                latest = latest.max(self.latest[high]);
            }
            (low, high) = (low / 2, high / 2);
        }
        latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn address() -> impl Strategy<Value = IpAddr> {
        let bit = || prop_oneof![Just(0_u32), 0..32_u32];
        prop_oneof![
            prop::collection::vec(bit(), 0..4)
                .prop_map(
                    |bits| Ipv4Addr::from_bits(bits.into_iter().fold(0, |all, bit| all | 1 << bit)).into()
                ),
            prop::collection::vec(bit(), 0..4).prop_map(|bits| {
                Ipv6Addr::from_bits(bits.into_iter().fold(0, |all, bit| all | 1 << (4 * bit))).into()
            }),
        ]
    }

    fn prefix() -> impl Strategy<Value = Prefix> {
        (address(), 0..=32_u8).prop_map(|(address, length)| Prefix::new(address, length).unwrap())
    }

    proptest! {
        #[test]
        fn of_many_the_same_is_found_as_of_few(
            prefixes in prop::collection::vec(prefix(), 0..40),
            destinations in prop::collection::vec(address(), 1..20),
        ) {
            let few = Sources { addresses: prefixes.clone(), index: None };
            let many = Sources { index: Some(Index::new(&prefixes)), addresses: prefixes };
            for destination in destinations {
                prop_assert_eq!(many.find(destination), few.find(destination), "{}", destination);
            }
        }
    }
}
