//! UDP (RFC 768).

use super::{ports, u16_at};

/// Length of the header.
pub const HEADER: usize = 8;
/// Where the datagram's length stands, header included.
pub const LENGTH: usize = 4;
/// Where the checksum stands.
pub const CHECKSUM: usize = 6;

/// A UDP header that was checked.
#[derive(Clone, Copy, Debug)]
pub struct Udp<'a> {
    header: &'a [u8; HEADER],
}

impl<'a> Udp<'a> {
    /// Reads the header of `datagram`; `None` when it is cut short.
    #[must_use]
    pub fn parse(datagram: &'a [u8]) -> Option<Self> {
        datagram.first_chunk().map(|header| Self { header })
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

    /// Length of the datagram, header included, as the header says it.
    #[must_use]
    pub fn length(&self) -> usize {
        usize::from(u16_at(self.header, LENGTH))
    }

    /// The checksum; 0 when the sender computed none.
    #[must_use]
    pub fn checksum(&self) -> u16 {
        u16_at(self.header, CHECKSUM)
    }
}

/// A computed checksum as it is sent: 0 would mean that there is none.
#[must_use]
pub const fn never_zero(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_fields() {
        let header = [0x9c, 0x40, 0, 53, 0, 12, 0xab, 0xcd];
        let udp = Udp::parse(&header).unwrap();
        assert_eq!((udp.source_port(), udp.destination_port()), (40000, 53));
        assert_eq!((udp.length(), udp.checksum()), (12, 0xabcd));
        assert!(Udp::parse(&header[..7]).is_none());
    }
}
