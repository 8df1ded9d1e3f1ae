//! IPv4 (RFC 791).

use super::checksum::Sum;
use super::{is_ipv4, set_u16, u16_at};
use crate::net::Protocol;
use std::net::Ipv4Addr;
use std::ops::Range;

/// Length of a header without options.
pub const HEADER: usize = 20;
/// Length of a header with all the options that it has room for.
pub const LONGEST: usize = 60;
/// Where the type of service stands.
pub const TOS: usize = 1;
/// Where the datagram's length stands, header included.
pub const TOTAL_LENGTH: usize = 2;
/// Where the identification stands, which fragments of one datagram have in common.
pub const IDENTIFICATION: usize = 4;
/// Where the fragment field stands.
pub const FRAGMENT: usize = 6;
/// Where the time to live stands.
pub const TTL: usize = 8;
/// Where the number of the protocol stands.
pub const PROTOCOL: usize = 9;
const CHECKSUM: usize = 10;
const SOURCE: Range<usize> = 12..16;
const DESTINATION: Range<usize> = 16..20;
/// The bit of the fragment field that forbids fragmentation.
pub const DONT_FRAGMENT: u16 = 0x4000;
/// The bit of the fragment field that announces further fragments.
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// The bits of the fragment field that tell where a fragment belongs, in units of 8 bytes.
pub const OFFSET: u16 = 0x1fff;

/// An IPv4 header that was checked: its length, the datagram's length, its version.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<'a> {
    header: &'a [u8],
    total_length: usize,
}

/// What keeps a header from being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv4Error {
    /// It is cut short or contradicts itself.
    Malformed,
    /// Its checksum is wrong.
    Checksum,
}

impl<'a> Ipv4<'a> {
    /// Reads the header of `datagram`, which may have link-layer padding behind it.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Ipv4Error> {
        let first: &[u8; HEADER] = datagram.first_chunk().ok_or(Ipv4Error::Malformed)?;
        let length = said_length(first);
        let total_length = usize::from(u16_at(first, TOTAL_LENGTH));
        if !is_ipv4(first) || length < HEADER || total_length < length || total_length > datagram.len() {
            return Err(Ipv4Error::Malformed);
        }
        let header = &datagram[..length];
        if Sum::ZERO.bytes(header).checksum() != 0 {
            return Err(Ipv4Error::Checksum);
        }
        Ok(Self { header, total_length })
    }

    /// Length of the header with its options.
    #[must_use]
    pub const fn header_length(&self) -> usize {
        self.header.len()
    }

    /// Length of the datagram, header included.
    #[must_use]
    pub const fn total_length(&self) -> usize {
        self.total_length
    }

    /// Type of service: DSCP and ECN.
    #[must_use]
    pub fn tos(&self) -> u8 {
        self.header[1]
    }

    /// Whether nobody may fragment it.
    #[must_use]
    pub fn dont_fragment(&self) -> bool {
        u16_at(self.header, FRAGMENT) & DONT_FRAGMENT != 0
    }

    /// Whether further fragments of the datagram follow.
    #[must_use]
    pub fn more_fragments(&self) -> bool {
        u16_at(self.header, FRAGMENT) & MORE_FRAGMENTS != 0
    }

    /// Where in the datagram's payload this fragment belongs, in bytes.
    #[must_use]
    pub fn fragment_offset(&self) -> usize {
        usize::from(u16_at(self.header, FRAGMENT) & OFFSET) * 8
    }

    /// Time to live.
    #[must_use]
    pub fn ttl(&self) -> u8 {
        self.header[8]
    }

    /// What it carries.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        Protocol(self.header[9])
    }

    /// Who sent it.
    #[must_use]
    pub fn source(&self) -> Ipv4Addr {
        address_at(self.header, 12)
    }

    /// Where it is to go.
    #[must_use]
    pub fn destination(&self) -> Ipv4Addr {
        address_at(self.header, 16)
    }
}

fn address_at(header: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3])
}

/// Writes the source address; the checksum is left to [`set_checksum`].
pub fn set_source(header: &mut [u8], address: Ipv4Addr) {
    header[SOURCE].copy_from_slice(&address.octets());
}

/// Writes the destination address; the checksum is left to [`set_checksum`].
pub fn set_destination(header: &mut [u8], address: Ipv4Addr) {
    header[DESTINATION].copy_from_slice(&address.octets());
}

/// Sums the header anew.
pub fn set_checksum(header: &mut [u8]) {
    set_u16(header, CHECKSUM, 0);
    let checksum = Sum::ZERO.bytes(&header[..said_length(header)]).checksum();
    set_u16(header, CHECKSUM, checksum);
}

/// What a header says its own length is.
#[must_use]
pub const fn said_length(header: &[u8]) -> usize {
    (header[0] & 0xf) as usize * 4
}

/// Source and destination of a header.
#[must_use]
pub fn ends(header: &[u8; HEADER]) -> (Ipv4Addr, Ipv4Addr) {
    (address_at(header, SOURCE.start), address_at(header, DESTINATION.start))
}

/// Sums the header anew, if it is an IPv4 header.
pub fn sum_if_v4(header: &mut [u8]) {
    if is_ipv4(header) {
        set_checksum(header);
    }
}

/// The fields of a header that the engine makes itself.
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    /// DSCP and ECN.
    pub tos: u8,
    /// Length of the datagram, header included.
    pub total_length: u16,
    /// Tells the fragments of one datagram from those of another.
    pub identification: u16,
    /// Flags and offset as they stand in the header.
    pub fragment: u16,
    /// Time to live.
    pub ttl: u8,
    /// What it carries.
    pub protocol: Protocol,
    /// Who sends it.
    pub source: Ipv4Addr,
    /// Where it is to go.
    pub destination: Ipv4Addr,
}

impl Fields {
    /// Writes a header without options, checksum included.
    pub fn write(&self, header: &mut [u8]) {
        header[0] = 0x45;
        header[TOS] = self.tos;
        set_u16(header, TOTAL_LENGTH, self.total_length);
        set_u16(header, IDENTIFICATION, self.identification);
        set_u16(header, FRAGMENT, self.fragment);
        header[TTL] = self.ttl;
        header[PROTOCOL] = self.protocol.0;
        set_source(header, self.source);
        set_destination(header, self.destination);
        set_checksum(header);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: Fields = Fields {
        tos: 0xc0,
        total_length: 28,
        identification: 7,
        fragment: DONT_FRAGMENT,
        ttl: 64,
        protocol: Protocol::UDP,
        source: Ipv4Addr::new(10, 0, 0, 2),
        destination: Ipv4Addr::new(10, 99, 0, 1),
    };

    #[test]
    fn what_was_written_reads_back() {
        let mut datagram = [0; 46];
        FIELDS.write(&mut datagram);
        let header = Ipv4::parse(&datagram).unwrap();
        assert_eq!((header.header_length(), header.total_length(), header.ttl()), (20, 28, 64));
        assert!(header.dont_fragment() && !header.more_fragments());
        assert_eq!((header.source(), header.destination()), (FIELDS.source, FIELDS.destination));
    }

    #[test]
    fn contradictions_are_named() {
        let mut good = [0; 28];
        FIELDS.write(&mut good);
        let with = |at: usize, value: u8| {
            let mut bad = good;
            bad[at] = value;
            Ipv4::parse(&bad).err()
        };
        assert_eq!(with(0, 0x65), Some(Ipv4Error::Malformed), "version 6");
        assert_eq!(with(0, 0x44), Some(Ipv4Error::Malformed), "a header of 16 bytes");
        assert_eq!(with(3, 19), Some(Ipv4Error::Malformed), "shorter than its header");
        assert_eq!(with(3, 29), Some(Ipv4Error::Malformed), "longer than the frame");
        assert_eq!(with(8, 63), Some(Ipv4Error::Checksum));
        assert_eq!(Ipv4::parse(&good[..19]).err(), Some(Ipv4Error::Malformed));
    }
}
