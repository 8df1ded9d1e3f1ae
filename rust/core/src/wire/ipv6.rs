//! IPv6 and the extension headers that stand before a transport header (RFC 8200).

use super::{set_u16, set_u32, u16_at};
use crate::net::Protocol;
use std::net::Ipv6Addr;

/// Length of the fixed header.
pub const HEADER: usize = 40;
/// More extension headers than any real packet has.
const MOST_EXTENSIONS: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// An IPv6 header that was checked, and what stands behind its extension headers.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6<'a> {
    header: &'a [u8],
    total_length: usize,
    transport: usize,
    protocol: Protocol,
    protocol_field: usize,
    fragment: Option<(usize, bool)>,
}

impl<'a> Ipv6<'a> {
    /// Reads the headers of `packet`, which may have link-layer padding behind it; `None` when one
    /// of them is cut short.
    #[must_use]
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        let first: &[u8; HEADER] = packet.first_chunk()?;
        let total_length = HEADER + usize::from(u16_at(first, 4));
        if first[0] >> 4 != 6 || total_length > packet.len() {
            return None;
        }
        let packet = &packet[..total_length];
        let (mut next, mut next_field, mut at, mut fragment) = (first[6], 6, HEADER, None);
        for _ in 0..MOST_EXTENSIONS {
            let later = matches!(fragment, Some((offset, _)) if offset > 0);
            let extension =
                matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS);
            if !extension || later {
                let protocol = Protocol(next);
                return Some(Self {
                    header: &packet[..HEADER],
                    total_length,
                    transport: at,
                    protocol,
                    protocol_field: next_field,
                    fragment,
                });
            }
            let start = packet.get(at..at + 8)?;
            let length = match next {
                FRAGMENT => {
                    let field = u16_at(start, 2);
                    fragment = Some((usize::from(field & !7), field & 1 != 0));
                    8
                }
                AUTHENTICATION => (usize::from(start[1]) + 2) * 4,
                _ => (usize::from(start[1]) + 1) * 8,
            };
            (next, next_field) = (start[0], at);
            at += length;
            if at > total_length {
                return None;
            }
        }
        None
    }

    /// Length of the packet, fixed header included.
    #[must_use]
    pub const fn total_length(&self) -> usize {
        self.total_length
    }

    /// Where the transport header begins.
    #[must_use]
    pub const fn transport(&self) -> usize {
        self.transport
    }

    /// What it carries, behind its extension headers.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Where the byte stands that names [`Ipv6::protocol`].
    #[must_use]
    pub const fn protocol_field(&self) -> usize {
        self.protocol_field
    }

    /// The fragment header's offset in bytes and whether more follow, where there is one.
    #[must_use]
    pub const fn fragment(&self) -> Option<(usize, bool)> {
        self.fragment
    }

    /// Traffic class: DSCP and ECN.
    #[must_use]
    pub fn traffic_class(&self) -> u8 {
        (u16_at(self.header, 0) >> 4) as u8
    }

    /// Hop limit.
    #[must_use]
    pub fn hop_limit(&self) -> u8 {
        self.header[7]
    }

    /// Who sent it.
    #[must_use]
    pub fn source(&self) -> Ipv6Addr {
        address_at(self.header, 8)
    }

    /// Where it is to go.
    #[must_use]
    pub fn destination(&self) -> Ipv6Addr {
        address_at(self.header, 24)
    }
}

fn address_at(header: &[u8], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&header[at..at + 16]);
    Ipv6Addr::from(octets)
}

/// Writes the source address.
pub fn set_source(header: &mut [u8], address: Ipv6Addr) {
    header[8..24].copy_from_slice(&address.octets());
}

/// Writes the destination address.
pub fn set_destination(header: &mut [u8], address: Ipv6Addr) {
    header[24..40].copy_from_slice(&address.octets());
}

/// The fields of a header that the engine makes itself. The flow label is 0.
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Length of what follows the header.
    pub payload_length: u16,
    /// What it carries.
    pub protocol: Protocol,
    /// Hop limit.
    pub hop_limit: u8,
    /// Who sends it.
    pub source: Ipv6Addr,
    /// Where it is to go.
    pub destination: Ipv6Addr,
}

impl Fields {
    /// Writes a header without extension headers.
    pub fn write(&self, header: &mut [u8]) {
        set_u32(header, 0, 6 << 28 | u32::from(self.traffic_class) << 20);
        set_u16(header, 4, self.payload_length);
        header[6] = self.protocol.0;
        header[7] = self.hop_limit;
        set_source(header, self.source);
        set_destination(header, self.destination);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, payload.len() as u8, next, 64];
        packet.extend([0xfd; 16]);
        packet.extend([0xfe; 16]);
        packet.extend(payload);
        packet
    }

    #[test]
    fn extension_headers_are_walked() {
        let bytes = packet(
            HOP_BY_HOP,
            &[[FRAGMENT, 0, 0, 0, 0, 0, 0, 0], [17, 0, 0, 1, 0, 0, 0, 9], [7; 8]].concat(),
        );
        let header = Ipv6::parse(&bytes).unwrap();
        assert_eq!((header.protocol(), header.transport()), (Protocol::UDP, 56));
        assert_eq!(header.fragment(), Some((0, true)));
        assert_eq!(bytes[header.protocol_field()], 17);
        assert_eq!(header.protocol_field(), 48);
    }

    #[test]
    fn a_cut_extension_is_none() {
        assert!(Ipv6::parse(&packet(HOP_BY_HOP, &[17, 1, 0, 0, 0, 0, 0, 0])).is_none());
        assert!(Ipv6::parse(&packet(17, &[0; 8])[..47]).is_none());
    }
}
