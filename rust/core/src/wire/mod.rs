//! Wire formats, one file a protocol, all of one shape: field ranges by name, a view whose
//! constructor checks the length once, setters for what the engine rewrites.

pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod gre;
pub mod gue;
pub mod icmp;
mod ip;
pub mod ipv4;
pub mod ipv4_options;
pub mod ipv6;
pub mod ipv6_options;
pub mod ndp;
pub mod sctp;
pub mod tcp;
pub mod udp;

pub(crate) use ip::{count_hop, mark_congestion};

/// Where the ports stand in the headers of TCP, UDP and SCTP.
pub(crate) mod ports {
    /// The sender's.
    pub(crate) const SOURCE: usize = 0;
    /// The receiver's.
    pub(crate) const DESTINATION: usize = 2;
    /// Length of both.
    pub(crate) const LENGTH: usize = 4;
}

/// Whether an IP header is IPv4's: its version says so.
#[must_use]
pub(crate) const fn is_ipv4(header: &[u8]) -> bool {
    header[0] >> 4 == 4
}

/// The big-endian 16-bit field at `at`.
#[must_use]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The big-endian 32-bit field at `at`.
#[must_use]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Writes the big-endian 16-bit field at `at`.
pub(crate) fn set_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Writes the big-endian 32-bit field at `at`.
pub(crate) fn set_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
}
