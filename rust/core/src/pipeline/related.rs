//! ICMP errors about connections: relayed to the server or the client whose packet they quote.

use super::{LEAST_TUNNEL_V6, Origin, Passage};
use crate::conn::Found;
use crate::forward::icmp::{Error, Speaker, emit_about};
use crate::forward::relay::{self, Quote, Translation};
use crate::forward::tunnel;
use crate::frame::Egress;
use crate::net::Protocol;
use crate::network::Path;
use crate::packet::Packet;
use crate::server::{Encapsulation, Method};
use crate::service::FTP_DATA_PORT;
use crate::trace::{Stage, Trace};
use crate::verdict::{DropReason, Verdict};
use crate::wire::icmp::{self, v4, v6};
use crate::wire::{ethernet, gre, gue, ipv4, u16_at, u32_at, udp};
use std::net::IpAddr;

/// A told MTU below this is told on as it is (Linux: the least MTU of IPv4 and a header).
const LEAST_TOLD: u32 = 68 + ipv4::HEADER as u32;

impl<E: Egress, T: Trace> Passage<'_, E, T> {
    /// An ICMP message: an error about a packet of a connection goes the connection's way, all else is the
    /// host's.
    pub(super) fn icmp(&mut self, packet: &Packet<'_>) -> Verdict {
        if !packet.is_relayed_error() {
            return self.leave_to_host(packet);
        }
        let Some(quote) = Quote::of(packet) else { return self.leave_to_host(packet) };
        let local = self.network().path(packet.destination()) == Some(Path::Local);
        if local
            && self.origin == Origin::Wire
            && let Some(verdict) = self.tunnel_error(packet, &quote)
        {
            return verdict;
        }
        if !quote.has_ports {
            // Where errors are scheduled, the kernel drops those that it cannot.
            let is_cut = self.snapshot.settings.schedule_icmp && quote.is_cut();
            return if is_cut {
                Verdict::Drop(DropReason::MalformedIcmp)
            } else {
                self.leave_to_host(packet)
            };
        }
        // The kernel takes UDP from a director for what a tunnel may be in, which begins in a first fragment.
        let may_be_ours = quote.is_first || quote.flow.protocol != Protocol::UDP;
        match self.engine.connections.find(&quote.flow.reversed()) {
            Some(found) if found.outbound => self.error_to_client(packet, &quote, found),
            _ if !may_be_ours => self.leave_to_host(packet),
            Some(found) => self.error_to_server(packet, &quote, found),
            None if local && self.snapshot.settings.schedule_icmp => self.schedule_error(packet, &quote),
            None => self.leave_to_host(packet),
        }
    }

    /// An error about a server's packet, to the server.
    fn error_to_server(&mut self, packet: &Packet<'_>, quote: &Quote, found: Found) -> Verdict {
        if packet.is_ipv4() && !packet.icmp_checksum_is_right() {
            return Verdict::Drop(DropReason::IcmpChecksum);
        }
        self.count(found, packet.ip_length());
        let asked = self.engine.connections.get(found.id).destination().address;
        self.with_options(packet, asked, |this, packet| this.transmit(packet, found.id, Some(quote)))
    }

    /// An error about a client's packet, to the client: it comes from the VIP, whoever noticed.
    fn error_to_client(&mut self, packet: &Packet<'_>, quote: &Quote, found: Found) -> Verdict {
        let connection = self.engine.connections.get(found.id);
        let (method, asked) = (connection.method(), connection.destination());
        let way = self.network().path(packet.destination());
        let refused = self.is_refused(packet, way);
        if method != Method::Masquerading {
            if !refused {
                self.count(found, packet.ip_length());
            }
            return self.leave_to_host(packet);
        }
        if !packet.icmp_checksum_is_right() {
            return Verdict::Drop(DropReason::IcmpChecksum);
        }
        let translation = Translation::ToClient(asked);
        let output = match way {
            _ if refused => return self.leave_to_host(packet),
            None => return self.leave_to_host(packet),
            Some(Path::Out(output)) => output,
            Some(Path::Local) => {
                self.count(found, packet.ip_length());
                return self.error_to_host(packet, quote, translation);
            }
        };
        self.count(found, packet.ip_length());
        self.trace.stage(&Stage::Translated { address: asked });
        let hop = self.origin == Origin::Wire;
        self.with_options(packet, asked.address, |this, packet| {
            let sent = relay::emit(packet, quote, translation, hop, &output, this.egress);
            this.sent(sent, &output)
        })
    }

    /// An error about a packet of no connection that a service's server may have sent: a server is chosen for
    /// it as for a client's packet (`schedule_icmp`).
    fn schedule_error(&mut self, packet: &Packet<'_>, quote: &Quote) -> Verdict {
        let flow = quote.flow.reversed();
        let Some(service) = self.service(&flow) else {
            return self.leave_to_host(packet);
        };
        if self.engine.defences.drops() {
            return Verdict::Drop(DropReason::DropPacket);
        }
        if flow.source.port == FTP_DATA_PORT {
            return self.leave_to_host(packet);
        }
        // The kernel's schedulers that go by the destination look at the quoted packet as it stands.
        match self.admit(service, &flow, flow.source.address) {
            Ok(made) => self.while_admitted(made, |this, found| this.error_to_server(packet, quote, found)),
            Err(reason) => Verdict::Drop(reason),
        }
    }

    /// An error about a tunnel of the director's own becomes an error about the packet in it, told to the
    /// client. `None` when it is about something else.
    ///
    /// Where IPv6 is in it, Linux relays nothing, and so do we; but a path MTU is learnt, so that the client is told at
    /// its next packet, where a kernel goes on sending what never arrives.
    fn tunnel_error(&mut self, packet: &Packet<'_>, quote: &Quote) -> Option<Verdict> {
        let (kinds, inner) = tunnelled(packet, quote)?;
        let found = self.engine.connections.find(&inner.flow).filter(|found| !found.outbound)?;
        let server = quote.flow.destination.address;
        let tunnel = self.snapshot.services.tunnel_to(server, kinds.into_iter())?;
        if !inner.has_ports {
            return None;
        }
        if !packet.is_ipv4() || !inner.flow.source.address.is_ipv4() {
            if let Some(told) = told_mtu(packet).filter(|_| packet.icmp_checksum_is_right()) {
                self.learn(server, tunnel, told);
            }
            return None;
        }
        if !packet.icmp_checksum_is_right() {
            return Some(Verdict::Drop(DropReason::IcmpChecksum));
        }
        let message = packet.payload();
        let (kind, code) = (message[icmp::TYPE], message[icmp::CODE]);
        let rest = if (kind, code) == (v4::UNREACHABLE, v4::FRAGMENTATION_NEEDED) {
            let told = self.learn(server, tunnel, u32::from(u16_at(message, v4::MTU)));
            if !inner.dont_fragment {
                return Some(Verdict::Drop(DropReason::PathMtu));
            }
            told
        } else {
            u32_at(message, icmp::REST)
        };
        let asked = inner.flow.destination.address;
        let Some(way_back) = self.way_back(inner.flow.source.address) else {
            return Some(Verdict::Drop(DropReason::NoRoute));
        };
        let speaker = Speaker { address: asked, identification: self.identification(), out: &way_back };
        let sent = emit_about(Error::relayed(kind, code, rest), packet, &inner, &speaker, self.egress);
        // Linux counts the client's packet that came back, and then the error that it becomes.
        let to_client = Found { outbound: true, ..found };
        self.count(to_client, packet.end - inner.network);
        if let Ok(length) = sent {
            self.count(to_client, length);
        }
        Some(self.sent(sent.map(drop), &way_back))
    }

    /// Remembers what a router said about the way to the server at `address`; returns what that leaves for a packet
    /// in a tunnel.
    fn learn(&mut self, address: IpAddr, encapsulation: Encapsulation, told: u32) -> u32 {
        let link = match self.network().path(address) {
            Some(Path::Out(output)) => output.mtu,
            _ => return told,
        };
        let overhead = tunnel::overhead(address, encapsulation);
        // No link is narrower than what IPv6 has to be able to pass, in a tunnel too.
        let told = if address.is_ipv4() { told } else { told.max(LEAST_TUNNEL_V6 + overhead) };
        let known = self.engine.path_mtus.limit(address, link, self.now);
        self.engine.path_mtus.learn(address, told, known, self.now);
        let mtu = self.engine.path_mtus.limit(address, link, self.now);
        if mtu > LEAST_TOLD { mtu.saturating_sub(overhead) } else { mtu }
    }
}

/// The packet that a tunnel carried, if it may be one that the error quotes, and what tunnel that may be.
fn tunnelled(packet: &Packet<'_>, quote: &Quote) -> Option<([Encapsulation; 2], Quote)> {
    let carried = packet.bytes.get(quote.transport..packet.end).filter(|_| quote.is_first)?;
    let either = [false, true];
    let (kinds, inner, length) = match quote.flow.protocol {
        inner @ (Protocol::IPIP | Protocol::IPV6) => ([Encapsulation::Ipip; 2], inner, 0),
        Protocol::UDP => {
            let port = quote.flow.destination.port;
            let (inner, length) = gue::parse(carried.get(udp::HEADER..)?)?;
            (either.map(|checksum| Encapsulation::Gue { port, checksum }), inner, udp::HEADER + length)
        }
        Protocol::GRE => {
            let (ethertype, length) = gre::parse(carried)?;
            let inner = match ethertype {
                ethernet::IPV4 => Protocol::IPIP,
                ethernet::IPV6 => Protocol::IPV6,
                _ => return None,
            };
            (either.map(|checksum| Encapsulation::Gre { checksum }), inner, length)
        }
        _ => return None,
    };
    let is_ipv4 = match inner {
        Protocol::IPIP => true,
        Protocol::IPV6 => false,
        _ => return None,
    };
    Some((kinds, Quote::at(packet, quote.transport + length, is_ipv4)?))
}

/// The MTU that a router told, if that is what the error does.
fn told_mtu(packet: &Packet<'_>) -> Option<u32> {
    let message = packet.payload();
    match (packet.is_ipv4(), message[icmp::TYPE], message[icmp::CODE]) {
        (true, v4::UNREACHABLE, v4::FRAGMENTATION_NEEDED) => Some(u32::from(u16_at(message, v4::MTU))),
        (false, v6::PACKET_TOO_BIG, _) => Some(u32_at(message, icmp::REST)),
        _ => None,
    }
}
