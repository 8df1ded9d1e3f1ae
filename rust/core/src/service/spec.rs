//! A virtual service as a user asks for it: plain values.

use super::{ServerSpec, ServiceKey};
use crate::net::{Endpoint, Protocol};
use crate::scheduler::{Scheduler, SchedulerFlags};
use crate::state::State;
use crate::time::Duration;
use std::net::IpAddr;
use std::sync::Arc;

/// A virtual service as it is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSpec {
    /// Its name.
    pub key: ServiceKey,
    /// Who chooses its servers.
    pub scheduler: SchedulerSpec,
    /// Options of the scheduler. They count from the next connection on.
    pub flags: SchedulerFlags,
    /// Whether and how long a client stays with its server.
    pub persistence: Option<Persistence>,
    /// Whether every UDP datagram is scheduled for itself (`--ops`).
    pub one_packet: bool,
    /// States whose timeout differs from the director's.
    pub timeouts: Vec<(State, Duration)>,
    /// Its servers, in the order in which they are added: each at the head of the list.
    pub servers: Vec<ServerSpec>,
}

impl Default for ServiceSpec {
    /// A service without a name, scheduled by wlc as `ipvsadm` does.
    fn default() -> Self {
        Self {
            key: ServiceKey::new(Protocol::TCP, Endpoint::UNSPECIFIED),
            scheduler: SchedulerSpec::Named("wlc".to_owned()),
            flags: SchedulerFlags::default(),
            persistence: None,
            one_packet: false,
            timeouts: Vec::new(),
            servers: Vec::new(),
        }
    }
}

impl ServiceSpec {
    /// Whether everything but the servers is the same.
    pub(super) fn agrees_but_for_servers(&self, other: &Self) -> bool {
        let Self { key, scheduler, flags, persistence, one_packet, timeouts, servers: _ } = self;
        (key, flags, persistence, one_packet)
            == (&other.key, &other.flags, &other.persistence, &other.one_packet)
            && (scheduler, timeouts) == (&other.scheduler, &other.timeouts)
    }
}

/// How a client stays with its server (`ipvsadm --persistent`, `--netmask`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persistence {
    /// How long after its latest new connection.
    pub timeout: Duration,
    /// The bits of a client's address that tell clients apart.
    pub mask: IpAddr,
}

impl Persistence {
    /// The name under which a client is remembered.
    #[must_use]
    pub fn group(&self, client: IpAddr) -> IpAddr {
        match (client, self.mask) {
            (IpAddr::V4(client), IpAddr::V4(mask)) => (client & mask).into(),
            (IpAddr::V6(client), IpAddr::V6(mask)) => (client & mask).into(),
            (client, _) => client,
        }
    }
}

/// Who chooses.
#[derive(Clone, Debug)]
pub enum SchedulerSpec {
    /// A built-in scheduler by its `ipvsadm` name.
    Named(String),
    /// The user's own.
    Custom(Arc<dyn Scheduler>),
}

impl PartialEq for SchedulerSpec {
    /// One of the user's own is only the same as itself.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Named(one), Self::Named(other)) => one == other,
            (Self::Custom(one), Self::Custom(other)) => {
                std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_netmask_groups_clients() {
        let group = |mask: &str, client: &str| {
            let persistence = Persistence { timeout: Duration::from_secs(1), mask: mask.parse().unwrap() };
            persistence.group(client.parse().unwrap()).to_string()
        };
        assert_eq!(group("255.255.0.240", "203.0.113.77"), "203.0.0.64");
        assert_eq!(group("ffff:ffff:ffff:ffff::", "2001:db8:1:2:3::9"), "2001:db8:1:2::");
    }
}
