//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624, equation 3).

use crate::net::Protocol;
use std::net::IpAddr;

/// A running one's complement sum, not folded yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Self = Self(0);

    /// Adds `bytes`, which start at an even place of the summed data; a last odd byte is padded.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let mut sum = self.0;
        let mut words = bytes.chunks_exact(4);
        for word in &mut words {
            sum += u64::from(u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
        }
        let rest = words.remainder();
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        Self(sum + u64::from(u32::from_be_bytes(last)))
    }

    /// Adds a 16-bit word.
    #[must_use]
    pub fn word(self, word: u16) -> Self {
        Self(self.0 + u64::from(word))
    }

    /// Adds an address.
    #[must_use]
    pub fn address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => self.bytes(&address.octets()),
            IpAddr::V6(address) => self.bytes(&address.octets()),
        }
    }

    /// The sum of a transport's pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1).
    #[must_use]
    pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: Protocol, length: usize) -> Self {
        let length = length as u32;
        Self::ZERO
            .address(source)
            .address(destination)
            .word((length >> 16) as u16)
            .word(length as u16)
            .word(u16::from(protocol.0))
    }

    /// The sum in 16 bits: what a checksum field holds that is still to be finished.
    #[must_use]
    pub const fn folded(self) -> u16 {
        let mut sum = self.0;
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    /// The checksum: the folded sum's complement.
    #[must_use]
    pub const fn checksum(self) -> u16 {
        !self.folded()
    }
}

/// The difference that replacing some fields makes to a checksum.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delta(Sum);

impl Delta {
    /// Nothing changed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Sum::ZERO)
    }

    /// A 16-bit field changed.
    #[must_use]
    pub fn word(self, old: u16, new: u16) -> Self {
        Self(self.0.word(!old).word(new))
    }

    /// An address changed.
    #[must_use]
    pub fn address(self, old: IpAddr, new: IpAddr) -> Self {
        let negated = match old {
            IpAddr::V4(old) => self.0.bytes(&(!old.to_bits()).to_be_bytes()),
            IpAddr::V6(old) => self.0.bytes(&(!old.to_bits()).to_be_bytes()),
        };
        Self(negated.address(new))
    }

    /// A finished checksum after the change.
    #[must_use]
    pub fn apply(self, checksum: u16) -> u16 {
        self.0.word(!checksum).checksum()
    }

    /// An unfinished checksum (the folded pseudo-header sum, not complemented) after the change.
    #[must_use]
    pub fn apply_unfinished(self, sum: u16) -> u16 {
        self.0.word(sum).folded()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_1071() {
        let sum = Sum::ZERO.bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.folded(), 0xddf2);
    }

    /// Words as they come, and those that are zero in one's complement.
    fn words(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u16>> {
        prop::collection::vec(prop_oneof![Just(0), Just(0xffff), any::<u16>()], length)
    }

    proptest! {
        /// All of them zero is the one case in which only a new sum is right, and no update yields it.
        #[test]
        fn an_update_equals_a_new_sum(mut data in words(4..40), new in words(3..4), bring_to_zero: bool) {
            let bytes = |data: &[u16]| data.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
            let sum = |data: &[u16]| Sum::ZERO.bytes(&bytes(data));
            let address = |data: &[u16]| IpAddr::from([data[1].to_be_bytes(), data[2].to_be_bytes()].concat().first_chunk::<4>().copied().unwrap_or_default());
            if bring_to_zero {
                let mut changed = [&new, &data[3..]].concat();
                changed[3] = 0;
                data[3] = sum(&changed).checksum();
            }
            let before = sum(&data);
            let delta = Delta::new().word(data[0], new[0]).address(address(&data), address(&new));
            data[..3].copy_from_slice(&new);
            let fresh = sum(&data);
            let (updated, unfinished) = (delta.apply(before.checksum()), delta.apply_unfinished(before.folded()));
            if data.iter().all(|word| *word == 0) {
                prop_assert_eq!((fresh.checksum(), updated), (0xffff, 0));
            } else {
                prop_assert_eq!((updated, unfinished), (fresh.checksum(), fresh.folded()));
            }
            if bring_to_zero && fresh.folded() != 0 {
                prop_assert_eq!(updated, 0);
            }
        }
    }
}
