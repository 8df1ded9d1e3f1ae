//! What a user asks for: services and servers as plain values, and what can be wrong with them.

use super::{Encapsulation, Method};
use crate::net::{Endpoint, Protocol};
use crate::scheduler::{self, Scheduler};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// What names a virtual service.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ServiceKey {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// VIP and port.
    pub address: Endpoint,
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol, self.address)
    }
}

/// A virtual service as it is to be.
#[derive(Clone, Debug)]
pub struct ServiceSpec {
    /// Its name.
    pub key: ServiceKey,
    /// Who chooses its servers.
    pub scheduler: SchedulerSpec,
    /// Its servers, in the order in which they are added: each at the head of the list.
    pub servers: Vec<ServerSpec>,
}

/// Who chooses.
#[derive(Clone, Debug)]
pub enum SchedulerSpec {
    /// A built-in scheduler by its `ipvsadm` name.
    Named(String),
    /// The user's own.
    Custom(Arc<dyn Scheduler>),
}

/// A real server as it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSpec {
    /// RIP and port.
    pub endpoint: Endpoint,
    /// How packets reach it.
    pub method: Method,
    /// What its tunnel is made of, where the method is tunneling.
    pub encapsulation: Encapsulation,
    /// Its share; 0 = no new connections.
    pub weight: u32,
}

/// What is wrong with a wish.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// Two services of one name.
    #[error("service {0} is defined twice")]
    DuplicateService(ServiceKey),
    /// Two servers of one name.
    #[error("service {0}: real server {1} is defined twice")]
    DuplicateServer(ServiceKey, Endpoint),
    /// A scheduler that does not exist.
    #[error("service {0}: unknown scheduler {1:?}; expected one of {known}", known = scheduler::NAMES.join(" "))]
    UnknownScheduler(ServiceKey, String),
    /// Neither TCP nor UDP.
    #[error("service {0}: only TCP and UDP can be balanced")]
    Protocol(ServiceKey),
    /// Port 0.
    #[error("service {0}: expected a port from 1 to 65535")]
    PortZero(ServiceKey),
    /// DR and TUN do not translate ports.
    #[error(
        "service {0}: real server {1} must have the service's port, for only masquerading translates ports"
    )]
    OtherPort(ServiceKey, Endpoint),
    /// Not an address of one host.
    #[error("service {0}: real server {1} is not a unicast address")]
    NotUnicast(ServiceKey, Endpoint),
    /// IPv4 and IPv6 mixed.
    #[error("service {0}: real server {1} is of another address family, which only tunneling reaches")]
    OtherFamily(ServiceKey, Endpoint),
    /// A GUE tunnel to nowhere.
    #[error("service {0}: real server {1} needs the port that it takes GUE on, from 1 to 65535")]
    TunnelPort(ServiceKey, Endpoint),
    /// Larger than the kernel takes.
    #[error("service {0}: real server {1} has weight {2}; expected 0 to 2147483647")]
    Weight(ServiceKey, Endpoint, u32),
}

impl ServiceSpec {
    /// Says what is wrong, if anything is.
    pub fn check(&self) -> Result<(), SpecError> {
        let key = self.key;
        if !matches!(key.protocol, Protocol::TCP | Protocol::UDP) {
            return Err(SpecError::Protocol(key));
        }
        if key.address.port == 0 {
            return Err(SpecError::PortZero(key));
        }
        if let SchedulerSpec::Named(name) = &self.scheduler
            && !scheduler::NAMES.contains(&name.as_str())
        {
            return Err(SpecError::UnknownScheduler(key, name.clone()));
        }
        for (number, server) in self.servers.iter().enumerate() {
            if self.servers[..number].iter().any(|s| s.endpoint == server.endpoint) {
                return Err(SpecError::DuplicateServer(key, server.endpoint));
            }
            server.check(key)?;
        }
        Ok(())
    }
}

impl ServerSpec {
    fn check(&self, key: ServiceKey) -> Result<(), SpecError> {
        let endpoint = self.endpoint;
        let unicast = match endpoint.address {
            IpAddr::V4(a) => !(a.is_multicast() || a.is_broadcast() || a.is_unspecified()),
            IpAddr::V6(a) => !(a.is_multicast() || a.is_unspecified()),
        };
        if !unicast {
            return Err(SpecError::NotUnicast(key, endpoint));
        }
        let same_family = endpoint.address.is_ipv4() == key.address.address.is_ipv4();
        if !same_family && self.method != Method::Tunneling {
            return Err(SpecError::OtherFamily(key, endpoint));
        }
        if self.method != Method::Masquerading && endpoint.port != key.address.port {
            return Err(SpecError::OtherPort(key, endpoint));
        }
        if matches!(self.encapsulation, Encapsulation::Gue { port: 0, .. }) {
            return Err(SpecError::TunnelPort(key, endpoint));
        }
        if self.weight > i32::MAX.unsigned_abs() {
            return Err(SpecError::Weight(key, endpoint, self.weight));
        }
        Ok(())
    }
}
