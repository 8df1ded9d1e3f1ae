//! ICMP (RFC 792) and ICMPv6 (RFC 4443): types, codes and which of them are errors.

use super::checksum::Sum;
use super::{set_u16, set_u32};

/// Length of the header in front of what an error quotes, or of an echo's data.
pub const HEADER: usize = 8;
/// Where the type stands.
pub const TYPE: usize = 0;
/// Where the code stands.
pub const CODE: usize = 1;
/// Where the checksum stands.
pub const CHECKSUM: usize = 2;
/// Where the header's second word stands: what the type makes of it.
pub const REST: usize = 4;

/// Writes a message's header, the checksum 0 for now.
pub fn write_header(kind: u8, code: u8, rest: u32, message: &mut [u8]) {
    message[TYPE] = kind;
    message[CODE] = code;
    set_u16(message, CHECKSUM, 0);
    set_u32(message, REST, rest);
}

/// Sums a message whose checksum is 0 so far; `pseudo` is the sum of ICMPv6's pseudo-header.
pub fn set_checksum(message: &mut [u8], pseudo: Sum) {
    let checksum = pseudo.bytes(message).checksum();
    set_u16(message, CHECKSUM, checksum);
}

/// ICMP for IPv4.
pub mod v4 {
    /// Where "fragmentation needed" tells the MTU.
    pub const MTU: usize = 6;
    /// An answer to an echo request.
    pub const ECHO_REPLY: u8 = 0;
    /// The packet did not reach its destination.
    pub const UNREACHABLE: u8 = 3;
    /// Unreachable: nobody at that address.
    pub const HOST: u8 = 1;
    /// Unreachable: the host does not speak the protocol.
    pub const PROTOCOL: u8 = 2;
    /// Unreachable: nobody at that port.
    pub const PORT: u8 = 3;
    /// Unreachable: too long, and nobody may cut it.
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// Are you there?
    pub const ECHO_REQUEST: u8 = 8;
    /// The time to live ended.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Time exceeded: while fragments were awaited.
    pub const REASSEMBLY: u8 = 1;

    /// Whether messages of this type are about another packet: nobody answers those.
    #[must_use]
    pub const fn is_error(kind: u8) -> bool {
        matches!(kind, 3 | 4 | 5 | 11 | 12)
    }

    /// Whether IPVS relays messages of this type: redirects and parameter problems it does not.
    #[must_use]
    pub const fn is_relayed(kind: u8) -> bool {
        matches!(kind, 3 | 4 | 11)
    }
}

/// ICMP for IPv6.
pub mod v6 {
    /// The packet did not reach its destination.
    pub const UNREACHABLE: u8 = 1;
    /// Unreachable: nobody at that address.
    pub const ADDRESS: u8 = 3;
    /// Unreachable: nobody at that port.
    pub const PORT: u8 = 4;
    /// Longer than the next link takes.
    pub const PACKET_TOO_BIG: u8 = 2;
    /// The hop limit ended.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Time exceeded: while fragments were awaited.
    pub const REASSEMBLY: u8 = 1;
    /// A header says what the host does not understand.
    pub const PARAMETER_PROBLEM: u8 = 4;
    /// Parameter problem: the protocol.
    pub const NEXT_HEADER: u8 = 1;
    /// Are you there?
    pub const ECHO_REQUEST: u8 = 128;
    /// An answer to an echo request.
    pub const ECHO_REPLY: u8 = 129;
    /// Who has that address?
    pub const NEIGHBOUR_SOLICITATION: u8 = 135;
    /// Who has that address.
    pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

    /// Whether messages of this type are about another packet: nobody answers those.
    #[must_use]
    pub const fn is_error(kind: u8) -> bool {
        kind < 128
    }
}
