//! The whole decision about a packet, read from top to bottom.
//!
//! It follows the order of the kernel's hooks: a known connection in either direction first, then the
//! virtual service, then the scheduler; state and counters before the transmit method, so that a
//! packet that dies of its TTL has been counted, as in the kernel.

use crate::conn::{Connection, ConnectionTable, ConnectionView, Found, State, TcpState};
use crate::counters::Counters;
use crate::forward::{Rewrite, Tunnel, fits, gateway, host, icmp, masquerade, tunnel};
use crate::frame::{Egress, Frame};
use crate::net::{InterfaceId, Protocol};
use crate::network::{Network, Output, Path};
use crate::packet::{Fragment, Packet, Parsed, parse};
use crate::scheduler::{Flow, Request, SchedulerFlags};
use crate::service::{Method, ServiceTable};
use crate::settings::Settings;
use crate::time::Instant;
use crate::trace::{NoTrace, Stage, Trace};
use crate::verdict::{DropReason, Verdict};
use crate::wire::arp::Arp;
use std::net::IpAddr;
use std::sync::Arc;

/// TCP connections from this port are FTP data: IPVS never schedules them.
const FTP_DATA_PORT: u16 = 20;

/// What decisions are made from, unchanged while a batch of packets passes.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What is balanced.
    pub services: Arc<ServiceTable>,
    /// Where packets can go.
    pub network: Arc<Network>,
    /// How the engine behaves.
    pub settings: Settings,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How its way ended.
    pub verdict: Verdict,
}

/// One worker's engine: its connections and its counters.
#[derive(Debug)]
pub struct Pipeline {
    connections: ConnectionTable,
    counters: Counters,
    /// The IP identification of the next packet that the director makes itself.
    identification: u16,
}

impl Pipeline {
    /// An engine without connections. `hash_key` guards the connection table against clients that
    /// choose their ports to collide: random in a live director, any constant in a test.
    #[must_use]
    pub fn new(hash_key: (u64, u64)) -> Self {
        Self { connections: ConnectionTable::new(hash_key), counters: Counters::default(), identification: 0 }
    }

    /// Takes a frame its whole way. What is to be sent is written into `egress`.
    pub fn process<E: Egress>(
        &mut self,
        snapshot: &Snapshot,
        frame: &Frame<'_>,
        now: Instant,
        egress: &mut E,
    ) -> Outcome {
        self.process_traced(snapshot, frame, now, egress, &mut NoTrace)
    }

    /// The same, with somebody who listens to the stages.
    pub fn process_traced<E: Egress, T: Trace>(
        &mut self,
        snapshot: &Snapshot,
        frame: &Frame<'_>,
        now: Instant,
        egress: &mut E,
        trace: &mut T,
    ) -> Outcome {
        let mut passage = Passage { engine: self, snapshot, now, egress, trace };
        let verdict = match parse(frame) {
            Ok(Parsed::Ip(packet)) => passage.decide(&packet),
            Ok(Parsed::Arp(arp)) => passage.resolve(frame.interface, &arp),
            Ok(Parsed::Other) => Verdict::ToHost,
            Err(reason) => Verdict::Drop(reason),
        };
        self.counters.count(verdict);
        Outcome { verdict }
    }

    /// Counts a frame that its device could not hand over as a whole.
    pub fn truncated(&mut self) {
        self.counters.count(Verdict::Drop(DropReason::Truncated));
    }

    /// Lets time pass: connections expire.
    pub fn advance(&mut self, now: Instant) {
        self.connections.expire(now);
    }

    /// Tells connections to go whose real server is no longer configured, where the settings say so.
    /// To be called after a change of services.
    pub fn services_changed(&mut self, snapshot: &Snapshot, now: Instant) {
        if snapshot.settings.expire_nodest_conn {
            self.connections.expire_without_server(now);
        }
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The connections, to be read.
    #[must_use]
    pub const fn connections(&self) -> &ConnectionTable {
        &self.connections
    }

    /// All connections, as they look at `now`.
    pub fn views(&self, now: Instant) -> impl Iterator<Item = ConnectionView> + '_ {
        self.connections.views(now)
    }
}

/// What becomes of a packet of a known connection.
enum Known {
    /// It goes the connection's way.
    Follow,
    /// The connection is forgotten and the packet treated as if there had been none.
    Forget,
    /// It ends here.
    Drop(DropReason),
}

/// One packet on its way: the engine, what it decides from, where it writes.
struct Passage<'a, E, T> {
    engine: &'a mut Pipeline,
    snapshot: &'a Snapshot,
    now: Instant,
    egress: &'a mut E,
    trace: &'a mut T,
}

impl<'a, E: Egress, T: Trace> Passage<'a, E, T> {
    fn decide(&mut self, packet: &Packet<'_>) -> Verdict {
        let interface = self.network().interface(packet.interface);
        if packet.destination_mac != interface.mac {
            return Verdict::ToHost;
        }
        self.trace.stage(&Stage::Prerouting { interface: &interface.name, flow: packet.flow });
        if packet.fragment == Fragment::Later {
            return self.later_fragment(packet);
        }
        if let Some(found) = self.engine.connections.find(&packet.flow) {
            if packet.fragment == Fragment::First {
                return Verdict::Drop(DropReason::Fragment);
            }
            if found.outbound {
                return self.outbound(packet, found);
            }
            match self.known(packet, found) {
                Known::Follow => return self.inbound(packet, found),
                Known::Forget => self.engine.connections.expire_now(found.id, self.now),
                Known::Drop(reason) => return Verdict::Drop(reason),
            }
        }
        self.unknown(packet)
    }

    /// Fragments without ports cannot be told apart by service; those to a VIP end here.
    fn later_fragment(&mut self, packet: &Packet<'_>) -> Verdict {
        if self.snapshot.services.has_address(packet.flow.protocol, packet.flow.destination.address) {
            Verdict::Drop(DropReason::Fragment)
        } else {
            self.host(packet)
        }
    }

    /// What a packet from a client may do with its connection: a new SYN may start another, and a
    /// server that is gone ends it.
    fn known(&self, packet: &Packet<'_>, found: Found) -> Known {
        let settings = &self.snapshot.settings;
        let connection = self.engine.connections.get(found.id);
        let server = connection.server();
        if packet.tcp_flags.syn() && packet.flow.protocol == Protocol::TCP {
            let drained = settings.expire_nodest_conn && server.weight() == 0;
            if drained || may_be_reused(connection, settings.conn_reuse_mode) {
                return Known::Forget;
            }
        }
        match (server.is_available(), settings.expire_nodest_conn) {
            (true, _) => Known::Follow,
            (false, true) => Known::Forget,
            (false, false) => Known::Drop(DropReason::ServerGone),
        }
    }

    /// A packet of no connection: it may start one.
    fn unknown(&mut self, packet: &Packet<'_>) -> Verdict {
        let flow = &packet.flow;
        let snapshot = self.snapshot;
        let Some(service) = snapshot.services.find(flow.protocol, flow.destination) else {
            return self.host(packet);
        };
        if packet.fragment == Fragment::First {
            return Verdict::Drop(DropReason::Fragment);
        }
        let opens = flow.protocol != Protocol::TCP
            || !packet.tcp_flags.rst() && (packet.tcp_flags.syn() || snapshot.settings.sloppy_tcp);
        if !opens || flow.source.port == FTP_DATA_PORT {
            return self.host(packet);
        }
        self.trace.stage(&Stage::Service {
            protocol: flow.protocol,
            address: service.key().address,
            scheduler: service.scheduler().name(),
        });
        if self.engine.connections.len() >= snapshot.settings.connection_limit as usize {
            return Verdict::Drop(DropReason::ConnectionLimit);
        }
        let asked = Flow { protocol: flow.protocol, client: flow.source, destination: flow.destination };
        let request = Request {
            flow: asked,
            now: self.now,
            flags: SchedulerFlags::default(),
            settings: &snapshot.settings,
            random: 0,
        };
        let Some(server) = service.schedule(&request) else {
            return self.refuse(packet, "port unreachable", DropReason::NoServer, |this, output| {
                let source = packet.flow.destination.address;
                icmp::port_unreachable(packet, source, this.identification(), output, this.egress)
            });
        };
        let connection =
            Connection::new(flow, Arc::clone(server), Arc::clone(service.statistics()), self.now);
        self.count_connection(&connection);
        let id = self.engine.connections.insert(connection);
        self.inbound(packet, Found { id, outbound: false })
    }

    /// Client to server: counted, its state advanced, sent by the connection's method.
    fn inbound(&mut self, packet: &Packet<'_>, found: Found) -> Verdict {
        let told_by = packet.flow.destination.address;
        let connection = self.advance(packet, found);
        let (method, server) = (connection.method(), connection.server_endpoint());
        self.trace.stage(&Stage::RealServer { address: server, method });
        let output = match self.network().path(server.address) {
            Some(Path::Out(output)) => output,
            Some(Path::Local) if method == Method::Masquerading => {
                return Verdict::Drop(DropReason::LocalServer);
            }
            Some(Path::Local) => return self.host(packet),
            None => {
                return self.refuse(packet, "host unreachable", DropReason::NoRoute, |this, way_back| {
                    icmp::host_unreachable(packet, told_by, this.identification(), way_back, this.egress)
                });
            }
        };
        let limit = match method {
            Method::Tunneling => output.mtu.saturating_sub(tunnel::overhead(server.address)),
            Method::Masquerading | Method::Gatewaying => output.mtu,
        };
        if packet.ttl <= 1 {
            return self.too_old(packet, told_by);
        }
        if too_big(packet, limit) {
            return self.refuse(packet, "fragmentation needed", DropReason::TooBig, |this, way_back| {
                icmp::frag_needed(packet, told_by, limit, this.identification(), way_back, this.egress)
            });
        }
        let sent = match method {
            Method::Masquerading => {
                let rewrite = Rewrite { source: packet.flow.source, destination: server };
                masquerade::emit(packet, &rewrite, &output, self.egress)
            }
            Method::Gatewaying => gateway::emit(packet, &output, self.egress),
            Method::Tunneling => match output.source {
                Some(source) => {
                    // Each piece that an aggregate is cut into has one of its own.
                    let identification = self.identifications(packet.pieces() as u16);
                    let outer = Tunnel { source, destination: server.address, identification };
                    tunnel::emit(packet, &outer, &output, self.egress)
                }
                None => Err(DropReason::NoRoute),
            },
        };
        self.sent(sent, &output)
    }

    /// Server to client: a masqueraded reply gets the VIP as its source; any other is only counted,
    /// for its sender has written the VIP itself and the host routes it.
    fn outbound(&mut self, packet: &Packet<'_>, found: Found) -> Verdict {
        let connection = self.advance(packet, found);
        if connection.method() != Method::Masquerading {
            return self.host(packet);
        }
        let virtual_endpoint = connection.destination();
        self.trace.stage(&Stage::Translated { address: virtual_endpoint });
        let client = packet.flow.destination;
        let output = match self.network().path(client.address) {
            Some(Path::Out(output)) => output,
            Some(Path::Local) => return Verdict::Drop(DropReason::LocalClient),
            None => return Verdict::Drop(DropReason::NoRoute),
        };
        let own = self.network().source_on(packet.interface, packet.flow.source.address);
        let Some(own) = own.or(output.source) else { return Verdict::Drop(DropReason::NoRoute) };
        if packet.ttl <= 1 {
            return self.too_old(packet, own);
        }
        if too_big(packet, output.mtu) {
            return self.refuse(packet, "fragmentation needed", DropReason::TooBig, |this, way_back| {
                let identification = this.identification();
                icmp::reply_frag_needed(packet, own, output.mtu, identification, way_back, this.egress)
            });
        }
        let rewrite = Rewrite { source: virtual_endpoint, destination: client };
        let sent = masquerade::emit(packet, &rewrite, &output, self.egress);
        self.sent(sent, &output)
    }

    /// The time to live ends here; `source` is who tells the sender.
    fn too_old(&mut self, packet: &Packet<'_>, source: IpAddr) -> Verdict {
        self.refuse(packet, "time exceeded", DropReason::TtlExpired, |this, way_back| {
            icmp::time_exceeded(packet, source, this.identification(), way_back, this.egress)
        })
    }

    /// Tells the sender why its packet ends here, by the way back to it; drops for `reason` when it
    /// cannot be told.
    fn refuse(
        &mut self,
        packet: &Packet<'_>,
        what: &'static str,
        reason: DropReason,
        answer: impl FnOnce(&mut Self, &Output) -> Result<(), DropReason>,
    ) -> Verdict {
        let Some(Path::Out(output)) = self.network().path(packet.flow.source.address) else {
            return Verdict::Drop(reason);
        };
        match answer(self, &output) {
            Ok(()) => {
                self.trace.stage(&Stage::Answer { what });
                Verdict::Reply
            }
            Err(_) => Verdict::Drop(reason),
        }
    }

    /// Leaves a packet to the host's own stack, or, where no host has the address, answers as one.
    fn host(&mut self, packet: &Packet<'_>) -> Verdict {
        if !self.network().is_owned(packet.flow.destination.address) {
            self.trace.stage(&Stage::Host);
            return Verdict::ToHost;
        }
        self.refuse(packet, "as the address's host", DropReason::HostSilent, |this, output| {
            host::answer(packet, this.identification(), output, this.egress)
        })
    }

    /// Answers who asks for an address that the engine alone has.
    fn resolve(&mut self, interface: InterfaceId, arp: &Arp) -> Verdict {
        if !arp.is_request() || !self.network().is_owned(arp.target().into()) {
            return Verdict::ToHost;
        }
        let mac = self.network().interface(interface).mac;
        match host::arp_reply(arp, interface, mac, self.egress) {
            Ok(()) => Verdict::Reply,
            Err(reason) => Verdict::Drop(reason),
        }
    }

    /// Counts a packet of a connection and runs its state machine.
    fn advance(&mut self, packet: &Packet<'_>, found: Found) -> &Connection {
        let state = self.engine.connections.get(found.id).state().name();
        self.trace.stage(&if found.outbound {
            Stage::Forward { state }
        } else {
            Stage::Connection { state }
        });
        let timeouts = &self.snapshot.settings.timeouts;
        let connection = self.engine.connections.advance(found, packet.tcp_flags, timeouts, self.now);
        let bytes = packet.ip_length() as u64;
        let server = connection.server();
        if server.is_available() {
            for statistics in
                [&server.statistics, connection.service_statistics(), self.snapshot.services.statistics()]
            {
                if found.outbound { statistics.outbound(bytes) } else { statistics.inbound(bytes) }
            }
        }
        connection
    }

    fn count_connection(&self, connection: &Connection) {
        connection.server().statistics.connection();
        connection.service_statistics().connection();
        self.snapshot.services.statistics().connection();
    }

    fn sent(&mut self, sent: Result<(), DropReason>, output: &Output) -> Verdict {
        match sent {
            Ok(()) => {
                let interface = &self.network().interface(output.hop.interface).name;
                self.trace.stage(&Stage::Postrouting { interface });
                Verdict::Forward
            }
            Err(reason) => Verdict::Drop(reason),
        }
    }

    fn network(&self) -> &'a Network {
        &self.snapshot.network
    }

    fn identification(&mut self) -> u16 {
        self.identifications(1)
    }

    /// The first of `count` IP identifications in a row.
    fn identifications(&mut self, count: u16) -> u16 {
        let first = self.engine.identification;
        self.engine.identification = first.wrapping_add(count);
        first
    }
}

/// Whether a packet is too long for its way and nobody may cut it.
fn too_big(packet: &Packet<'_>, limit: u32) -> bool {
    (packet.dont_fragment || !packet.is_ipv4()) && !fits(packet, limit)
}

/// Whether a SYN on this connection's addresses is a new connection (`conn_reuse_mode`).
fn may_be_reused(connection: &Connection, mode: u8) -> bool {
    let State::Tcp(state) = connection.state() else { return false };
    match state {
        TcpState::TimeWait | TcpState::Close => mode != 0,
        TcpState::FinWait => mode & 2 != 0 && connection.is_input_only(),
        _ => false,
    }
}
