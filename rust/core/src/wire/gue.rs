//! Generic UDP Encapsulation (draft-ietf-intarea-gue), version 0, without options: what stands between the UDP
//! header and a tunnelled packet.

use crate::net::Protocol;

/// Length of the header.
pub const HEADER: usize = 4;
const CONTROL: u8 = 0x20;
const LENGTH: u8 = 0x1f;
const VERSION: u8 = 0xc0;

/// Writes the header in front of a packet of `protocol`.
pub fn write(protocol: Protocol, header: &mut [u8]) {
    header[..HEADER].copy_from_slice(&[0, protocol.0, 0, 0]);
}

/// Reads a header: what it carries, and its length with options. `None` when it is cut short, of another
/// version, or a control message.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<(Protocol, usize)> {
    let header: &[u8; HEADER] = bytes.first_chunk()?;
    let data = header[0] & (VERSION | CONTROL) == 0;
    data.then(|| (Protocol(header[1]), HEADER + usize::from(header[0] & LENGTH) * 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let mut header = [0xff; 4];
        write(Protocol::IPV6, &mut header);
        assert_eq!(parse(&header), Some((Protocol::IPV6, 4)));
        assert_eq!(parse(&[2, 4, 0, 0]), Some((Protocol::IPIP, 12)), "options of two words");
        for other in [[0x40, 4, 0, 0], [0x20, 4, 0, 0]] {
            assert_eq!(parse(&other), None);
        }
    }
}
