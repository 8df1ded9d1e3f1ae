//! Ethernet II, with up to two VLAN tags (IEEE 802.3, 802.1Q, 802.1ad).

use super::u16_at;
use crate::net::Mac;

/// Length of the header without tags.
pub const HEADER: usize = 14;
/// Length of a VLAN tag.
pub const TAG: usize = 4;
/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;

/// A frame's link-layer header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// Who is to take the frame.
    pub destination: Mac,
    /// Who sent it.
    pub source: Mac,
    /// What it carries, behind its tags.
    pub ethertype: u16,
    /// Where that begins.
    pub payload: usize,
}

impl Ethernet {
    /// Reads the header; `None` when the frame ends inside it.
    #[must_use]
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let (destination, rest) = frame.split_first_chunk::<6>()?;
        let (source, _) = rest.split_first_chunk::<6>()?;
        let mut payload = HEADER;
        loop {
            if frame.len() < payload {
                return None;
            }
            let ethertype = u16_at(frame, payload - 2);
            let tagged = matches!(ethertype, VLAN | SERVICE_VLAN) && payload < HEADER + 2 * TAG;
            if !tagged {
                return Some(Self {
                    destination: Mac(*destination),
                    source: Mac(*source),
                    ethertype,
                    payload,
                });
            }
            payload += TAG;
        }
    }
}

/// Writes both addresses.
pub fn set_addresses(frame: &mut [u8], destination: Mac, source: Mac) {
    frame[..6].copy_from_slice(&destination.0);
    frame[6..12].copy_from_slice(&source.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAGGED: [u8; 18] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0x00, 0x00, 0x2a, 0x08, 0x00];

    #[test]
    fn tags_are_stepped_over() {
        let header = Ethernet::parse(&TAGGED).unwrap();
        assert_eq!((header.ethertype, header.payload), (IPV4, 18));
        assert_eq!(header.destination, Mac([2, 0, 0, 0, 0, 1]));
    }

    #[test]
    fn a_cut_header_is_none() {
        assert_eq!(Ethernet::parse(&TAGGED[..13]), None);
        assert_eq!(Ethernet::parse(&TAGGED[..17]), None);
    }
}
