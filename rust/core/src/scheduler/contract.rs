//! What every scheduler is asked, what it answers, and what it hears of its servers.

use crate::net::{Endpoint, Protocol};
use crate::server::{RealServer, ServerId};
use crate::settings::Settings;
use crate::time::Instant;
use std::fmt::Debug;
use std::net::IpAddr;
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
    /// Where that packet goes, for dh, lblc and lblcr: what is asked for. With an ICMP error that is scheduled
    /// (`schedule_icmp`) it is the packet that the error quotes, and so the client.
    pub towards: IpAddr,
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

/// What happened to the list of servers.
#[derive(Clone, Copy, Debug)]
pub enum ServerEvent<'a> {
    /// A server was put at the head of the list.
    Added(&'a RealServer),
    /// A server was taken out; `predecessor` stood before it (`None`: it was the head).
    Removed {
        /// Who was taken out.
        server: &'a RealServer,
        /// Who stood before it.
        predecessor: Option<ServerId>,
    },
    /// A server's weight or thresholds changed.
    Edited(&'a RealServer),
}

/// Chooses real servers. Implementations are shared by all workers and must not block.
pub trait Scheduler: Debug + Send + Sync {
    /// The name that `ipvsadm` knows it by, or the user's.
    fn name(&self) -> &str;

    /// Chooses a server for a new connection.
    fn select(&self, request: &Request<'_>, servers: Servers<'_>) -> Selection;

    /// The scheduler of the next snapshot, after `event`. It shares the mutable state with this one; one that keeps
    /// nothing about the list returns itself. A change may consist of many events, so what follows from the whole
    /// list is not computed here.
    fn successor(self: Arc<Self>, event: ServerEvent<'_>) -> Arc<dyn Scheduler>;

    /// The scheduler that follows after the last event of a change, for the list that the change leaves; `None`: this
    /// one. What is computed from the list is computed here, once: nobody chooses between the first event of a
    /// change and this.
    fn settled(&self, _servers: Servers<'_>) -> Option<Arc<dyn Scheduler>> {
        None
    }

    /// Whether it remembers this server, which may be a deleted one: as long as it does, the server is kept, and
    /// comes back as the same when it is added again.
    fn remembers(&self, _server: ServerId) -> bool {
        false
    }
}
