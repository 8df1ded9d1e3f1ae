//! The whole decision about a packet, read from top to bottom.
//!
//! It follows the order of the kernel's hooks: a known connection in either direction first, then the
//! virtual service, then the scheduler; state and counters before the transmit method, so that a
//! packet that dies of its TTL has been counted, as in the kernel.
//!
//! Beside the main road, each in its own file: fragments and options (`mend`), errors about connections
//! (`related`), what is told to senders (`refuse`), and the host (`host`).

mod defence;
mod host;
mod host_frame;
mod mend;
mod refuse;
mod related;
mod schedule;

use crate::conn::{ConnectionId, ConnectionTable, ConnectionView, Found, NEXT_TICK, Rules, Sweep};
use crate::counters::Counters;
use crate::forward::icmp::Error;
use crate::forward::relay::{Quote, Translation};
use crate::forward::{self, Rewrite, Tunnel, fits, gateway, masquerade, tunnel};
use crate::frame::{Egress, Frame};
use crate::marks::Marks;
use crate::network::{Network, Output, Path};
use crate::packet::{Fragment, Packet, Parsed, parse};
use crate::path_mtu::PathMtus;
use crate::reassembly::Reassembly;
use crate::server::Method;
use crate::service::ServiceTable;
use crate::settings::Settings;
use crate::state::Event;
use crate::time::Instant;
use crate::trace::{NoTrace, Stage, Trace};
use crate::verdict::{DropReason, Verdict};
use crate::wire::ipv6;
use defence::{Defences, Lots};
pub use host_frame::ForHost;
use host_frame::HostFrame;
use std::net::IpAddr;
use std::sync::Arc;

/// So many places of the table are looked at in one call for connections without server: packets wait meanwhile.
const SWEPT: u32 = 1024;
/// What a tunnel has to leave of an MTU, by the family of its outer header.
const LEAST_TUNNEL_V4: u32 = 68;
const LEAST_TUNNEL_V6: u32 = ipv6::LEAST_MTU as u32;

/// What decisions are made from, unchanged while a batch of packets passes.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What is balanced.
    pub services: Arc<ServiceTable>,
    /// Which packets have marks.
    pub marks: Arc<Marks>,
    /// Where packets can go.
    pub network: Arc<Network>,
    /// How the engine behaves.
    pub settings: Settings,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// How its way ended.
    pub verdict: Verdict,
    /// What the host is to get, with [`Verdict::ToHost`] and no other.
    pub for_host: Option<ForHost<'a>>,
}

/// One worker's engine: its connections and its counters.
#[derive(Debug)]
pub struct Pipeline {
    connections: ConnectionTable,
    counters: Counters,
    /// The IP identification of the next packet that the director makes itself.
    identification: u16,
    reassembly: Reassembly,
    path_mtus: PathMtus,
    /// What the host gets in place of the frame that is processed.
    host_frame: HostFrame,
    /// Room for a packet that goes on with other options than it came with.
    scratch: Vec<u8>,
    defences: Defences,
    lots: Lots,
    /// When connections without a configured server begin to go.
    purge: Option<Instant>,
    /// When those began that are going, and how far that has come.
    sweep: Option<(Instant, Sweep)>,
    /// How many servers had been deleted when the services changed last.
    deletions: u64,
}

impl Pipeline {
    /// An engine without connections. `hash_key` guards the connection table against clients that
    /// choose their ports to collide, and begins the lots that schedulers draw and the IP identifications:
    /// random in a live director, any constant in a test.
    #[must_use]
    pub fn new(hash_key: (u64, u64)) -> Self {
        Self {
            connections: ConnectionTable::new(hash_key),
            counters: Counters::default(),
            identification: (hash_key.0 ^ hash_key.1) as u16,
            reassembly: Reassembly::default(),
            path_mtus: PathMtus::default(),
            host_frame: HostFrame::default(),
            scratch: Vec::new(),
            defences: Defences::default(),
            lots: Lots::new(hash_key.0 ^ hash_key.1.rotate_left(32)),
            purge: None,
            sweep: None,
            deletions: 0,
        }
    }

    /// Takes a frame its whole way. What is to be sent is written into `egress`.
    pub fn process<'a, E: Egress>(
        &'a mut self,
        snapshot: &Snapshot,
        frame: &Frame<'a>,
        now: Instant,
        egress: &mut E,
    ) -> Outcome<'a> {
        self.process_traced(snapshot, frame, now, egress, &mut NoTrace)
    }

    /// The same, with somebody who listens to the stages.
    pub fn process_traced<'a, E: Egress, T: Trace>(
        &'a mut self,
        snapshot: &Snapshot,
        frame: &Frame<'a>,
        now: Instant,
        egress: &mut E,
        trace: &mut T,
    ) -> Outcome<'a> {
        self.host_frame.clear();
        let Self { connections, defences, lots, .. } = self;
        defences.tick(&snapshot.settings, connections, lots, now);
        let mut passage = Passage { engine: self, snapshot, now, egress, trace, origin: Origin::Wire };
        let verdict = match parse(frame) {
            Ok(Parsed::Ip(packet)) => passage.enter(&packet),
            Ok(Parsed::Arp(arp)) => passage.resolve(frame.interface, &arp),
            Ok(Parsed::Other) => Verdict::ToHost,
            Err(reason) => Verdict::Drop(reason),
        };
        self.outcome(frame, verdict)
    }

    /// Takes a frame that the director's own host sends: answers of real servers that run on the director,
    /// errors about connections, requests of local clients. [`Verdict::ToHost`] leaves it as it is: it goes its
    /// way.
    pub fn process_output<'a, E: Egress>(
        &'a mut self,
        snapshot: &Snapshot,
        frame: &Frame<'a>,
        now: Instant,
        egress: &mut E,
    ) -> Outcome<'a> {
        self.host_frame.clear();
        let trace = &mut NoTrace;
        let mut passage = Passage { engine: self, snapshot, now, egress, trace, origin: Origin::Host };
        let verdict = match parse(frame) {
            Ok(Parsed::Ip(packet)) => passage.consider(&packet),
            _ => Verdict::ToHost,
        };
        self.outcome(frame, verdict)
    }

    /// Counts what became of `frame`.
    fn outcome<'a>(&'a mut self, frame: &Frame<'a>, verdict: Verdict) -> Outcome<'a> {
        self.counters.count(verdict);
        let as_it_came = ForHost { frame: *frame, fragments: None };
        let for_host = || self.host_frame.get().unwrap_or(as_it_came);
        Outcome { verdict, for_host: (verdict == Verdict::ToHost).then(for_host) }
    }

    /// Counts a frame that its device could not hand over as a whole.
    pub fn truncated(&mut self) {
        self.counters.count(Verdict::Drop(DropReason::Truncated));
    }

    /// Lets time pass: connections expire, and datagrams of which some fragment never came. Who sent the first of such a
    /// one's is told, by a frame written into `egress`.
    pub fn advance<E: Egress>(&mut self, snapshot: &Snapshot, now: Instant, egress: &mut E) {
        self.advance_where(snapshot, now, egress, |_| true);
    }

    /// The same, where some senders are told by another, who had their fragments too: only those are told here whose
    /// first fragment is `ours`.
    pub fn advance_where<E: Egress>(
        &mut self,
        snapshot: &Snapshot,
        now: Instant,
        egress: &mut E,
        ours: impl Fn(&Packet<'_>) -> bool,
    ) {
        if let Some(when) = self.purge.filter(|when| *when <= now) {
            self.purge = None;
            self.connections.expire(when);
            self.sweep = Some((when, Sweep::default()));
        }
        if let Some((when, sweep)) = self.sweep.take() {
            let left = self.connections.remove_without_server(sweep, SWEPT, when);
            self.sweep = left.map(|sweep| (when, sweep));
        }
        self.connections.expire(now);
        let trace = &mut NoTrace;
        Passage { engine: self, snapshot, now, egress, trace, origin: Origin::Wire }.give_up_late(ours);
    }

    /// After a change that deleted servers has the connections go whose server is not configured, where the
    /// settings say so: with the next tick, if it is not back by then. To be called after each change of services.
    pub fn services_changed(&mut self, snapshot: &Snapshot, now: Instant) {
        let deletions = snapshot.services.deletions();
        let before = std::mem::replace(&mut self.deletions, deletions);
        if deletions != before && snapshot.settings.expire_nodest_conn {
            self.purge.get_or_insert(now + NEXT_TICK);
        }
    }

    /// Has a change of settings take effect now: the defences look at the memory when one of them is set. Without
    /// it they do so at the next frame.
    pub fn settings_changed(&mut self, snapshot: &Snapshot) {
        self.defences.set(&snapshot.settings);
    }

    /// Tells how many pages of 4 KiB are free: the automatic defences act when these are few. Until it is
    /// told, there are plenty.
    pub const fn set_available_memory(&mut self, pages: u64) {
        self.defences.available_memory = pages;
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

/// Where a packet comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// From an interface.
    Wire,
    /// From the director's own host.
    Host,
}

/// Whose packet is refused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    /// A client's, which asked for an address that the engine answers for.
    Client,
    /// A server's on its way through.
    Server,
}

/// One packet on its way: the engine, what it decides from, where it writes.
struct Passage<'a, E, T> {
    engine: &'a mut Pipeline,
    snapshot: &'a Snapshot,
    now: Instant,
    egress: &'a mut E,
    trace: &'a mut T,
    origin: Origin,
}

impl<'a, E: Egress, T: Trace> Passage<'a, E, T> {
    /// A packet came in.
    fn enter(&mut self, packet: &Packet<'_>) -> Verdict {
        if let Some(verdict) = self.advertise(packet) {
            return verdict;
        }
        let interface = self.network().interface(packet.interface);
        if packet.destination_mac != interface.mac {
            return Verdict::ToHost;
        }
        self.trace.stage(&Stage::Prerouting { interface: &interface.name, flow: packet.flow });
        self.consider(packet)
    }

    /// A packet that came in, or that the host sends. Without any service of its family the engine is switched
    /// off, and what it knew of connections counts for nothing.
    fn consider(&mut self, packet: &Packet<'_>) -> Verdict {
        if !self.snapshot.services.serves(packet.is_ipv4()) {
            return self.leave_to_host(packet);
        }
        if let Some(verdict) = self.stopped_by_options(packet) {
            return verdict;
        }
        if packet.fragment != Fragment::Whole || packet.fragment_header != 0 {
            return self.gather(packet);
        }
        self.decide(packet)
    }

    fn decide(&mut self, packet: &Packet<'_>) -> Verdict {
        if packet.is_icmp() {
            return self.icmp(packet);
        }
        let found = self.engine.connections.find(&packet.connection_flow());
        if let Some(found) = found.filter(|found| found.outbound) {
            return self.outbound(packet, found);
        }
        if self.is_unwanted_here(packet) {
            let error = Error::PORT_UNREACHABLE.or(DropReason::NoConnection);
            return self.refuse(packet, Sender::Client, error);
        }
        if let Some(found) = found {
            match self.still_holds(packet, found) {
                Ok(true) => {
                    let state = self.engine.connections.get(found.id).state().name();
                    self.trace.stage(&Stage::Connection { state });
                    return self.inbound(packet, found);
                }
                Ok(false) => self.engine.connections.expire_now(found.id, self.now),
                Err(reason) => return Verdict::Drop(reason),
            }
        }
        self.begin(packet)
    }

    /// Client to server: counted, its state advanced, sent by the connection's method.
    fn inbound(&mut self, packet: &Packet<'_>, found: Found) -> Verdict {
        self.advance(packet, found);
        let asked = self.engine.connections.get(found.id).destination().address;
        self.with_options(packet, asked, |this, packet| this.transmit(packet, found.id, None))
    }

    /// Sends a client's packet by its connection's method, or an error `about` one of the server's packets.
    fn transmit(&mut self, packet: &Packet<'_>, id: ConnectionId, about: Option<&Quote>) -> Verdict {
        let connection = self.engine.connections.get(id);
        let (method, server) = (connection.method(), connection.server_endpoint());
        let encapsulation = connection.server().encapsulation();
        self.trace.stage(&Stage::RealServer { address: server, method });
        let output = match self.network().path(server.address) {
            Some(Path::Out(output)) => self.learnt(output, server.address),
            Some(Path::Local) if method == Method::Masquerading => {
                return self.deliver(packet, server, about);
            }
            Some(Path::Local) => return self.leave_to_host(packet),
            None => return self.refuse(packet, Sender::Client, Error::HOST_UNREACHABLE),
        };
        if packet.ttl <= 1 {
            return self.refuse(packet, Sender::Client, Error::TIME_EXCEEDED);
        }
        let limit = match method {
            Method::Tunneling => output.mtu.saturating_sub(tunnel::overhead(server.address, encapsulation)),
            Method::Masquerading | Method::Gatewaying => output.mtu,
        };
        if method == Method::Tunneling && limit < least(server.address.is_ipv4()) {
            return Verdict::Drop(DropReason::TooBig);
        }
        let path_mtu_discovery = self.snapshot.settings.pmtu_disc;
        let judged = path_mtu_discovery || method != Method::Tunneling || !packet.is_ipv4();
        if judged && too_big(packet, limit) {
            // Linux counts the hop before it looks at the length.
            return self.refuse(packet, Sender::Client, Error::too_big(limit).behind_hop());
        }
        let sent = match (method, about) {
            (Method::Masquerading, Some(quote)) => {
                let translation = Translation::ToServer(server);
                forward::relay::emit(packet, quote, translation, true, &output, self.egress)
            }
            (Method::Masquerading, None) => {
                let rewrite = Rewrite { source: packet.flow.source, destination: server };
                masquerade::emit(packet, &rewrite, &output, self.egress)
            }
            (Method::Gatewaying, _) => gateway::emit(packet, &output, self.egress),
            (Method::Tunneling, _) => match output.source {
                Some(source) => {
                    // Each piece that an aggregate is cut into has one of its own.
                    let identification = self.identifications(packet.pieces() as u16);
                    let outer = Tunnel {
                        source,
                        destination: server.address,
                        encapsulation,
                        path_mtu_discovery,
                        identification,
                    };
                    tunnel::emit(packet, &outer, &output, self.egress)
                }
                None => Err(DropReason::NoRoute),
            },
        };
        self.sent(sent, &output)
    }

    /// Server to client: a masqueraded reply gets the VIP as its source; any other is only counted,
    /// for its sender has written the VIP itself and the host routes it.
    ///
    /// A router looks at time to live and length before anything else. What it refuses is not counted.
    fn outbound(&mut self, packet: &Packet<'_>, found: Found) -> Verdict {
        let connection = self.engine.connections.get(found.id);
        let (method, asked) = (connection.method(), connection.destination());
        let client = packet.flow.destination;
        let way = self.network().path(client.address);
        if method != Method::Masquerading {
            if !self.is_refused(packet, way) {
                self.advance(packet, found);
            }
            return self.leave_to_host(packet);
        }
        let rewrite = Rewrite { source: asked, destination: client };
        let output = match way {
            Some(Path::Out(output)) => output,
            Some(Path::Local) => {
                self.advance(packet, found);
                return self.translated_to_host(packet, &rewrite);
            }
            None => return self.leave_to_host(packet),
        };
        if self.origin == Origin::Wire && packet.ttl <= 1 {
            return self.refuse(packet, Sender::Server, Error::TIME_EXCEEDED);
        }
        if self.origin == Origin::Wire && too_big(packet, output.mtu) {
            return self.refuse(packet, Sender::Server, Error::too_big(output.mtu));
        }
        if packet.cut_short {
            return Verdict::Drop(packet.cut_reason());
        }
        self.advance(packet, found);
        self.trace.stage(&Stage::Translated { address: asked });
        self.with_options(packet, asked.address, |this, packet| {
            let emit = match this.origin {
                Origin::Wire => masquerade::emit,
                Origin::Host => masquerade::emit_own,
            };
            let sent = emit(packet, &rewrite, &output, this.egress);
            this.sent(sent, &output)
        })
    }

    /// Counts a packet of a connection and runs its state machine.
    fn advance(&mut self, packet: &Packet<'_>, found: Found) {
        if found.outbound {
            let state = self.engine.connections.get(found.id).state().name();
            self.trace.stage(&Stage::Forward { state });
        }
        let settings = &self.snapshot.settings;
        let secure_tcp = settings.secure_tcp.acts(self.engine.defences.scarce());
        let rules = Rules { timeouts: &settings.timeouts, secure_tcp };
        self.engine.connections.advance(found, Event::of(packet), &rules, self.now);
        self.count(found, packet.ip_length());
    }

    /// Counts a packet of a connection, `bytes` long, for its server, its service and all together.
    fn count(&self, found: Found, bytes: usize) {
        let connection = self.engine.connections.get(found.id);
        let server = connection.server();
        if server.is_available() {
            for statistics in
                [&server.statistics, connection.service_statistics(), self.snapshot.services.statistics()]
            {
                let bytes = bytes as u64;
                if found.outbound { statistics.outbound(bytes) } else { statistics.inbound(bytes) }
            }
        }
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

    /// A way out, no longer than routers said about it.
    fn learnt(&self, output: Output, address: IpAddr) -> Output {
        Output { mtu: self.engine.path_mtus.limit(address, output.mtu, self.now), ..output }
    }

    /// The way back to a sender, if it leads out of the director.
    fn way_back(&self, sender: IpAddr) -> Option<Output> {
        match self.network().path(sender)? {
            Path::Out(output) => Some(self.learnt(output, sender)),
            Path::Local => None,
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

/// What a tunnel has to leave of an MTU.
const fn least(ipv4: bool) -> u32 {
    if ipv4 { LEAST_TUNNEL_V4 } else { LEAST_TUNNEL_V6 }
}

/// Whether a packet is too long for its way and nobody may cut it. An IPv4 error is cut, come what may: nobody
/// could be told.
fn too_big(packet: &Packet<'_>, limit: u32) -> bool {
    let may_be_cut = packet.is_ipv4() && (!packet.dont_fragment || packet.is_icmp_error());
    !may_be_cut && !fits(packet, limit)
}
