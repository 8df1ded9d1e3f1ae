//! A virtual service of a snapshot.

use super::row::Row;
use super::{Account, Persistence, RealServer, SchedulerSpec, ServiceKey, ServiceSpec, Statistics};
use crate::net::Endpoint;
use crate::scheduler::{self, Request, Scheduler, SchedulerFlags, Selection, ServerEvent};
use crate::time::Instant;
use std::sync::Arc;

/// One virtual service of a snapshot.
#[derive(Clone, Debug)]
pub struct VirtualService {
    key: ServiceKey,
    /// What was wished for.
    spec: Arc<ServiceSpec>,
    scheduler: Arc<dyn Scheduler>,
    flags: SchedulerFlags,
    persistence: Option<Persistence>,
    one_packet: bool,
    /// Newest first, as the kernel walks them.
    pub(super) servers: Arc<Vec<Arc<RealServer>>>,
    account: Arc<Account>,
}

impl VirtualService {
    /// Its name.
    #[must_use]
    pub const fn key(&self) -> &ServiceKey {
        &self.key
    }

    /// It as it was wished for.
    #[must_use]
    pub const fn spec(&self) -> &Arc<ServiceSpec> {
        &self.spec
    }

    /// Who chooses its servers.
    #[must_use]
    pub fn scheduler(&self) -> &dyn Scheduler {
        &*self.scheduler
    }

    /// The options of its scheduler.
    #[must_use]
    pub const fn flags(&self) -> SchedulerFlags {
        self.flags
    }

    /// Whether and how long a client stays with its server.
    #[must_use]
    pub const fn persistence(&self) -> Option<&Persistence> {
        self.persistence.as_ref()
    }

    /// Whether every UDP datagram is scheduled for itself.
    #[must_use]
    pub const fn is_one_packet(&self) -> bool {
        self.one_packet
    }

    /// Its servers, newest first.
    #[must_use]
    pub fn servers(&self) -> &[Arc<RealServer>] {
        &self.servers
    }

    /// The server of that address and port.
    #[must_use]
    pub fn server(&self, endpoint: Endpoint) -> Option<&Arc<RealServer>> {
        self.servers.iter().find(|server| server.endpoint() == endpoint)
    }

    /// What it has been sent and what came back.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        &self.account.statistics
    }

    /// What its connections share with it.
    #[must_use]
    pub const fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// The real server for a new connection.
    #[must_use]
    pub fn schedule(&self, request: &Request<'_>) -> Option<&Arc<RealServer>> {
        match self.scheduler.select(request, &self.servers) {
            Selection::Server(place) => self.servers.get(place),
            Selection::NoServer => None,
        }
    }

    pub(super) fn new(spec: &ServiceSpec, account: Arc<Account>, now: Instant) -> Self {
        Self {
            key: spec.key,
            spec: Arc::new(spec.clone()),
            scheduler: bind(spec, &[], now),
            flags: spec.flags,
            persistence: spec.persistence,
            one_packet: spec.one_packet,
            servers: Arc::default(),
            account,
        }
    }

    /// Takes everything of `spec` but its servers; `servers` are those that it has, while they change.
    pub(super) fn edit(&mut self, spec: &ServiceSpec, servers: &Row<Arc<RealServer>>, now: Instant) {
        let same = match &spec.scheduler {
            SchedulerSpec::Named(name) => name == self.scheduler.name(),
            SchedulerSpec::Custom(_) => spec.scheduler == self.spec.scheduler,
        };
        if !same {
            let servers: Vec<_> = servers.iter().rev().map(Arc::clone).collect();
            self.scheduler = bind(spec, &servers, now);
        }
        self.flags = spec.flags;
        self.persistence = spec.persistence;
        self.one_packet = spec.one_packet;
        self.account.set_timeouts(&spec.timeouts);
    }

    /// Its servers, to be changed.
    pub(super) fn row(&self) -> Row<Arc<RealServer>> {
        Row::new(self.servers.iter().rev().map(Arc::clone))
    }

    /// Has these servers, as its scheduler has heard.
    pub(super) fn set_servers(&mut self, servers: &Row<Arc<RealServer>>) {
        self.servers = Arc::new(servers.iter().rev().map(Arc::clone).collect());
    }

    /// Has its scheduler hear of an event.
    pub(super) fn tell(&mut self, event: ServerEvent<'_>) {
        scheduler::tell(&mut self.scheduler, event);
    }

    /// Ends a change: notes what was wished for, and has the scheduler compute what is computed once a change.
    pub(super) fn settle(&mut self, spec: ServiceSpec) {
        self.set_spec(Arc::new(spec));
        if let Some(settled) = self.scheduler.settled(&self.servers) {
            self.scheduler = settled;
        }
    }

    /// Notes what was wished for, when it has been made so.
    pub(super) fn set_spec(&mut self, spec: Arc<ServiceSpec>) {
        self.spec = spec;
    }
}

fn bind(spec: &ServiceSpec, servers: &[Arc<RealServer>], now: Instant) -> Arc<dyn Scheduler> {
    match &spec.scheduler {
        SchedulerSpec::Named(name) => scheduler::named(name, servers, spec.key.is_ipv6(), now)
            .expect("ServiceSpec::check knows the name"),
        SchedulerSpec::Custom(scheduler) => Arc::clone(scheduler),
    }
}
