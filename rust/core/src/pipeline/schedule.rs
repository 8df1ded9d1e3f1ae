//! The half of the decision that is about connections: what a known one means for its packet, and how a
//! packet without one starts one.

use super::{Passage, Sender, Snapshot};
use crate::conn::{Connection, Found, TemplateId, TemplateKey};
use crate::forward::icmp::Error;
use crate::frame::Egress;
use crate::net::{Endpoint, FlowKey, Protocol};
use crate::packet::Packet;
use crate::scheduler::{Flow, Request};
use crate::server::RealServer;
use crate::service::{FTP_DATA_PORT, FTP_PORT, Persistence, VirtualService};
use crate::service_address::Span;
use crate::service_key::ServiceKey;
use crate::state::{SctpEvent, SctpState, State, TcpState};
use crate::trace::{Stage, Trace};
use crate::verdict::{DropReason, Verdict};
use std::net::IpAddr;
use std::sync::Arc;

/// A connection that was just made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admitted {
    pub(super) found: Found,
    /// Whether it ends with its packet.
    pub(super) one_packet: bool,
}

impl<'a, E: Egress, T: Trace> Passage<'a, E, T> {
    /// Whether a client's packet goes the way of the connection that it found. If not, that connection is to be
    /// forgotten, and the packet treated as if there had been none: one that opens may start another, and a server that is
    /// gone may end it.
    pub(super) fn still_holds(&self, packet: &Packet<'_>, found: Found) -> Result<bool, DropReason> {
        let settings = &self.snapshot.settings;
        let connection = self.engine.connections.get(found.id);
        let server = connection.server();
        if opens_anew(packet) {
            let drained = settings.expire_nodest_conn && server.weight() == 0;
            if drained || may_be_reused(connection, settings.conn_reuse_mode) {
                return Ok(false);
            }
        }
        match (server.is_available(), settings.expire_nodest_conn) {
            (true, _) => Ok(true),
            (false, true) => Ok(false),
            (false, false) => Err(DropReason::ServerGone),
        }
    }

    /// A packet of no connection: it may start one.
    pub(super) fn begin(&mut self, packet: &Packet<'_>) -> Verdict {
        let Some(service) = self.service(&packet.flow) else {
            return self.stray(packet);
        };
        if packet.cut_short {
            return Verdict::Drop(packet.cut_reason());
        }
        match self.may_start(packet) {
            Some(true) => {}
            Some(false) => return self.leave_to_host(packet),
            None => return Verdict::Drop(DropReason::MalformedSctp),
        }
        if self.engine.defences.drops() {
            return Verdict::Drop(DropReason::DropPacket);
        }
        if packet.flow.source.port == FTP_DATA_PORT {
            return self.leave_to_host(packet);
        }
        match self.admit(service, &packet.flow, packet.destination()) {
            Ok(admitted) => self.while_admitted(admitted, |this, found| this.inbound(packet, found)),
            Err(DropReason::NoServer) if is_ftp_by_chance(service, packet) => self.leave_to_host(packet),
            Err(DropReason::NoServer) => self.refuse(packet, Sender::Client, Error::PORT_UNREACHABLE),
            Err(reason) => Verdict::Drop(reason),
        }
    }

    /// The service that a flow from a client is for.
    pub(super) fn service(&self, flow: &FlowKey) -> Option<&'a VirtualService> {
        let Snapshot { services, marks, .. } = self.snapshot;
        services.lookup(marks.of(flow), flow.protocol, flow.destination)
    }

    /// Does `something` with a connection that was just made, which may not outlive it.
    pub(super) fn while_admitted(
        &mut self,
        Admitted { found, one_packet }: Admitted,
        something: impl FnOnce(&mut Self, Found) -> Verdict,
    ) -> Verdict {
        let verdict = something(self, found);
        if one_packet {
            self.engine.connections.remove_unfound(found.id, self.now);
        }
        verdict
    }

    /// Makes a connection of `service` for a flow that a client has begun; `NoServer`: no server may have it. The
    /// packet, or the one that it quotes, goes `towards` that address.
    pub(super) fn admit(
        &mut self,
        service: &VirtualService,
        flow: &FlowKey,
        towards: IpAddr,
    ) -> Result<Admitted, DropReason> {
        self.trace.stage(&Stage::Service { service: service.key(), scheduler: service.scheduler().name() });
        let connections = &self.engine.connections;
        let entries = connections.len() + connections.template_count();
        if entries >= self.snapshot.settings.connection_limit as usize {
            return Err(DropReason::ConnectionLimit);
        }
        let (server, template) = match service.persistence() {
            Some(persistence) => {
                let (server, template) = self.persistent(service, persistence, flow, towards)?;
                (server, Some(template))
            }
            None if is_for(service, flow) => (self.select(service, flow, towards)?, None),
            None => return Err(DropReason::NoServer),
        };
        let translated = server.endpoint().port;
        let keeps_port = translated == 0 || template.is_some() && !is_on_port(service, flow);
        let port = if keeps_port { flow.destination.port } else { translated };
        let mut connection = Connection::new(flow, server, port, self.now);
        for statistics in
            [&connection.server().statistics, service.statistics(), self.snapshot.services.statistics()]
        {
            statistics.connection();
        }
        let connections = &mut self.engine.connections;
        if let Some(template) = template {
            connections.control(&mut connection, template, self.now);
        }
        let one_packet = service.is_one_packet() && flow.protocol == Protocol::UDP;
        let id =
            if one_packet { connections.insert_unfound(connection) } else { connections.insert(connection) };
        Ok(Admitted { found: Found { id, outbound: false }, one_packet })
    }

    /// The server that a client of a persistent service stays with, and the template that says so: the one
    /// it has, or a new one for a server that the scheduler chooses.
    fn persistent(
        &mut self,
        service: &VirtualService,
        persistence: &Persistence,
        flow: &FlowKey,
        towards: IpAddr,
    ) -> Result<(Arc<RealServer>, TemplateId), DropReason> {
        let (key, names_port) = template_key(service, persistence, flow);
        if let Some((id, server)) = self.engine.connections.template(&key) {
            let quiesced = self.snapshot.settings.expire_quiescent_template && server.weight() == 0;
            if server.is_available() && !quiesced {
                return Ok((Arc::clone(server), id));
            }
            self.engine.connections.invalidate_template(id);
        }
        let server = self.select(service, flow, towards)?;
        let port = if names_port { server.endpoint().port } else { 0 };
        let id = self.engine.connections.insert_template(key, &server, port, persistence.timeout, self.now);
        Ok((server, id))
    }

    /// Asks the service's scheduler.
    fn select(
        &mut self,
        service: &VirtualService,
        flow: &FlowKey,
        towards: IpAddr,
    ) -> Result<Arc<RealServer>, DropReason> {
        let request = Request {
            flow: Flow { protocol: flow.protocol, client: flow.source, destination: flow.destination },
            towards,
            now: self.now,
            flags: service.flags(),
            settings: &self.snapshot.settings,
            random: self.engine.lots.draw(),
        };
        service.schedule(&request).map(Arc::clone).ok_or(DropReason::NoServer)
    }

    /// Whether a packet is of a kind that starts connections; `None`: that cannot be read.
    fn may_start(&self, packet: &Packet<'_>) -> Option<bool> {
        let settings = &self.snapshot.settings;
        Some(match packet.protocol() {
            Protocol::TCP => !packet.tcp_flags.rst() && (packet.tcp_flags.syn() || settings.sloppy_tcp),
            Protocol::SCTP => match SctpEvent::of_first_chunk(packet.payload())? {
                SctpEvent::Init => true,
                SctpEvent::Abort => false,
                _ => settings.sloppy_sctp,
            },
            Protocol::UDP => true,
            _ => false,
        })
    }
}

/// Whether only the FTP service takes the packet's port, because data may come there: then it is no wonder
/// that nobody serves.
fn is_ftp_by_chance(service: &VirtualService, packet: &Packet<'_>) -> bool {
    service.key().is_exact()
        && service.key().address.port == FTP_PORT
        && packet.flow.destination.port != FTP_PORT
}

/// Whether the packet is the first of a connection as its protocol has it.
fn opens_anew(packet: &Packet<'_>) -> bool {
    match packet.protocol() {
        Protocol::TCP => packet.tcp_flags.syn(),
        Protocol::SCTP => SctpEvent::of_first_chunk(packet.payload()) == Some(SctpEvent::Init),
        _ => false,
    }
}

/// Whether a new opening on this connection's addresses is a new connection (`conn_reuse_mode`). One that
/// was made from a template stays with its server.
fn may_be_reused(connection: &Connection, mode: u8) -> bool {
    if mode == 0 || connection.is_controlled() {
        return false;
    }
    match connection.state() {
        State::Tcp(TcpState::TimeWait | TcpState::Close) | State::Sctp(SctpState::Closed) => true,
        State::Tcp(TcpState::FinWait) => mode & 2 != 0 && connection.is_input_only(),
        _ => false,
    }
}

/// Whether a service without persistence takes a flow that found it: a mark's takes all ports, any other
/// only its own.
fn is_for(service: &VirtualService, flow: &FlowKey) -> bool {
    service.key().mark().is_some() || is_on_port(service, flow)
}

/// Whether a flow goes to the port that the service is named after, or one of them.
fn is_on_port(service: &VirtualService, flow: &FlowKey) -> bool {
    service.key().address().ports().contains(&flow.destination.port)
}

/// Under which name the client is remembered, and whether for a port that the server may call otherwise. FTP needs all
/// of a VIP's ports, as does a service of all ports; the service of a mark all that is marked, and that of a block or a
/// range all of it. A mark's service has port 0, and like the kernel it takes what comes to that port as what comes to
/// the port of any other service.
fn template_key(service: &VirtualService, persistence: &Persistence, flow: &FlowKey) -> (TemplateKey, bool) {
    let client = persistence.group(flow.source.address);
    let on_port = is_on_port(service, flow);
    if !service.key().is_exact() || service.key().mark().is_some() && !on_port {
        let ServiceKey { protocol, address: destination, span } = *service.key();
        return (TemplateKey { protocol, client, destination, span }, destination.port != 0);
    }
    let names_port = on_port && flow.destination.port != FTP_PORT;
    let port = if names_port { flow.destination.port } else { 0 };
    let destination = Endpoint::new(flow.destination.address, port);
    (TemplateKey { protocol: flow.protocol, client, destination, span: Span::default() }, names_port)
}
