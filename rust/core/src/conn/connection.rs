//! One connection: both tuples of it, its real server, its state and its clock.

use super::{ConnectionView, Direction, Event, Rules, State, TemplateId};
use crate::net::{Endpoint, FlowKey, Protocol};
use crate::server::{Method, RealServer, Statistics};
use crate::time::{Duration, Instant};
use std::sync::Arc;

/// Names a connection as long as it lives; the number is used again afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnectionId(pub(super) u32);

/// A flow from a client to the real server that was chosen for it.
#[derive(Debug)]
pub struct Connection {
    pub(super) protocol: Protocol,
    pub(super) client: Endpoint,
    pub(super) destination: Endpoint,
    pub(super) server_endpoint: Endpoint,
    pub(super) server: Arc<RealServer>,
    /// The persistence template that it was made from.
    pub(super) template: Option<TemplateId>,
    pub(super) method: Method,
    pub(super) state: State,
    /// Whether no packet of the server has been seen (`NOOUTPUT`).
    pub(super) input_only: bool,
    pub(super) timeout: Duration,
    pub(super) deadline: Instant,
    pub(super) in_packets: u32,
}

/// How long a connection lives that no packet has given a state yet.
const UNSTARTED: Duration = Duration::from_secs(3);

impl Connection {
    /// A connection that was just scheduled; its server counts it as inactive from here on. Its packets go
    /// to the server's `port`.
    pub(crate) fn new(flow: &FlowKey, server: Arc<RealServer>, port: u16, now: Instant) -> Self {
        server.bind();
        let method = server.method();
        Self {
            protocol: flow.protocol,
            client: flow.source,
            destination: flow.destination,
            server_endpoint: Endpoint::new(server.endpoint().address, port),
            template: None,
            method,
            state: State::first(flow.protocol),
            input_only: method != Method::Masquerading,
            timeout: UNSTARTED,
            deadline: now + UNSTARTED,
            in_packets: 0,
            server,
        }
    }

    /// The transport protocol.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The client's address and port (CIP).
    #[must_use]
    pub const fn client(&self) -> Endpoint {
        self.client
    }

    /// What the client asked for (VIP and its port).
    #[must_use]
    pub const fn destination(&self) -> Endpoint {
        self.destination
    }

    /// Where its packets go (RIP and the server's port).
    #[must_use]
    pub const fn server_endpoint(&self) -> Endpoint {
        self.server_endpoint
    }

    /// The real server that counts it.
    #[must_use]
    pub const fn server(&self) -> &Arc<RealServer> {
        &self.server
    }

    /// How its packets reach the server.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// Its state.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Whether only the client's packets have been seen.
    #[must_use]
    pub const fn is_input_only(&self) -> bool {
        self.input_only
    }

    /// The counters of its server's service. A template may lead to a server of another service than the one that
    /// was asked for.
    pub(crate) fn service_statistics(&self) -> &Statistics {
        &self.server.account().statistics
    }

    /// Whether it was made from a persistence template.
    #[must_use]
    pub const fn is_controlled(&self) -> bool {
        self.template.is_some()
    }

    /// Runs the state machine for one packet and starts the clock anew. True when the packet proves that the
    /// connection is of use to its client.
    pub(crate) fn advance(&mut self, outbound: bool, event: Event, rules: &Rules<'_>, now: Instant) -> bool {
        let direction = match (outbound, self.input_only) {
            (true, _) => Direction::Output,
            (false, true) => Direction::InputOnly,
            (false, false) => Direction::Input,
        };
        if outbound {
            self.input_only = false;
        } else {
            self.in_packets = self.in_packets.saturating_add(1);
        }
        let next = self.state.next(direction, event, rules.secure_tcp);
        if next != self.state {
            let before = std::mem::replace(&mut self.state, next);
            if next.is_active() != before.is_active() {
                self.server.set_active(next.is_active());
            }
            if next.is_over() != before.is_over() {
                self.server.set_over(next.is_over());
            }
        }
        self.timeout = self.server.account().timeout(self.state, rules.timeouts);
        self.deadline = now + self.timeout;
        self.state.is_established() || outbound && self.state == State::Udp
    }

    /// What it looks like at `now`.
    #[must_use]
    pub fn view(&self, now: Instant) -> ConnectionView {
        ConnectionView {
            protocol: self.protocol,
            client: self.client,
            destination: self.destination,
            server: self.server_endpoint,
            method: self.method,
            state: self.state,
            active: self.state.is_active(),
            expires: self.deadline.since(now),
            in_packets: self.in_packets,
        }
    }

    /// The packet's tuple, seen from the client.
    pub(super) const fn inbound_key(&self) -> FlowKey {
        FlowKey { protocol: self.protocol, source: self.client, destination: self.destination }
    }

    /// The tuple of a reply: from the real server where it is translated, else from the VIP.
    pub(super) const fn outbound_key(&self) -> FlowKey {
        let source = match self.method {
            Method::Masquerading => self.server_endpoint,
            Method::Gatewaying | Method::Tunneling => self.destination,
        };
        FlowKey { protocol: self.protocol, source, destination: self.client }
    }
}

impl Drop for Connection {
    /// Its server counts it no more. Who ends it before its time has set its clock to the present.
    fn drop(&mut self) {
        if self.state.is_over() {
            self.server.set_over(false);
        }
        self.server.unbind(self.state.is_active(), self.deadline);
    }
}
