//! The director's own host: what is left to it, what is translated to it, and what is said in its stead for
//! addresses that it does not hold.

use super::{Origin, Passage, Sender, too_big};
use crate::forward::icmp::Error;
use crate::forward::relay::{self, Quote, Translation};
use crate::forward::{Rewrite, answer, masquerade};
use crate::frame::Egress;
use crate::net::{Endpoint, InterfaceId, Protocol};
use crate::network::Path;
use crate::packet::Packet;
use crate::state::SctpEvent;
use crate::trace::{Stage, Trace};
use crate::verdict::{DropReason, Verdict};
use crate::wire::arp::Arp;
use crate::wire::ndp::{self, Neighbour};

impl<E: Egress, T: Trace> Passage<'_, E, T> {
    /// Leaves a packet to the host's own stack, or, where no host has the address, answers as one.
    pub(super) fn leave_to_host(&mut self, packet: &Packet<'_>) -> Verdict {
        if self.origin == Origin::Host || !self.network().is_owned(packet.destination()) {
            self.trace.stage(&Stage::Host);
            return Verdict::ToHost;
        }
        let Some(way_back) = self.way_back(packet.source()) else {
            return Verdict::Drop(DropReason::HostSilent);
        };
        let identification = self.identification();
        match answer::as_host(packet, identification, &way_back, self.egress) {
            Ok(()) => {
                self.trace.stage(&Stage::Answer { what: "as the address's host" });
                Verdict::Reply
            }
            Err(_) => Verdict::Drop(DropReason::HostSilent),
        }
    }

    /// A packet of no connection and no service. A masqueraded server may be told so.
    pub(super) fn stray(&mut self, packet: &Packet<'_>) -> Verdict {
        let way = self.network().path(packet.destination());
        let told =
            way != Some(Path::Local) && !self.is_refused(packet, way) && self.is_unwanted_reply(packet);
        if !told {
            return self.leave_to_host(packet);
        }
        // A router was about to send it on, and had counted the hop.
        let error = Error::PORT_UNREACHABLE.behind_hop().or(DropReason::NoConnection);
        self.refuse(packet, Sender::Server, error)
    }

    /// Whether a masqueraded server is to be told that a packet of its, no reply of a connection, is for one of the
    /// director's own addresses, a VIP perhaps: services come after that.
    pub(super) fn is_unwanted_here(&self, packet: &Packet<'_>) -> bool {
        self.origin == Origin::Wire
            && self.is_unwanted_reply(packet)
            && self.network().path(packet.destination()) == Some(Path::Local)
    }

    /// Whether a masqueraded server is to be told of a packet of its that no connection is known to (`nat_icmp_send`).
    fn is_unwanted_reply(&self, packet: &Packet<'_>) -> bool {
        self.snapshot.settings.nat_icmp_send
            && matches!(packet.protocol(), Protocol::TCP | Protocol::UDP | Protocol::SCTP)
            && !ends_a_connection(packet)
            && self.snapshot.services.is_masqueraded(packet.protocol(), packet.flow.source)
    }

    /// Whether the host, asked to route this packet on, will refuse it: it goes no further then.
    pub(super) fn is_refused(&self, packet: &Packet<'_>, way: Option<Path>) -> bool {
        match way {
            _ if self.origin == Origin::Host => false,
            Some(Path::Local) => false,
            Some(Path::Out(output)) => packet.ttl <= 1 || too_big(packet, output.mtu),
            None => true,
        }
    }

    /// A packet, or an error about one, for a masqueraded server that is the director itself. Loopback
    /// addresses are for the director's own packets alone.
    pub(super) fn deliver(
        &mut self,
        packet: &Packet<'_>,
        server: Endpoint,
        about: Option<&Quote>,
    ) -> Verdict {
        let foreign = self.origin == Origin::Wire && server.address.is_loopback();
        if foreign || self.network().is_owned(server.address) {
            return Verdict::Drop(DropReason::LocalServer);
        }
        let Some(quote) = about else {
            return self
                .translated_to_host(packet, &Rewrite { source: packet.flow.source, destination: server });
        };
        self.error_to_host(packet, quote, Translation::ToServer(server))
    }

    /// Hands a packet to the host, translated.
    pub(super) fn translated_to_host(&mut self, packet: &Packet<'_>, rewrite: &Rewrite) -> Verdict {
        if self.network().is_owned(rewrite.destination.address) {
            return Verdict::Drop(DropReason::LocalClient);
        }
        let frame = self.engine.host_frame.copy(packet);
        if let Err(reason) = masquerade::translate(packet, rewrite, &mut frame[packet.network..]) {
            return Verdict::Drop(reason);
        }
        self.trace.stage(&Stage::Host);
        Verdict::ToHost
    }

    /// Hands an error to the host, translated.
    pub(super) fn error_to_host(
        &mut self,
        packet: &Packet<'_>,
        quote: &Quote,
        translation: Translation,
    ) -> Verdict {
        let frame = self.engine.host_frame.copy(packet);
        if let Err(reason) =
            relay::translate_in_place(packet, quote, translation, &mut frame[packet.network..])
        {
            return Verdict::Drop(reason);
        }
        self.trace.stage(&Stage::Host);
        Verdict::ToHost
    }

    /// Answers who asks for an IPv6 address that the engine alone has; `None` when the packet is no such question.
    pub(super) fn advertise(&mut self, packet: &Packet<'_>) -> Option<Verdict> {
        if packet.protocol() != Protocol::ICMPV6 {
            return None;
        }
        packet.icmp_type()?;
        let question = Neighbour::parse(packet.payload()).filter(Neighbour::is_question)?;
        if !self.network().is_owned(question.target().into()) {
            return None;
        }
        if packet.ttl != ndp::HOP_LIMIT || !packet.icmp_checksum_is_right() {
            return Some(Verdict::Drop(DropReason::HostSilent));
        }
        let mac = self.network().interface(packet.interface).mac;
        Some(match answer::advertisement(packet, question.target(), mac, self.egress) {
            Ok(()) => Verdict::Reply,
            Err(reason) => Verdict::Drop(reason),
        })
    }

    /// Answers who asks for an address that the engine alone has.
    pub(super) fn resolve(&mut self, interface: InterfaceId, arp: &Arp) -> Verdict {
        if !arp.is_request() || !self.network().is_owned(arp.target().into()) {
            return Verdict::ToHost;
        }
        let mac = self.network().interface(interface).mac;
        match answer::arp_reply(arp, interface, mac, self.egress) {
            Ok(()) => Verdict::Reply,
            Err(reason) => Verdict::Drop(reason),
        }
    }
}

/// Whether a packet gives a connection up: nobody has to be told that there is none.
fn ends_a_connection(packet: &Packet<'_>) -> bool {
    match packet.protocol() {
        Protocol::TCP => packet.tcp_flags.rst(),
        Protocol::SCTP => SctpEvent::of_first_chunk(packet.payload()) == Some(SctpEvent::Abort),
        _ => false,
    }
}
