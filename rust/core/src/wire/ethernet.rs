//! Ethernet II, with a priority tag where there is one (IEEE 802.3, 802.1Q, 802.1ad).
//!
//! A tag whose VLAN identifier is 0 says a priority and nothing else: the frame is its interface's own, as one
//! without tag. A frame of any other VLAN belongs to a VLAN device, and what it carries is not read.

use super::u16_at;
use crate::net::Mac;
use std::ops::Range;

/// Length of the header without tags.
pub const HEADER: usize = 14;
/// Length of a VLAN tag.
pub const TAG: usize = 4;
const DESTINATION: Range<usize> = 0..6;
const SOURCE: Range<usize> = 6..12;
/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;
/// Of a tag's first 16 bits, those that name the VLAN.
const VLAN_ID: u16 = 0x0fff;

/// A frame's link-layer header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// Who is to take the frame.
    pub destination: Mac,
    /// Who sent it.
    pub source: Mac,
    /// What it carries, behind a priority tag; a VLAN's own EtherType where the frame is another VLAN's.
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
        let read = |payload: usize| (frame.len() >= payload).then(|| u16_at(frame, payload - 2));
        let (mut ethertype, mut payload) = (read(HEADER)?, HEADER);
        if matches!(ethertype, VLAN | SERVICE_VLAN) {
            let behind = read(HEADER + TAG)?;
            if u16_at(frame, HEADER) & VLAN_ID == 0 {
                (ethertype, payload) = (behind, HEADER + TAG);
            }
        }
        Some(Self { destination: Mac(*destination), source: Mac(*source), ethertype, payload })
    }
}

/// Writes who is to take the frame.
pub fn set_destination(frame: &mut [u8], destination: Mac) {
    frame[DESTINATION].copy_from_slice(&destination.0);
}

/// Writes both addresses.
pub fn set_addresses(frame: &mut [u8], destination: Mac, source: Mac) {
    set_destination(frame, destination);
    frame[SOURCE].copy_from_slice(&source.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAGGED: [u8; 18] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0x00, 0xe0, 0x00, 0x08, 0x00];

    #[test]
    fn a_priority_tag_is_stepped_over() {
        let header = Ethernet::parse(&TAGGED).unwrap();
        assert_eq!((header.ethertype, header.payload), (IPV4, 18));
        assert_eq!(header.destination, Mac([2, 0, 0, 0, 0, 1]));
        let service = [&TAGGED[..12], &[0x88, 0xa8], &TAGGED[14..]].concat();
        assert_eq!(Ethernet::parse(&service).unwrap().ethertype, IPV4);
    }

    #[test]
    fn another_vlans_frame_is_not_read() {
        for (tag, what) in [
            ([0x81, 0, 0, 5, 8, 0, 8, 0], "VLAN 5"),
            ([0x81, 0, 0x0f, 0xff, 8, 0, 8, 0], "the last identifier"),
            ([0x88, 0xa8, 0, 7, 0x81, 0, 0, 0], "tagged twice"),
            ([0x81, 0, 0, 0, 0x81, 0, 0, 5], "a priority tag around VLAN 5"),
            ([0x81, 0, 0, 0, 0x81, 0, 0, 0], "a priority tag around another"),
        ] {
            let header = Ethernet::parse(&[&TAGGED[..12], &tag[..]].concat()).unwrap();
            assert!(matches!(header.ethertype, VLAN | SERVICE_VLAN), "{what}");
        }
    }

    #[test]
    fn a_cut_header_is_none() {
        assert_eq!(Ethernet::parse(&TAGGED[..13]), None);
        assert_eq!(Ethernet::parse(&TAGGED[..17]), None);
    }
}
