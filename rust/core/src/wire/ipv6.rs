//! IPv6 and the extension headers that stand before a transport header (RFC 8200).

use super::{set_u16, set_u32, u16_at};
use crate::net::Protocol;
use std::net::Ipv6Addr;
use std::ops::Range;

/// Length of the fixed header.
pub const HEADER: usize = 40;
/// Length of the fragment header.
pub const FRAGMENT_HEADER: usize = 8;
/// Where the length of what follows the fixed header stands.
pub const PAYLOAD_LENGTH: usize = 4;
/// Where the number stands of what follows the fixed header.
pub const NEXT_HEADER: usize = 6;
/// Where the hop limit stands.
pub const HOP_LIMIT: usize = 7;
const SOURCE: Range<usize> = 8..24;
const DESTINATION: Range<usize> = 24..40;
/// Where the fragment header has the fragment's place, and the bit that more follow.
pub const FRAGMENT_PLACE: usize = 2;
/// That bit.
pub const MORE_FRAGMENTS: u16 = 1;
/// Where it has the identification, which fragments of one datagram have in common.
pub const FRAGMENT_IDENTIFICATION: usize = 4;
/// The MTU that every link has at least (RFC 8200 §5).
pub const LEAST_MTU: usize = 1280;
/// Room for a header with more extension headers than anybody sends.
pub const HEADER_ROOM: usize = 256;

/// The number of the hop-by-hop options header.
pub const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
/// The number of the fragment header.
pub const FRAGMENT: u8 = 44;
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
    fragment_header: usize,
}

impl<'a> Ipv6<'a> {
    /// Reads the headers of `packet`, which may have link-layer padding behind it; `None` when the fixed header or
    /// the hop-by-hop options behind it, which every router reads, are cut short.
    ///
    /// At any other extension header that is longer than the packet the walk ends: what it carries is
    /// [`Ipv6::protocol`] then, for a host to judge.
    #[must_use]
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        let first: &[u8; HEADER] = packet.first_chunk()?;
        let total_length = HEADER + usize::from(u16_at(first, PAYLOAD_LENGTH));
        if first[0] >> 4 != 6 || total_length > packet.len() {
            return None;
        }
        let packet = &packet[..total_length];
        let (mut next, mut next_field, mut at, mut fragment) = (first[6], 6, HEADER, None);
        let mut fragment_header = 0;
        while is_extension(Protocol(next)) && !matches!(fragment, Some((offset, _)) if offset > 0) {
            let length = extension_length(next, packet.get(at..).unwrap_or_default());
            let Some(length) = length.filter(|length| at + length <= total_length) else {
                if at == HEADER && next == HOP_BY_HOP {
                    return None;
                }
                break;
            };
            let start = &packet[at..];
            if next == FRAGMENT {
                let field = u16_at(start, FRAGMENT_PLACE);
                fragment = Some((usize::from(field & !7), field & 1 != 0));
                fragment_header = at;
            }
            (next, next_field) = (start[0], at);
            at += length;
        }
        Some(Self {
            header: &packet[..HEADER],
            total_length,
            transport: at,
            protocol: Protocol(next),
            protocol_field: next_field,
            fragment,
            fragment_header,
        })
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

    /// Where the fragment header is, where there is one.
    #[must_use]
    pub const fn fragment_header(&self) -> usize {
        self.fragment_header
    }

    /// Traffic class: DSCP and ECN.
    #[must_use]
    pub fn traffic_class(&self) -> u8 {
        (u16_at(self.header, 0) >> 4) as u8
    }

    /// Hop limit.
    #[must_use]
    pub fn hop_limit(&self) -> u8 {
        self.header[HOP_LIMIT]
    }

    /// Who sent it.
    #[must_use]
    pub fn source(&self) -> Ipv6Addr {
        address_at(self.header, SOURCE.start)
    }

    /// Where it is to go.
    #[must_use]
    pub fn destination(&self) -> Ipv6Addr {
        address_at(self.header, DESTINATION.start)
    }
}

/// Whether that is an extension header and no transport.
#[must_use]
pub const fn is_extension(protocol: Protocol) -> bool {
    matches!(protocol.0, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS)
}

/// Length of the extension header `number` that `bytes` begin with, if its first eight bytes are there.
fn extension_length(number: u8, bytes: &[u8]) -> Option<usize> {
    let start: &[u8; 8] = bytes.first_chunk()?;
    Some(match number {
        FRAGMENT => FRAGMENT_HEADER,
        AUTHENTICATION => (usize::from(start[1]) + 2) * 4,
        _ => options_length(start),
    })
}

/// Length of an extension header of options or of a route, of which the first two bytes are there.
#[must_use]
pub fn options_length(header: &[u8]) -> usize {
    (usize::from(header[1]) + 1) * 8
}

fn address_at(header: &[u8], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&header[at..at + 16]);
    Ipv6Addr::from(octets)
}

/// Writes the source address.
pub fn set_source(header: &mut [u8], address: Ipv6Addr) {
    header[SOURCE].copy_from_slice(&address.octets());
}

/// Writes the destination address.
pub fn set_destination(header: &mut [u8], address: Ipv6Addr) {
    header[DESTINATION].copy_from_slice(&address.octets());
}

/// An IPv6 header that an error quotes, which may end anywhere behind its first 40 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted6 {
    /// Who sent it.
    pub source: Ipv6Addr,
    /// Where it was to go.
    pub destination: Ipv6Addr,
    /// What it carried, behind its extension headers as far as they are quoted.
    pub protocol: Protocol,
    /// Where that begins.
    pub transport: usize,
    /// Whether it was the first fragment, or whole.
    pub is_first: bool,
    /// Traffic class.
    pub traffic_class: u8,
}

/// Reads a quoted header; `None` when fewer than 40 bytes are quoted, or another version's.
#[must_use]
pub fn quoted(bytes: &[u8]) -> Option<Quoted6> {
    let header: &[u8; HEADER] = bytes.first_chunk().filter(|header| header[0] >> 4 == 6)?;
    let (source, destination) = ends(header);
    let (mut next, mut at, mut is_first) = (header[6], HEADER, true);
    while let Some(start) = bytes.get(at..at + 8) {
        at += match next {
            FRAGMENT => {
                is_first = u16_at(start, FRAGMENT_PLACE) & !7 == 0;
                FRAGMENT_HEADER
            }
            AUTHENTICATION => (usize::from(start[1]) + 2) * 4,
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => options_length(start),
            _ => break,
        };
        next = start[0];
        if !is_first {
            break;
        }
    }
    let traffic_class = (u16_at(header, 0) >> 4) as u8;
    Some(Quoted6 { source, destination, protocol: Protocol(next), transport: at, is_first, traffic_class })
}

/// Source and destination of a header.
#[must_use]
pub fn ends(header: &[u8]) -> (Ipv6Addr, Ipv6Addr) {
    (address_at(header, SOURCE.start), address_at(header, DESTINATION.start))
}

/// How much of a header with its extension headers every fragment has to repeat, and where the byte stands
/// that names what follows that part.
#[must_use]
pub fn repeated_headers(header: &[u8]) -> (usize, usize) {
    let (mut end, mut field, mut routed) = (HEADER, 6, false);
    while end + 2 <= header.len() {
        match header[field] {
            HOP_BY_HOP => {}
            ROUTING => routed = true,
            // Behind a routing header they are the last destination's alone.
            DESTINATION_OPTIONS if !routed => {}
            _ => break,
        }
        field = end;
        end += options_length(&header[end..]);
    }
    (end.min(header.len()), field)
}

/// Writes a fragment header: what the first fragment begins with, the place in bytes with the bit "more
/// follow", what tells the packet from others.
pub fn write_fragment_header(next: u8, place: u16, identification: u32, header: &mut [u8]) {
    header[0] = next;
    header[1] = 0;
    set_u16(header, FRAGMENT_PLACE, place);
    set_u32(header, FRAGMENT_IDENTIFICATION, identification);
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
        set_u16(header, PAYLOAD_LENGTH, self.payload_length);
        header[NEXT_HEADER] = self.protocol.0;
        header[HOP_LIMIT] = self.hop_limit;
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
    fn routers_headers_are_repeated() {
        assert_eq!(repeated_headers(&packet(17, &[])), (40, 6));
        let bytes = packet(
            HOP_BY_HOP,
            &[[DESTINATION_OPTIONS, 0, 1, 4, 0, 0, 0, 0], [17, 0, 1, 4, 0, 0, 0, 0]].concat(),
        );
        assert_eq!(repeated_headers(&bytes), (56, 48));
        let bytes = packet(
            ROUTING,
            &[[DESTINATION_OPTIONS, 0, 0, 0, 0, 0, 0, 0], [17, 0, 1, 4, 0, 0, 0, 0]].concat(),
        );
        assert_eq!(repeated_headers(&bytes), (48, 40), "for the last destination alone");
    }

    #[test]
    fn what_is_quoted_is_of_this_version() {
        let mut bytes = packet(17, &[7; 8]);
        assert_eq!(quoted(&bytes).map(|quote| quote.protocol), Some(Protocol::UDP));
        bytes[0] = 0x45;
        assert_eq!(quoted(&bytes), None);
    }

    #[test]
    fn the_walk_ends_at_what_cannot_be_walked() {
        let options = |next, length| [next, length, 1, 4, 0, 0, 0, 0];
        let many = (0..20).flat_map(|_| options(DESTINATION_OPTIONS, 0)).collect::<Vec<_>>();
        for (name, first, payload, protocol, transport) in [
            (
                "options longer than the packet",
                DESTINATION_OPTIONS,
                options(17, 1).to_vec(),
                DESTINATION_OPTIONS,
                40,
            ),
            ("AH longer than the packet", AUTHENTICATION, options(6, 4).to_vec(), AUTHENTICATION, 40),
            ("a routing header of 7 bytes", ROUTING, vec![17; 7], ROUTING, 40),
            ("behind others", ROUTING, [options(60, 0), options(17, 1)].concat(), DESTINATION_OPTIONS, 48),
            ("behind many others", DESTINATION_OPTIONS, many, DESTINATION_OPTIONS, 40 + 8 * 20),
        ] {
            let bytes = packet(first, &payload);
            let header = Ipv6::parse(&bytes).unwrap();
            assert_eq!((header.protocol(), header.transport()), (Protocol(protocol), transport), "{name}");
        }
    }

    #[test]
    fn a_cut_extension_is_none() {
        assert!(Ipv6::parse(&packet(HOP_BY_HOP, &[17, 1, 0, 0, 0, 0, 0, 0])).is_none());
        assert!(Ipv6::parse(&packet(17, &[0; 8])[..47]).is_none());
    }
}
