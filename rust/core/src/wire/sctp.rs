//! SCTP (RFC 9260): the common header and its CRC-32C.

/// Length of the common header.
pub const HEADER: usize = 12;
/// Length of a chunk's header.
pub const CHUNK_HEADER: usize = 4;
/// Where a chunk's header has its type.
pub const CHUNK_TYPE: usize = 0;
/// Where it has the chunk's length, header included.
pub const CHUNK_LENGTH: usize = 2;
/// Where the checksum stands.
pub const CHECKSUM: usize = 8;
/// The Castagnoli polynomial, bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;
const TABLE: [u32; 256] = table();

/// A running CRC-32C. The checksum field counts as zero.
#[derive(Clone, Copy, Debug)]
pub struct Crc32c(u32);

impl Crc32c {
    /// The sum of nothing.
    pub const START: Self = Self(!0);

    /// Adds `bytes`.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |crc, byte| {
            let place = (crc as u8) ^ byte;
            (crc >> 8) ^ TABLE[usize::from(place)]
        }))
    }

    /// The four bytes of the checksum field.
    #[must_use]
    pub const fn checksum(self) -> [u8; 4] {
        (!self.0).to_le_bytes()
    }
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut place = 0;
    while place < table.len() {
        let mut crc = place as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[place] = crc;
        place += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_3720() {
        assert_eq!(Crc32c::START.bytes(&[0; 32]).checksum(), [0xaa, 0x36, 0x91, 0x8a]);
        assert_eq!(Crc32c::START.bytes(&[0xff; 32]).checksum(), [0x43, 0xab, 0xa8, 0x62]);
    }
}
