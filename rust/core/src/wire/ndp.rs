//! Neighbour discovery (RFC 4861): who has an IPv6 address, and who says so.

use super::checksum::Sum;
use super::icmp::{CHECKSUM, v6};
use super::{ethernet, ipv6, set_u16};
use crate::net::{Mac, Protocol};
use std::net::Ipv6Addr;

/// The hop limit of all messages: one that a router sent on has another.
pub const HOP_LIMIT: u8 = 255;
/// Length of the frames that are made here.
pub const FRAME: usize = ethernet::HEADER + ipv6::HEADER + LENGTH + OPTION;

/// Length of a message without options, and of the option that holds a link-layer address.
const LENGTH: usize = 24;
const OPTION: usize = 8;
const SOURCE_ADDRESS: u8 = 1;
const TARGET_ADDRESS: u8 = 2;
/// Flags of an advertisement: it answers a question; it replaces what was known.
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// What a neighbour solicitation or advertisement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    kind: u8,
    target: Ipv6Addr,
}

impl Neighbour {
    /// Reads an ICMPv6 message; `None` when it is another one, or not well-formed (RFC 4861 §7.1). Hop limit and
    /// checksum are the caller's.
    #[must_use]
    pub fn parse(message: &[u8]) -> Option<Self> {
        let (fixed, mut options) = message.split_first_chunk::<LENGTH>()?;
        let (kind, code) = (fixed[0], fixed[1]);
        if !matches!(kind, v6::NEIGHBOUR_SOLICITATION | v6::NEIGHBOUR_ADVERTISEMENT) || code != 0 {
            return None;
        }
        while let [_, length, ..] = options {
            options = options.get(usize::from(*length) * 8..).filter(|_| *length > 0)?;
        }
        let target: &[u8; 16] = fixed.last_chunk()?;
        let target = Ipv6Addr::from(*target);
        (options.is_empty() && !target.is_multicast()).then_some(Self { kind, target })
    }

    /// Whether somebody asks; somebody answers otherwise, or says so unasked.
    #[must_use]
    pub const fn is_question(&self) -> bool {
        self.kind == v6::NEIGHBOUR_SOLICITATION
    }

    /// The address that it is about.
    #[must_use]
    pub const fn target(&self) -> Ipv6Addr {
        self.target
    }
}

/// A frame by which `mac`, which has the address `sender`, asks the link who has `target`.
#[must_use]
pub fn question(mac: Mac, sender: Ipv6Addr, target: Ipv6Addr) -> [u8; FRAME] {
    let group = solicited_node(target);
    frame(mac, sender, (group, group_mac(group)), [v6::NEIGHBOUR_SOLICITATION, 0, SOURCE_ADDRESS], target)
}

/// A frame that answers a question: `target` is at `mac`. Who asks without an address, because he is about to
/// take one, is told along with everybody else.
#[must_use]
pub fn answer(mac: Mac, target: Ipv6Addr, (asker, asker_mac): (Ipv6Addr, Mac)) -> [u8; FRAME] {
    if asker.is_unspecified() {
        return announcement(mac, target);
    }
    let kind = [v6::NEIGHBOUR_ADVERTISEMENT, SOLICITED | OVERRIDE, TARGET_ADDRESS];
    frame(mac, target, (asker, asker_mac), kind, target)
}

/// A frame that tells everybody on the link that `target` is at `mac`.
#[must_use]
pub fn announcement(mac: Mac, target: Ipv6Addr) -> [u8; FRAME] {
    let kind = [v6::NEIGHBOUR_ADVERTISEMENT, OVERRIDE, TARGET_ADDRESS];
    frame(mac, target, (ALL_NODES, group_mac(ALL_NODES)), kind, target)
}

/// The group to which questions about `target` are addressed (RFC 4291 §2.7.1).
#[must_use]
pub fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// A group's link-layer address (RFC 2464 §7).
fn group_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

fn frame(
    mac: Mac,
    source: Ipv6Addr,
    (destination, destination_mac): (Ipv6Addr, Mac),
    [kind, flags, option]: [u8; 3],
    target: Ipv6Addr,
) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    ethernet::set_addresses(&mut frame, destination_mac, mac);
    set_u16(&mut frame, ethernet::HEADER - 2, ethernet::IPV6);
    let (header, message) = frame[ethernet::HEADER..].split_at_mut(ipv6::HEADER);
    let fields = ipv6::Fields {
        traffic_class: 0,
        payload_length: message.len() as u16,
        protocol: Protocol::ICMPV6,
        hop_limit: HOP_LIMIT,
        source,
        destination,
    };
    fields.write(header);
    message[0] = kind;
    message[4] = flags;
    message[8..LENGTH].copy_from_slice(&target.octets());
    message[LENGTH..][..2].copy_from_slice(&[option, 1]);
    message[LENGTH + 2..].copy_from_slice(&mac.0);
    let pseudo = Sum::pseudo_header(source.into(), destination.into(), Protocol::ICMPV6, message.len());
    let checksum = pseudo.bytes(message).checksum();
    set_u16(message, CHECKSUM, checksum);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, Offload};
    use crate::net::InterfaceId;
    use crate::packet::{Packet, Parsed, parse};

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const ASKER: (Ipv6Addr, Mac) = (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x100), Mac([2, 0, 0, 0, 0, 2]));
    const VIP: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0x12, 0x3456);

    fn packet(bytes: &[u8]) -> Packet<'_> {
        match parse(&Frame { interface: InterfaceId(0), bytes, offload: Offload::NONE }) {
            Ok(Parsed::Ip(packet)) => packet,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_said_reads_back() {
        let to_all = (ALL_NODES, Mac([0x33, 0x33, 0, 0, 0, 1]));
        let group: Ipv6Addr = "ff02::1:ff12:3456".parse().unwrap();
        // Frame, whether it asks, sender, receiver, flags.
        let cases = [
            (
                question(OWN, ASKER.0, VIP),
                true,
                ASKER.0,
                (group, Mac([0x33, 0x33, 0xff, 0x12, 0x34, 0x56])),
                0,
            ),
            (answer(OWN, VIP, ASKER), false, VIP, ASKER, 0x60),
            (answer(OWN, VIP, (Ipv6Addr::UNSPECIFIED, ASKER.1)), false, VIP, to_all, 0x20),
            (announcement(OWN, VIP), false, VIP, to_all, 0x20),
        ];
        for (frame, asks, source, (destination, mac), flags) in cases {
            let packet = packet(&frame);
            let said = Neighbour::parse(packet.payload()).unwrap();
            assert_eq!((said.is_question(), said.target()), (asks, VIP));
            assert_eq!((packet.source(), packet.destination()), (source.into(), destination.into()));
            assert_eq!((packet.destination_mac, packet.source_mac), (mac, OWN));
            assert_eq!((packet.ttl, packet.payload()[4]), (255, flags));
            assert_eq!(packet.payload()[26..], OWN.0);
            assert!(packet.icmp_checksum_is_right());
        }
    }

    #[test]
    fn malformed_messages_are_none() {
        let frame = question(OWN, ASKER.0, VIP);
        let message = &frame[ethernet::HEADER + ipv6::HEADER..];
        assert!(Neighbour::parse(&message[..24]).is_some(), "options may be missing");
        assert!(Neighbour::parse(&message[..23]).is_none());
        assert!(Neighbour::parse(&message[..31]).is_none(), "an option is cut short");
        for (place, value) in [(0, 134), (1, 1), (8, 0xff), (25, 0), (25, 2)] {
            let mut message = message.to_vec();
            message[place] = value;
            assert!(Neighbour::parse(&message).is_none(), "{place}");
        }
    }
}
