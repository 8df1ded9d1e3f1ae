//! TCP (RFC 9293): as much of the header as the engine reads and rewrites.

use super::{ports, u16_at, u32_at};

/// Length of a header without options.
pub const HEADER: usize = 20;
/// Where the sequence number stands.
pub const SEQUENCE: usize = 4;
/// Where the number stands of the byte that is expected next.
pub const ACKNOWLEDGEMENT: usize = 8;
/// Where the header's length stands, in the upper half of a byte, in units of four bytes.
pub const DATA_OFFSET: usize = 12;
/// Where the control bits stand.
pub const FLAGS: usize = 13;
/// Where the checksum stands.
pub const CHECKSUM: usize = 16;

/// A TCP header that was checked.
#[derive(Clone, Copy, Debug)]
pub struct Tcp<'a> {
    header: &'a [u8],
}

impl<'a> Tcp<'a> {
    /// Reads the header of `segment`; `None` when it is cut short or its length is impossible.
    #[must_use]
    pub fn parse(segment: &'a [u8]) -> Option<Self> {
        let first: &[u8; HEADER] = segment.first_chunk()?;
        let length = said_length(first);
        if length < HEADER {
            return None;
        }
        segment.get(..length).map(|header| Self { header })
    }

    /// Length of the header with its options.
    #[must_use]
    pub const fn header_length(&self) -> usize {
        self.header.len()
    }

    /// The sender's port.
    #[must_use]
    pub fn source_port(&self) -> u16 {
        u16_at(self.header, ports::SOURCE)
    }

    /// The receiver's port.
    #[must_use]
    pub fn destination_port(&self) -> u16 {
        u16_at(self.header, ports::DESTINATION)
    }

    /// Sequence number of the first byte.
    #[must_use]
    pub fn sequence(&self) -> u32 {
        u32_at(self.header, SEQUENCE)
    }

    /// The next sequence number that the sender expects.
    #[must_use]
    pub fn acknowledgement(&self) -> u32 {
        u32_at(self.header, ACKNOWLEDGEMENT)
    }

    /// The control bits.
    #[must_use]
    pub fn flags(&self) -> TcpFlags {
        TcpFlags(self.header[13])
    }
}

/// What a header says its own length is.
#[must_use]
pub fn said_length(header: &[u8]) -> usize {
    usize::from(header[DATA_OFFSET] >> 4) * 4
}

/// TCP's control bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// None.
    pub const NONE: Self = Self(0);
    /// The sender has finished.
    pub const FIN: Self = Self(0x01);
    /// Opens.
    pub const SYN: Self = Self(0x02);
    /// Resets.
    pub const RST: Self = Self(0x04);
    /// Hand over at once.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement number counts.
    pub const ACK: Self = Self(0x10);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: Self = Self(0x80);

    /// These bits and `other`'s.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether FIN is set.
    #[must_use]
    pub const fn fin(self) -> bool {
        self.0 & Self::FIN.0 != 0
    }

    /// Whether SYN is set.
    #[must_use]
    pub const fn syn(self) -> bool {
        self.0 & Self::SYN.0 != 0
    }

    /// Whether RST is set.
    #[must_use]
    pub const fn rst(self) -> bool {
        self.0 & Self::RST.0 != 0
    }

    /// Whether ACK is set.
    #[must_use]
    pub const fn ack(self) -> bool {
        self.0 & Self::ACK.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYN: [u8; 24] =
        [0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 0x02, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 5, 0xb4];

    #[test]
    fn reads_a_syn_with_options() {
        let header = Tcp::parse(&SYN).unwrap();
        assert_eq!(
            (header.source_port(), header.destination_port(), header.header_length()),
            (40000, 80, 24)
        );
        assert!(header.flags().syn() && !header.flags().ack());
        assert_eq!(header.sequence(), 1);
    }

    #[test]
    fn impossible_lengths_are_none() {
        assert!(Tcp::parse(&SYN[..19]).is_none());
        assert!(Tcp::parse(&SYN[..23]).is_none(), "options cut");
        let mut short = SYN;
        short[12] = 0x40;
        assert!(Tcp::parse(&short).is_none());
    }
}
