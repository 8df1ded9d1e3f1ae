//! What is written alike in headers of IPv4 and IPv6.

use super::{ipv4, ipv6, is_ipv4};

/// The ECN code of a packet that was on a congested way (RFC 3168 §5).
const CONGESTION_EXPERIENCED: u8 = 0b11;

/// Counts the hop in an IP header of either family. The caller knows that the time to live lasts.
pub(crate) fn count_hop(header: &mut [u8]) {
    if is_ipv4(header) {
        header[ipv4::TTL] -= 1;
        ipv4::set_checksum(header);
    } else {
        header[ipv6::HOP_LIMIT] -= 1;
    }
}

/// Marks an IP header of either family: there was congestion on the way. IPv4's checksum is left to the caller.
pub(crate) fn mark_congestion(header: &mut [u8]) {
    if is_ipv4(header) {
        header[ipv4::TOS] |= CONGESTION_EXPERIENCED;
    } else {
        // The traffic class begins in the middle of the first byte.
        header[1] |= CONGESTION_EXPERIENCED << 4;
    }
}
