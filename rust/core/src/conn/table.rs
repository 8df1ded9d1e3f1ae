//! The connections of one worker: a slab, an index over both tuples of each, a timer wheel.
//!
//! Nobody else sees the table, so nothing in it locks.

use super::index::Index;
use super::page::{Cursor, Filter, Page};
use super::slab::Slab;
use super::template::Templates;
use super::thinning::{Turns, share_of};
use super::wheel::Wheel;
use super::{Connection, ConnectionId, ConnectionView, Event, Rules, TemplateId, TemplateKey};
use crate::net::{Endpoint, FlowKey};
use crate::server::RealServer;
use crate::time::{Duration, Instant};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::Arc;

/// A connection that is told to go is found until the kernel's next tick (HZ = 100): a reply of its
/// server in between takes it back to life.
pub(crate) const NEXT_TICK: Duration = Duration::from_millis(10);

/// A connection and which way the packet that found it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which one.
    pub id: ConnectionId,
    /// Whether the packet comes from the server.
    pub outbound: bool,
}

/// How far connections and templates without server have been looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sweep {
    /// Among the connections.
    Connections(Cursor),
    /// Among the templates: all connections have been looked at.
    Templates(Cursor),
}

impl Default for Sweep {
    fn default() -> Self {
        Self::Connections(Cursor::default())
    }
}

/// The connections of one worker, and the persistence templates that they are made from.
#[derive(Debug)]
pub struct ConnectionTable {
    pub(super) slab: Slab<Connection>,
    /// `2 * place in the slab`, plus 1 for the tuple of a reply.
    pub(super) index: Index,
    hash_key: (u64, u64),
    wheel: Wheel,
    templates: Templates,
    turns: Turns,
}

impl ConnectionTable {
    /// An empty table. Clients choose the tuples, so the hash has a key that they do not know.
    #[must_use]
    pub fn new(hash_key: (u64, u64)) -> Self {
        Self {
            slab: Slab::default(),
            index: Index::default(),
            hash_key,
            wheel: Wheel::default(),
            templates: Templates::new(hash_key),
            turns: Turns::default(),
        }
    }

    /// The number of connections.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The connection that a packet with this tuple belongs to, in either direction: of several the newest. No packet
    /// from client port 0 belongs to one, as in the kernel, to which that port means that the client's is not known yet.
    #[must_use]
    pub fn find(&self, flow: &FlowKey) -> Option<Found> {
        let reference = self.index.find(self.hash(flow), |r| self.key(r) == *flow)?;
        Some(Found { id: ConnectionId(reference >> 1), outbound: reference & 1 != 0 })
    }

    /// The connection of that name.
    ///
    /// # Panics
    /// When it has gone: names are not kept over a call of [`ConnectionTable::expire`].
    #[must_use]
    pub fn get(&self, id: ConnectionId) -> &Connection {
        self.slab.get(id.0)
    }

    /// Adds a connection. Where an older one has the same tuple, the newer is found from now on, until it goes.
    pub fn insert(&mut self, connection: Connection) -> ConnectionId {
        let deadline = connection.deadline;
        let id = self.insert_unfound(connection);
        for reference in self.references(id.0) {
            let (slab, key) = (&self.slab, self.key(reference));
            let hash = |key: &FlowKey| hash(self.hash_key, key);
            self.index.insert(
                reference,
                hash(&key),
                |other| key_of(slab, other) == key,
                |other| hash(&key_of(slab, other)),
            );
        }
        self.wheel.set(id.0, deadline);
        id
    }

    /// Adds a connection that no other packet finds and no clock ends: that of a packet scheduled for itself.
    pub(crate) fn insert_unfound(&mut self, connection: Connection) -> ConnectionId {
        ConnectionId(self.slab.insert(connection))
    }

    /// Ends such a connection.
    pub(crate) fn remove_unfound(&mut self, id: ConnectionId, now: Instant) {
        self.remove(id.0, now, false);
    }

    /// Runs a connection's state machine for one packet and starts its clock anew.
    ///
    /// # Panics
    /// When it has gone: names are not kept over a call of [`ConnectionTable::expire`].
    pub fn advance(&mut self, found: Found, event: Event, rules: &Rules<'_>, now: Instant) -> &Connection {
        let connection = self.slab.get_mut(found.id.0);
        let of_use = connection.advance(found.outbound, event, rules, now);
        self.wheel.set_no_later(found.id.0, connection.deadline);
        if let Some(template) = connection.template.filter(|_| of_use) {
            self.templates.assure(template);
        }
        connection
    }

    /// The template of that key and its server.
    #[must_use]
    pub fn template(&self, key: &TemplateKey) -> Option<(TemplateId, &Arc<RealServer>)> {
        self.templates.find(key).map(|id| (id, self.templates.server(id)))
    }

    /// Makes a template whose connections go to the server's `port` (0: the port that they came to).
    pub fn insert_template(
        &mut self,
        key: TemplateKey,
        server: &Arc<RealServer>,
        port: u16,
        timeout: Duration,
        now: Instant,
    ) -> TemplateId {
        self.templates.insert(key, Arc::clone(server), port, timeout, now)
    }

    /// A template is not found any more: its server is none for its clients.
    pub fn invalidate_template(&mut self, id: TemplateId) {
        self.templates.invalidate(id);
    }

    /// Binds a connection that is about to be added to the template that it was made from, whose time
    /// starts anew.
    pub fn control(&mut self, connection: &mut Connection, template: TemplateId, now: Instant) {
        connection.template = Some(template);
        self.templates.control(template, now);
    }

    /// Tells a connection to go with the next tick.
    ///
    /// # Panics
    /// When it has gone: names are not kept over a call of [`ConnectionTable::expire`].
    pub fn expire_now(&mut self, id: ConnectionId, now: Instant) {
        let connection = self.slab.get_mut(id.0);
        connection.deadline = now + NEXT_TICK;
        self.wheel.set(id.0, connection.deadline);
    }

    /// Removes the connections and templates whose time has come, in its order: whether a template has
    /// connections when its own time comes is what decides about it.
    pub fn expire(&mut self, now: Instant) {
        while let Some(place) = self.wheel.pop(now) {
            let deadline = self.slab.get(place).deadline;
            if deadline > self.wheel.time() {
                self.wheel.set(place, deadline);
            } else {
                self.templates.expire(deadline);
                self.remove(place, deadline, false);
            }
        }
        self.templates.expire(now);
    }

    /// Removes connections whose server is not configured, and then the templates that no connection needs: those among
    /// the next `places` at most. Says how to go on, if there are more. A connection has ended at `when` then.
    pub(crate) fn remove_without_server(
        &mut self,
        sweep: Sweep,
        places: u32,
        when: Instant,
    ) -> Option<Sweep> {
        let (mut left, mut templates) = (places, Cursor::default());
        match sweep {
            Sweep::Connections(cursor) => {
                let (range, next) = cursor.step(left, self.slab.places());
                left -= range.len() as u32;
                for place in range {
                    if self.slab.at(place).is_some_and(|c| !c.server.is_available()) {
                        self.remove(place, when, false);
                    }
                }
                if let Some(next) = next {
                    return Some(Sweep::Connections(next));
                }
            }
            Sweep::Templates(cursor) => templates = cursor,
        }
        if left == 0 {
            return Some(Sweep::Templates(templates));
        }
        self.templates.remove_without_server(templates, left, when).map(Sweep::Templates)
    }

    /// Drops what is dispensable of a share of the connections and templates (`drop_entry`); `lot` draws a number.
    pub(crate) fn thin_out(&mut self, mut lot: impl FnMut() -> u64, now: Instant) {
        let places = u64::from(self.slab.places());
        for _ in 0..share_of(places, &mut lot) {
            let place = (lot() % places) as u32;
            if self.slab.at(place).is_some_and(|c| c.is_dispensable(&mut self.turns, now)) {
                self.remove(place, now, true);
            }
        }
        let places = u64::from(self.templates.places());
        for _ in 0..share_of(places, &mut lot) {
            self.templates.drop_unproven((lot() % places) as u32, now);
        }
    }

    /// The connections that `filter` asks for among the next `places` of the table at most, as they look at `now`.
    #[must_use]
    pub fn page(&self, cursor: Cursor, places: u32, filter: &Filter, now: Instant) -> Page {
        Page::of(&self.slab, cursor, places, filter, |connection| (connection.view(now), &connection.server))
    }

    /// The same of the persistence templates.
    #[must_use]
    pub fn template_page(&self, cursor: Cursor, places: u32, filter: &Filter, now: Instant) -> Page {
        self.templates.page(cursor, places, filter, now)
    }

    /// All connections, as they look at `now`.
    pub fn views(&self, now: Instant) -> impl Iterator<Item = ConnectionView> + '_ {
        self.slab.iter().map(move |connection| connection.view(now))
    }

    /// All persistence templates, as they look at `now`.
    pub fn template_views(&self, now: Instant) -> impl Iterator<Item = ConnectionView> + '_ {
        self.templates.views(now)
    }

    /// The number of persistence templates.
    #[must_use]
    pub fn template_count(&self) -> usize {
        self.templates.len()
    }

    /// Removes a connection, which its server has had until `when`; `forced`: by `drop_entry`.
    pub(super) fn remove(&mut self, place: u32, when: Instant, forced: bool) {
        for reference in self.references(place) {
            let hash = self.hash(&self.key(reference));
            self.index.remove(reference, hash);
        }
        self.wheel.cancel(place);
        let Some(mut gone) = self.slab.remove(place) else { return };
        gone.deadline = when;
        if let Some(template) = gone.template {
            self.templates.release(template, forced.then_some(when));
        }
    }

    /// What the index has of a connection: both tuples, but none from client port 0.
    fn references(&self, place: u32) -> impl Iterator<Item = u32> + use<> {
        let found_inbound = self.slab.get(place).client.port != 0;
        found_inbound.then_some(place << 1).into_iter().chain([place << 1 | 1])
    }

    fn key(&self, reference: u32) -> FlowKey {
        key_of(&self.slab, reference)
    }

    fn hash(&self, flow: &FlowKey) -> u64 {
        hash(self.hash_key, flow)
    }
}

fn key_of(slab: &Slab<Connection>, reference: u32) -> FlowKey {
    let connection = slab.get(reference >> 1);
    if reference & 1 == 0 { connection.inbound_key() } else { connection.outbound_key() }
}

fn hash(key: (u64, u64), flow: &FlowKey) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(key.0, key.1);
    let ports = |endpoint: &Endpoint| u64::from(endpoint.port);
    let rest = ports(&flow.source) << 32 | ports(&flow.destination) << 16 | u64::from(flow.protocol.0);
    match (flow.source.address, flow.destination.address) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            hasher.write_u64(u64::from(source.to_bits()) << 32 | u64::from(destination.to_bits()));
        }
        (source, destination) => {
            for address in [source, destination] {
                match address {
                    IpAddr::V4(address) => hasher.write(&address.octets()),
                    IpAddr::V6(address) => hasher.write(&address.octets()),
                }
            }
        }
    }
    hasher.write_u64(rest);
    hasher.finish()
}
