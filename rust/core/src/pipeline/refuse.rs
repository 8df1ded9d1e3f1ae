//! Telling a sender why its packet ends here, in whose name, by which way.

use super::{Passage, Sender};
use crate::forward::icmp::{self, Error, Speaker};
use crate::frame::Egress;
use crate::network::{Output, Path};
use crate::packet::Packet;
use crate::trace::{Stage, Trace};
use crate::verdict::Verdict;
use std::net::IpAddr;

impl<E: Egress, T: Trace> Passage<'_, E, T> {
    /// The rest of a datagram has not come: its sender is told, about the first fragment. Those of IPv4 that only pass
    /// through are gathered where a router has counted the hop.
    pub(super) fn too_late(&mut self, first: &Packet<'_>) -> Verdict {
        let late = Error::REASSEMBLY_TIME_EXCEEDED;
        if self.network().path(first.destination()) == Some(Path::Local) {
            return self.refuse(first, Sender::Client, late);
        }
        let late = if first.is_ipv4() { late.behind_hop() } else { late };
        self.refuse(first, Sender::Server, late)
    }

    /// Tells the sender why its packet ends here, by the way back to it; drops it where it cannot be told.
    pub(super) fn refuse(&mut self, packet: &Packet<'_>, sender: Sender, error: Error) -> Verdict {
        let Some(way_back) = self.way_back(packet.source()) else {
            return Verdict::Drop(error.otherwise());
        };
        let Some(address) = self.speaker(packet, sender, &way_back) else {
            return Verdict::Drop(error.otherwise());
        };
        let speaker = Speaker { address, identification: self.identification(), out: &way_back };
        match icmp::emit(error, packet, &speaker, self.egress) {
            Ok(length) => {
                self.trace.stage(&Stage::Answer { what: error.name() });
                self.count_error_about(packet, length);
                Verdict::Reply
            }
            Err(_) => Verdict::Drop(error.otherwise()),
        }
    }

    /// Whose name an error bears. In IPv4 it is the address that was asked for, and nobody's if the director
    /// does not hold that; in IPv6 an address of an interface: the one that was asked for, or else the one on
    /// the way back.
    fn speaker(&self, packet: &Packet<'_>, sender: Sender, way_back: &Output) -> Option<IpAddr> {
        let asked = packet.destination();
        let own = if packet.is_ipv4() {
            self.network().path(asked) == Some(Path::Local)
        } else {
            self.network().is_held(asked)
        };
        match sender {
            Sender::Client if own => Some(asked),
            Sender::Client if packet.is_ipv4() => None,
            _ => way_back.source,
        }
    }

    /// An error that the director sends, `length` bytes long, leaves as all that its host sends: one about a client's
    /// packet counts as sent to the client, where the reply would bear the same addresses (DR and TUN).
    fn count_error_about(&self, packet: &Packet<'_>, length: usize) {
        if let Some(found) = self.engine.connections.find(&packet.connection_flow().reversed())
            && found.outbound
        {
            self.count(found, length);
        }
    }
}
