//! ARP for IPv4 over Ethernet (RFC 826).

use super::{ethernet, set_u16, u16_at};
use crate::net::Mac;
use std::net::Ipv4Addr;
use std::ops::Range;

/// Length of the packet.
pub const LENGTH: usize = 28;
/// IPv4 over Ethernet: how a packet about that begins.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];
const OPERATION: usize = 6;
const SENDER_MAC: Range<usize> = 8..14;
const SENDER: Range<usize> = 14..18;
const TARGET_MAC: Range<usize> = 18..24;
const TARGET: Range<usize> = 24..28;
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

/// What an ARP packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    operation: u16,
    sender_mac: Mac,
    sender: Ipv4Addr,
    target: Ipv4Addr,
}

impl Arp {
    /// Reads a packet; `None` when it is cut short or not about IPv4 over Ethernet.
    #[must_use]
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let packet: &[u8; LENGTH] = packet.first_chunk()?;
        if packet[..KIND.len()] != KIND {
            return None;
        }
        let [.., a, b, c, d] = *packet;
        let mac = packet[SENDER_MAC].first_chunk()?;
        let sender: &[u8; 4] = packet[SENDER].first_chunk()?;
        Some(Self {
            operation: u16_at(packet, OPERATION),
            sender_mac: Mac(*mac),
            sender: Ipv4Addr::from(*sender),
            target: Ipv4Addr::new(a, b, c, d),
        })
    }

    /// Whether somebody asks.
    #[must_use]
    pub const fn is_request(&self) -> bool {
        self.operation == REQUEST
    }

    /// Whether somebody answers.
    #[must_use]
    pub const fn is_reply(&self) -> bool {
        self.operation == REPLY
    }

    /// The link-layer address of who sent it.
    #[must_use]
    pub const fn sender_mac(&self) -> Mac {
        self.sender_mac
    }

    /// The address of who sent it.
    #[must_use]
    pub const fn sender(&self) -> Ipv4Addr {
        self.sender
    }

    /// The address that is asked about.
    #[must_use]
    pub const fn target(&self) -> Ipv4Addr {
        self.target
    }

    /// Length of a frame with an answer, or a question.
    pub const REPLY_FRAME: usize = ethernet::HEADER + LENGTH;

    /// A frame by which `mac` asks everybody on the link who has `target`. The unspecified `sender` makes it a
    /// probe, which teaches nobody anything (RFC 5227 §2.1.1); a `sender` that is the target, an announcement.
    #[must_use]
    pub fn question(mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> [u8; Self::REPLY_FRAME] {
        let asked = Self { operation: REQUEST, sender_mac: Mac::default(), sender: target, target: sender };
        let mut frame = [0; Self::REPLY_FRAME];
        asked.write_reply(mac, &mut frame);
        ethernet::set_addresses(&mut frame, Mac::BROADCAST, mac);
        set_u16(&mut frame[ethernet::HEADER..], OPERATION, REQUEST);
        frame
    }

    /// Writes a frame that answers this request: its target is at `mac`.
    pub fn write_reply(&self, mac: Mac, frame: &mut [u8]) {
        ethernet::set_addresses(frame, self.sender_mac, mac);
        set_u16(frame, 12, ethernet::ARP);
        let packet = &mut frame[ethernet::HEADER..][..LENGTH];
        packet[..KIND.len()].copy_from_slice(&KIND);
        set_u16(packet, OPERATION, REPLY);
        packet[SENDER_MAC].copy_from_slice(&mac.0);
        packet[SENDER].copy_from_slice(&self.target.octets());
        packet[TARGET_MAC].copy_from_slice(&self.sender_mac.0);
        packet[TARGET].copy_from_slice(&self.sender.octets());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO_HAS: [u8; LENGTH] =
        [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 10, 0, 0, 100];

    #[test]
    fn an_answer_reads_back_as_one() {
        let request = Arp::parse(&WHO_HAS).unwrap();
        assert!(request.is_request());
        assert_eq!(request.target(), Ipv4Addr::new(10, 0, 0, 100));
        let mut frame = [0; Arp::REPLY_FRAME];
        request.write_reply(Mac([2, 0, 0, 0, 0, 1]), &mut frame);
        let reply = Arp::parse(&frame[ethernet::HEADER..]).unwrap();
        assert!(reply.is_reply());
        assert_eq!(reply.sender(), Ipv4Addr::new(10, 0, 0, 100));
        assert_eq!(reply.sender_mac(), Mac([2, 0, 0, 0, 0, 1]));
        assert_eq!(reply.target(), Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!(Arp::parse(&WHO_HAS[..27]), None);
    }

    #[test]
    fn a_question_reads_back_as_one() {
        let frame = Arp::question(Mac([2, 0, 0, 0, 0, 2]), [10, 0, 0, 2].into(), [10, 0, 0, 100].into());
        assert_eq!(frame[..14], [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 2, 8, 6]);
        assert_eq!(frame[14..], WHO_HAS);
    }
}
