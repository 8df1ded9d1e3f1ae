//! Telling a sender why its packet ends here, in whose name, by which way.

use super::Passage;
use crate::forward::icmp;
use crate::frame::Egress;
use crate::network::{Output, Path};
use crate::packet::Packet;
use crate::trace::{Stage, Trace};
use crate::verdict::{DropReason, Verdict};
use std::net::IpAddr;

/// Whose packet is refused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    /// A client's, which asked for an address that the engine answers for.
    Client,
    /// A server's on its way through.
    Server,
}

impl<E: Egress, T: Trace> Passage<'_, E, T> {
    /// Nobody serves there; dropped for `reason` if the sender cannot be told.
    pub(super) fn port_unreachable(&mut self, packet: &Packet<'_>, reason: DropReason) -> Verdict {
        self.refuse(packet, Sender::Client, "port unreachable", reason, |this, source, way_back| {
            icmp::port_unreachable(packet, source, this.identification(), way_back, this.egress)
        })
    }

    /// The same for a server's packet of no connection (`nat_icmp_send`).
    pub(super) fn reply_unwanted(&mut self, packet: &Packet<'_>) -> Verdict {
        let reason = DropReason::NoConnection;
        self.refuse(packet, Sender::Server, "port unreachable", reason, |this, source, way_back| {
            icmp::reply_port_unreachable(packet, source, this.identification(), way_back, this.egress)
        })
    }

    /// There is no way to the real server.
    pub(super) fn host_unreachable(&mut self, packet: &Packet<'_>) -> Verdict {
        let reason = DropReason::NoRoute;
        self.refuse(packet, Sender::Client, "host unreachable", reason, |this, source, way_back| {
            icmp::host_unreachable(packet, source, this.identification(), way_back, this.egress)
        })
    }

    /// A client's packet may not live any longer.
    pub(super) fn ttl_expired(&mut self, packet: &Packet<'_>) -> Verdict {
        self.time_exceeded(packet, Sender::Client)
    }

    /// A server's packet may not live any longer.
    pub(super) fn reply_ttl_expired(&mut self, packet: &Packet<'_>) -> Verdict {
        self.time_exceeded(packet, Sender::Server)
    }

    fn time_exceeded(&mut self, packet: &Packet<'_>, sender: Sender) -> Verdict {
        self.refuse(packet, sender, "time exceeded", DropReason::TtlExpired, |this, source, way_back| {
            icmp::time_exceeded(packet, source, this.identification(), way_back, this.egress)
        })
    }

    /// A client's packet may be no longer than `limit`.
    pub(super) fn too_big(&mut self, packet: &Packet<'_>, limit: u32) -> Verdict {
        let reason = DropReason::TooBig;
        self.refuse(packet, Sender::Client, "fragmentation needed", reason, |this, source, way_back| {
            icmp::frag_needed(packet, source, limit, this.identification(), way_back, this.egress)
        })
    }

    /// A server's packet may be no longer than `limit`.
    pub(super) fn reply_too_big(&mut self, packet: &Packet<'_>, limit: u32) -> Verdict {
        let reason = DropReason::TooBig;
        self.refuse(packet, Sender::Server, "fragmentation needed", reason, |this, source, way_back| {
            icmp::reply_frag_needed(packet, source, limit, this.identification(), way_back, this.egress)
        })
    }

    /// The rest of a datagram has not come: its sender is told, about the first fragment. Those of IPv4 that only pass
    /// through are gathered where a router has counted the hop.
    pub(super) fn too_late(&mut self, first: &Packet<'_>) -> Verdict {
        let local = self.network().path(first.destination()) == Some(Path::Local);
        let sender = if local { Sender::Client } else { Sender::Server };
        let hop_counted = !local && first.is_ipv4();
        let reason = DropReason::Fragment;
        self.refuse(first, sender, "time exceeded", reason, |this, source, way_back| {
            icmp::reassembly_time_exceeded(
                first,
                source,
                hop_counted,
                this.identification(),
                way_back,
                this.egress,
            )
        })
    }

    /// Tells the sender why its packet ends here, by the way back to it; drops for `reason` when it
    /// cannot be told.
    fn refuse(
        &mut self,
        packet: &Packet<'_>,
        sender: Sender,
        what: &'static str,
        reason: DropReason,
        answer: impl FnOnce(&mut Self, IpAddr, &Output) -> Result<(), DropReason>,
    ) -> Verdict {
        let Some(way_back) = self.way_back(packet.source()) else {
            return Verdict::Drop(reason);
        };
        let Some(source) = self.speaker(packet, sender, &way_back) else {
            return Verdict::Drop(reason);
        };
        match answer(self, source, &way_back) {
            Ok(()) => {
                self.trace.stage(&Stage::Answer { what });
                self.count_error_about(packet, &way_back);
                Verdict::Reply
            }
            Err(_) => Verdict::Drop(reason),
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

    /// An error that the director sends leaves as all that its host sends: one about a client's packet counts
    /// as sent to the client, where the reply would bear the same addresses (DR and TUN).
    fn count_error_about(&self, packet: &Packet<'_>, way_back: &Output) {
        if let Some(found) = self.engine.connections.find(&packet.connection_flow().reversed())
            && found.outbound
        {
            self.count(found, icmp::length(packet, way_back));
        }
    }
}
