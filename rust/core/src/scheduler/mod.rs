//! How a real server is chosen for a new connection: one file an algorithm.
//!
//! A scheduler is an immutable value that belongs to one snapshot of its service: what follows from
//! the list of servers (hash tables, greatest common divisors) is computed once, when the list
//! changes. What a choice changes (a pointer, a cache) is shared, lock-free, by all snapshots and all
//! workers: atomics behind an `Arc` that [`Scheduler::successor`] hands on.

mod contract;
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
mod weights;
mod wrr;

pub use contract::{Flow, Request, Scheduler, SchedulerFlags, Selection, ServerEvent, Servers};
pub(crate) use maglev::MOST_SERVERS as MOST_MH_SERVERS;

use crate::time::Instant;
use std::sync::Arc;

/// The names of the built-in schedulers, as `ipvsadm` knows them.
pub const NAMES: [&str; 14] =
    ["rr", "wrr", "lc", "wlc", "sed", "nq", "dh", "sh", "lblc", "lblcr", "mh", "fo", "ovf", "twos"];

/// The built-in scheduler of that name, for the list `servers` of a service of IPv4 or IPv6, in force from `now`.
#[must_use]
pub fn named(name: &str, servers: Servers<'_>, ipv6: bool, now: Instant) -> Option<Arc<dyn Scheduler>> {
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
        "mh" => Arc::new(maglev::Maglev::new(servers, ipv6)),
        "fo" => Arc::new(Heaviest::Failover),
        "ovf" => Arc::new(Heaviest::Overflow),
        "twos" => Arc::new(twos::TwoChoices),
        "lblc" => Arc::new(lblc::LocalityBased::new(now)),
        "lblcr" => Arc::new(lblcr::LocalityReplicated::new(now)),
        _ => return None,
    })
}

/// Has a scheduler hear of an event. What it has of the list is changed in place where nobody shares it.
pub(crate) fn tell(scheduler: &mut Arc<dyn Scheduler>, event: ServerEvent<'_>) {
    let nobody: Arc<dyn Scheduler> = Arc::new(heaviest::Heaviest::Failover);
    *scheduler = std::mem::replace(scheduler, nobody).successor(event);
}

#[cfg(test)]
mod testing {
    use super::*;
    use crate::net::{Endpoint, Protocol};
    use crate::server::{Method, RealServer, ServerId};
    use crate::settings::Settings;

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
        let request =
            Request { flow, towards: flow.destination.address, now, flags, settings: &settings, random: 0 };
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
