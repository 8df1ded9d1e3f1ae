//! Persistence templates: which server a client, or a group of clients, stays with.

use super::page::{Cursor, Filter, Page};
use super::slab::Slab;
use super::wheel::Wheel;
use super::{ConnectionView, State};
use crate::net::{Endpoint, Protocol};
use crate::server::RealServer;
use crate::service_address::Span;
use crate::time::{Duration, Instant};
use hashbrown::HashMap;
use siphasher::sip::SipHasher13;
use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::sync::Arc;

/// Names a template as long as it lives; the number is used again afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TemplateId(u32);

/// Whom a template is for, and with what.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TemplateKey {
    /// The packets' protocol; for a mark [`Protocol::ANY`], but for what comes to port 0.
    pub protocol: Protocol,
    /// The client's address, masked.
    pub client: IpAddr,
    /// The VIP, with port 0 when the client stays with the server on all ports. For a mark the address of
    /// the service's key; for a block or a range the first of the service's.
    pub destination: Endpoint,
    /// That of the service's key.
    pub span: Span,
}

/// The port that the kernel gives to a template that is not to be found again.
const INVALID_PORT: u16 = 0xffff;
/// How long a template is kept on when its time has come but connections of it are left. From then on it
/// stands for its timeout.
const STILL_USED: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Template {
    key: TemplateKey,
    server: Arc<RealServer>,
    /// The port that connections of it go to; 0 when they keep theirs.
    port: u16,
    assured: bool,
    /// Connections that were made from it and still live.
    controls: u32,
    timeout: Duration,
    deadline: Instant,
}

/// The templates of one worker.
#[derive(Debug)]
pub(super) struct Templates {
    slab: Slab<Template>,
    index: HashMap<TemplateKey, u32, Keyed>,
    wheel: Wheel,
}

/// Clients choose what is hashed, so the hash has a key that they do not know.
#[derive(Clone, Copy, Debug)]
struct Keyed((u64, u64));

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;
    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0.0, self.0.1)
    }
}

impl Templates {
    pub(super) fn new(hash_key: (u64, u64)) -> Self {
        let index = HashMap::with_hasher(Keyed(hash_key));
        Self { slab: Slab::default(), index, wheel: Wheel::default() }
    }

    pub(super) const fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn find(&self, key: &TemplateKey) -> Option<TemplateId> {
        self.index.get(key).map(|place| TemplateId(*place))
    }

    pub(super) fn server(&self, id: TemplateId) -> &Arc<RealServer> {
        &self.slab.get(id.0).server
    }

    /// Makes a template; nobody has one of that key.
    pub(super) fn insert(
        &mut self,
        key: TemplateKey,
        server: Arc<RealServer>,
        port: u16,
        timeout: Duration,
        now: Instant,
    ) -> TemplateId {
        server.bind_template();
        let deadline = now + timeout;
        let template = Template { key, server, port, assured: false, controls: 0, timeout, deadline };
        let place = self.slab.insert(template);
        self.index.insert(key, place);
        self.wheel.set(place, deadline);
        TemplateId(place)
    }

    /// A connection was made from it: its time starts anew.
    pub(super) fn control(&mut self, id: TemplateId, now: Instant) {
        let template = self.slab.get_mut(id.0);
        template.controls += 1;
        template.deadline = now + template.timeout;
        let deadline = template.deadline;
        self.wheel.set_no_later(id.0, deadline);
    }

    /// A connection of it ended. Where that was forced, at a certain time, so does a template that was never of use.
    pub(super) fn release(&mut self, id: TemplateId, forced: Option<Instant>) {
        let template = self.slab.get_mut(id.0);
        template.controls -= 1;
        if let Some(now) = forced
            && template.controls == 0
            && !template.assured
        {
            self.remove(id.0, now);
        }
    }

    /// A connection of it was established.
    pub(super) fn assure(&mut self, id: TemplateId) {
        self.slab.get_mut(id.0).assured = true;
    }

    /// It is not found any more, and lives out its time.
    pub(super) fn invalidate(&mut self, id: TemplateId) {
        let key = self.slab.get(id.0).key;
        if self.index.get(&key) == Some(&id.0) {
            self.index.remove(&key);
        }
        let template = self.slab.get_mut(id.0);
        template.key.destination.port = INVALID_PORT;
        template.port = INVALID_PORT;
    }

    /// Removes those whose time has come and that no connection needs.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(place) = self.wheel.pop(now) {
            let template = self.slab.get_mut(place);
            if template.deadline <= now {
                if template.controls == 0 {
                    let deadline = template.deadline;
                    self.remove(place, deadline);
                    continue;
                }
                let missed = now.since(template.deadline).as_secs() / STILL_USED.as_secs() + 1;
                template.timeout = STILL_USED;
                template.deadline += Duration::from_secs(missed * STILL_USED.as_secs());
            }
            let deadline = template.deadline;
            self.wheel.set(place, deadline);
        }
    }

    /// Removes those that no connection needs and whose server is not configured, among the next `places` at most; says
    /// where to go on.
    pub(super) fn remove_without_server(
        &mut self,
        cursor: Cursor,
        places: u32,
        when: Instant,
    ) -> Option<Cursor> {
        let (range, next) = cursor.step(places, self.slab.places());
        for place in range {
            if self.slab.at(place).is_some_and(|t| t.controls == 0 && !t.server.is_available()) {
                self.remove(place, when);
            }
        }
        next
    }

    /// How many places there are, taken or not.
    pub(super) const fn places(&self) -> u32 {
        self.slab.places()
    }

    /// Removes what is at a place, unless connections need it or it proved of use.
    pub(super) fn drop_unproven(&mut self, place: u32, now: Instant) {
        if self.slab.at(place).is_some_and(|t| t.controls == 0 && !t.assured) {
            self.remove(place, now);
        }
    }

    /// All templates, as they look at `now`.
    pub(super) fn views(&self, now: Instant) -> impl Iterator<Item = ConnectionView> + '_ {
        self.slab.iter().map(move |template| template.view(now))
    }

    /// Those that `filter` asks for among the next `places` at most.
    pub(super) fn page(&self, cursor: Cursor, places: u32, filter: &Filter, now: Instant) -> Page {
        Page::of(&self.slab, cursor, places, filter, |template| (template.view(now), &template.server))
    }

    /// Removes what is at a place, if anything; its server has had it until `when`.
    fn remove(&mut self, place: u32, when: Instant) {
        let Some(mut template) = self.slab.remove(place) else { return };
        template.deadline = when;
        if self.index.get(&template.key) == Some(&place) {
            self.index.remove(&template.key);
        }
        self.wheel.cancel(place);
    }
}

impl Template {
    fn view(&self, now: Instant) -> ConnectionView {
        ConnectionView {
            protocol: self.key.protocol,
            client: Endpoint::new(self.key.client, 0),
            destination: self.key.destination,
            server: Endpoint::new(self.server.endpoint().address, self.port),
            method: self.server.method(),
            state: State::Template { assured: self.assured },
            active: false,
            expires: self.deadline.since(now),
            in_packets: 0,
        }
    }
}

impl Drop for Template {
    /// Its server counts it no more. Who ends it before its time has set its clock to the present.
    fn drop(&mut self) {
        self.server.unbind_template(self.deadline);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{Method, ServerId};

    fn after(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn one() -> (Templates, TemplateKey, TemplateId, Arc<RealServer>) {
        let endpoint = "10.0.0.2:8080".parse().unwrap();
        let server = Arc::new(RealServer::new(ServerId(1), endpoint, Method::Masquerading, 1));
        let key = TemplateKey {
            protocol: Protocol::TCP,
            client: [203, 0, 113, 0].into(),
            destination: "10.99.0.1:80".parse().unwrap(),
            span: Span::default(),
        };
        let mut templates = Templates::new((1, 2));
        let id = templates.insert(key, Arc::clone(&server), 8080, Duration::from_secs(300), Instant::ZERO);
        (templates, key, id, server)
    }

    #[test]
    fn a_template_outlives_its_connections_and_then_keeps_to_a_minute() {
        let (mut templates, key, id, server) = one();
        templates.control(id, after(10));
        templates.expire(after(310));
        assert_eq!(templates.views(after(310)).next().unwrap().expires, Duration::from_secs(60));
        templates.release(id, None);
        templates.control(id, after(320));
        templates.release(id, None);
        assert_eq!(templates.views(after(320)).next().unwrap().expires, Duration::from_secs(60));
        templates.expire(after(379));
        assert_eq!((templates.find(&key), server.persistent()), (Some(id), 1));
        templates.expire(after(380));
        assert_eq!((templates.find(&key), server.persistent()), (None, 0));
    }

    #[test]
    fn an_invalid_one_is_not_found_and_lives_out_its_time() {
        let (mut templates, key, id, _) = one();
        templates.invalidate(id);
        assert_eq!((templates.find(&key), templates.len()), (None, 1));
        let view = templates.views(Instant::ZERO).next().unwrap();
        assert_eq!((view.destination.port, view.server.port), (0xffff, 0xffff));
        templates.expire(after(300));
        assert_eq!(templates.len(), 0);
    }
}
