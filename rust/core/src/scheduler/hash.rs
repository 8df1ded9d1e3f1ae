//! Arithmetic that several schedulers share: the kernel's multiplicative hash, the greatest common divisor.

use std::net::IpAddr;

const MULTIPLIER: u32 = 0x61c8_8647;

/// The `bits` leading bits of `value` times the golden ratio, modulo 2³².
#[must_use]
pub(super) const fn leading_bits(value: u32, bits: u32) -> usize {
    (value.wrapping_mul(MULTIPLIER) >> (32 - bits)) as usize
}

/// The greatest common divisor; of 0 and another number, that one.
#[must_use]
pub(super) const fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// An address in 32 bits: itself, or the exclusive or of an IPv6 address's four words.
#[must_use]
pub(super) fn fold(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            (bits ^ bits >> 32 ^ bits >> 64 ^ bits >> 96) as u32
        }
    }
}

/// The same of a server's address, of which a service of IPv4 takes the first 32 bits, be it an IPv6 address or not.
#[must_use]
pub(super) fn fold_as(address: IpAddr, ipv6: bool) -> u32 {
    match address {
        IpAddr::V6(address) if !ipv6 => (address.to_bits() >> 96) as u32,
        address => fold(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_kernel() {
        for (address, eight, with_port, ten) in
            [("203.0.113.9", 64, 228, 257), ("198.51.100.1", 96, 4, 385), ("10.0.0.1", 39, 203, 159)]
        {
            let folded = fold(address.parse().unwrap());
            assert_eq!(leading_bits(folded, 8), eight);
            assert_eq!(leading_bits(folded.wrapping_add(40000), 8), with_port);
            assert_eq!(leading_bits(folded, 10), ten);
        }
        let folded = fold("2001:db8:c::9".parse().unwrap());
        assert_eq!((folded, leading_bits(folded, 8)), (0x200d_0db1, 124));
    }
}
