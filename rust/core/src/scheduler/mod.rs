//! How a real server is chosen for a new connection: one file an algorithm.
//!
//! A scheduler is an immutable value that belongs to one snapshot of its service: what follows from
//! the list of servers (hash tables, greatest common divisors) is computed once, when the list
//! changes. What a choice changes (a pointer, a cache) is shared, lock-free, by all snapshots and all
//! workers: atomics behind an `Arc` that [`Scheduler::successor`] hands on.

mod hash;
mod hashed;
mod heaviest;
mod lblc;
mod lblcr;
mod least;
mod locality;
mod maglev;
mod rr;
mod twos;
mod wrr;

pub(crate) use maglev::MOST_SERVERS as MOST_MH_SERVERS;

use crate::net::{Endpoint, Protocol};
use crate::service::{RealServer, ServerId};
use crate::settings::Settings;
use crate::time::Instant;
use std::fmt::Debug;
use std::sync::Arc;

/// What a scheduler may know of the packet that opens a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The transport protocol.
    pub protocol: Protocol,
    /// Who asks (CIP and its port).
    pub client: Endpoint,
    /// What is asked for: the packet's destination (VIP and its port).
    pub destination: Endpoint,
}

/// What a scheduler is asked.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The packet that opens a connection.
    pub flow: Flow,
    /// When it came.
    pub now: Instant,
    /// The options of the service's scheduler, as they are now.
    pub flags: SchedulerFlags,
    /// How the engine behaves.
    pub settings: &'a Settings,
    /// A number that nobody can foretell, for those who choose by lot.
    pub random: u64,
}

/// Options of the hashing schedulers (`ipvsadm --sched-flags`). The others have none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedulerFlags {
    /// Whether another server is looked for when the one that the hash names may not be chosen
    /// (`sh-fallback`, `mh-fallback`).
    pub fallback: bool,
    /// Whether the client's port is hashed too (`sh-port`, `mh-port`).
    pub port: bool,
}

/// The real servers of a service, in the kernel's list order: newest first.
pub type Servers<'a> = &'a [Arc<RealServer>];

/// A scheduler's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selection {
    /// The server at this place of the list.
    Server(usize),
    /// No server may be chosen.
    NoServer,
}

impl From<Option<usize>> for Selection {
    fn from(place: Option<usize>) -> Self {
        place.map_or(Self::NoServer, Self::Server)
    }
}

/// What happened to the list of servers. The list given beside it is the one after the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// A server was put at the head of the list.
    Added(ServerId),
    /// A server was taken out; `predecessor` stood before it (`None`: it was the head).
    Removed {
        /// Who was taken out.
        server: ServerId,
        /// Who stood before it.
        predecessor: Option<ServerId>,
    },
    /// A server's weight or thresholds changed.
    Edited(ServerId),
}

/// Chooses real servers. Implementations are shared by all workers and must not block.
pub trait Scheduler: Debug + Send + Sync {
    /// The name that `ipvsadm` knows it by, or the user's.
    fn name(&self) -> &str;

    /// Chooses a server for a new connection.
    fn select(&self, request: &Request<'_>, servers: Servers<'_>) -> Selection;

    /// The scheduler of the next snapshot, after `event`, for the list `servers`. It shares the
    /// mutable state with this one; one that keeps nothing about the list returns itself.
    fn successor(self: Arc<Self>, event: ServerEvent, servers: Servers<'_>) -> Arc<dyn Scheduler>;

    /// Whether it remembers this server, which may be a deleted one: as long as it does, the server is kept, and
    /// comes back as the same when it is added again.
    fn remembers(&self, _server: ServerId) -> bool {
        false
    }
}

/// The names of the built-in schedulers, as `ipvsadm` knows them.
pub const NAMES: [&str; 14] =
    ["rr", "wrr", "lc", "wlc", "sed", "nq", "dh", "sh", "lblc", "lblcr", "mh", "fo", "ovf", "twos"];

/// The built-in scheduler of that name, for the list `servers`, in force from `now`.
#[must_use]
pub fn named(name: &str, servers: Servers<'_>, now: Instant) -> Option<Arc<dyn Scheduler>> {
    use hashed::{By, Hashed};
    use heaviest::Heaviest;
    use least::Least;
    Some(match name {
        "rr" => Arc::new(rr::RoundRobin::default()),
        "wrr" => Arc::new(wrr::WeightedRoundRobin::new(servers)),
        "lc" => Arc::new(Least::Connections),
        "wlc" => Arc::new(Least::WeightedConnections),
        "sed" => Arc::new(Least::ExpectedDelay),
        "nq" => Arc::new(Least::NeverQueue),
        "dh" => Arc::new(Hashed::new(By::Destination, servers)),
        "sh" => Arc::new(Hashed::new(By::Source, servers)),
        "mh" => Arc::new(maglev::Maglev::new(servers)),
        "fo" => Arc::new(Heaviest::Failover),
        "ovf" => Arc::new(Heaviest::Overflow),
        "twos" => Arc::new(twos::TwoChoices),
        "lblc" => Arc::new(lblc::LocalityBased::new(now)),
        "lblcr" => Arc::new(lblcr::LocalityReplicated::new(now)),
        _ => return None,
    })
}

#[cfg(test)]
mod testing {
    use super::*;
    use crate::service::Method;

    /// Servers with these weights, in list order.
    pub fn servers(weights: &[u32]) -> Vec<Arc<RealServer>> {
        let server = |(number, weight): (usize, &u32)| {
            let endpoint = Endpoint::new([10, 0, 0, number as u8 + 1].into(), 80);
            Arc::new(RealServer::new(ServerId(number as u32 + 1), endpoint, Method::Masquerading, *weight))
        };
        weights.iter().enumerate().map(server).collect()
    }

    pub fn flow(client: &str, destination: &str) -> Flow {
        Flow {
            protocol: Protocol::TCP,
            client: Endpoint::new(client.parse().unwrap(), 40000),
            destination: Endpoint::new(destination.parse().unwrap(), 80),
        }
    }

    /// The places of so many choices; -1 for none.
    pub fn picks(scheduler: &dyn Scheduler, servers: Servers<'_>, count: usize) -> Vec<isize> {
        (0..count).map(|_| pick(scheduler, servers, flow("192.0.2.1", "10.9.9.9"), Instant::ZERO)).collect()
    }

    /// The place of one choice; -1 for none.
    pub fn pick(scheduler: &dyn Scheduler, servers: Servers<'_>, flow: Flow, now: Instant) -> isize {
        pick_at(scheduler, servers, flow, SchedulerFlags::default(), now)
    }

    /// The same with scheduler flags.
    pub fn pick_with(
        scheduler: &dyn Scheduler,
        servers: Servers<'_>,
        flow: Flow,
        flags: SchedulerFlags,
    ) -> isize {
        pick_at(scheduler, servers, flow, flags, Instant::ZERO)
    }

    fn pick_at(
        scheduler: &dyn Scheduler,
        servers: Servers<'_>,
        flow: Flow,
        flags: SchedulerFlags,
        now: Instant,
    ) -> isize {
        let settings = Settings::default();
        let request = Request { flow, now, flags, settings: &settings, random: 0 };
        match scheduler.select(&request, servers) {
            Selection::Server(place) => place.cast_signed(),
            Selection::NoServer => -1,
        }
    }

    /// Runs a model: every order in which its threads can meet, with at most three turns taken from a thread that
    /// could go on.
    #[cfg(feature = "loom")]
    pub fn model(run: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(run);
    }
}
