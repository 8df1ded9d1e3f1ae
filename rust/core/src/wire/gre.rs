//! Generic Routing Encapsulation (RFC 2784): the header in front of a tunnelled packet.

use super::{set_u16, u16_at};

/// Length of the header without checksum.
pub const HEADER: usize = 4;
/// Length of the checksum and of what is reserved behind it.
pub const CHECKSUM: usize = 4;
const HAS_CHECKSUM: u16 = 0x8000;

/// Writes a header whose checksum, if it is to have one, is still 0.
pub fn write(ethertype: u16, checksum: bool, header: &mut [u8]) {
    set_u16(header, 0, if checksum { HAS_CHECKSUM } else { 0 });
    set_u16(header, 2, ethertype);
    if checksum {
        header[HEADER..HEADER + CHECKSUM].fill(0);
    }
}

/// Reads a header: what it carries, as an `EtherType`, and its length. `None` when it is cut short, or has
/// other fields than a checksum.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<(u16, usize)> {
    let header: &[u8; HEADER] = bytes.first_chunk()?;
    match u16_at(header, 0) {
        0 => Some((u16_at(header, 2), HEADER)),
        HAS_CHECKSUM => Some((u16_at(header, 2), HEADER + CHECKSUM)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for (checksum, length) in [(false, 4), (true, 8)] {
            let mut header = [0xff; 8];
            write(0x0800, checksum, &mut header);
            assert_eq!(parse(&header), Some((0x0800, length)));
        }
        assert_eq!(parse(&[0x20, 0, 8, 0]), None, "a key");
        assert_eq!(parse(&[0, 0, 8]), None);
    }
}
