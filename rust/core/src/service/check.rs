//! What can be wrong with services and servers as they are asked for.

use super::{Encapsulation, Method, SchedulerSpec, ServerSpec, ServiceKey, ServiceSpec};
use crate::net::{Endpoint, Protocol, can_be_reached};
use crate::scheduler;
use std::collections::HashSet;
use std::net::IpAddr;

/// What is wrong with a wish.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// Two services of one name.
    #[error("service {0} is defined twice")]
    DuplicateService(ServiceKey),
    /// A service that is to be added is there.
    #[error("service {0} is there already")]
    ServiceExists(ServiceKey),
    /// A service that is to be changed or removed is not there.
    #[error("service {0} is not there")]
    NoService(ServiceKey),
    /// A real server that is to be added is there.
    #[error("service {0} has the real server {1} already")]
    ServerExists(ServiceKey, Endpoint),
    /// A real server that is to be changed or removed is not there.
    #[error("service {0} has no real server {1}")]
    NoServer(ServiceKey, Endpoint),
    /// Two servers of one name.
    #[error("service {0}: real server {1} is defined twice")]
    DuplicateServer(ServiceKey, Endpoint),
    /// A scheduler that does not exist.
    #[error("service {0}: unknown scheduler {1:?}; expected one of {known}", known = scheduler::NAMES.join(" "))]
    UnknownScheduler(ServiceKey, String),
    /// Neither TCP nor UDP nor SCTP.
    #[error("service {0}: only TCP, UDP and SCTP can be balanced")]
    Protocol(ServiceKey),
    /// Port 0.
    #[error("service {0}: expected a port from 1 to 65535; port 0 (all ports) needs persistence")]
    PortZero(ServiceKey),
    /// A VIP that no client can reach through a director.
    #[error(
        "service {0}: expected a VIP that is one host's address, or a block of such: neither unspecified, loopback, multicast nor broadcast"
    )]
    Vip(ServiceKey),
    /// Mark 0 is no mark.
    #[error("service {0}: expected a mark above 0")]
    MarkZero(ServiceKey),
    /// One-packet scheduling of what is no UDP.
    #[error("service {0}: one-packet scheduling is for UDP and for marks")]
    OnePacket(ServiceKey),
    /// A persistence timeout of nothing.
    #[error("service {0}: expected a persistence timeout above 0")]
    NoTime(ServiceKey),
    /// A netmask for the other address family.
    #[error("service {0}: the persistence netmask {1} is of another address family")]
    MaskFamily(ServiceKey, IpAddr),
    /// More servers than the scheduler's table has slots.
    #[error("service {0}: {1} real servers are more than the {most} that mh can tell apart", most = scheduler::MOST_MH_SERVERS)]
    TooManyServers(ServiceKey, usize),
    /// DR and TUN do not translate ports.
    #[error(
        "service {0}: real server {1} must have the service's port (0 for a range of them), for only masquerading translates ports"
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
    /// A lower threshold above the upper one.
    #[error("service {0}: real server {1} has the lower threshold {2} above the upper threshold {3}")]
    Thresholds(ServiceKey, Endpoint, u32, u32),
}

impl ServiceSpec {
    /// Says what is wrong, if anything is.
    pub fn check(&self) -> Result<(), SpecError> {
        let key = self.key;
        self.check_key()?;
        if let Some(persistence) = self.persistence {
            if persistence.timeout.is_zero() {
                return Err(SpecError::NoTime(key));
            }
            if persistence.mask.is_ipv6() != key.is_ipv6() {
                return Err(SpecError::MaskFamily(key, persistence.mask));
            }
        }
        if let SchedulerSpec::Named(name) = &self.scheduler {
            if !scheduler::NAMES.contains(&name.as_str()) {
                return Err(SpecError::UnknownScheduler(key, name.clone()));
            }
            if name == "mh" && self.servers.len() > scheduler::MOST_MH_SERVERS {
                return Err(SpecError::TooManyServers(key, self.servers.len()));
            }
        }
        let mut known = HashSet::with_capacity(self.servers.len());
        for server in &self.servers {
            if !known.insert(server.endpoint) {
                return Err(SpecError::DuplicateServer(key, server.endpoint));
            }
            server.check(key)?;
        }
        Ok(())
    }

    fn check_key(&self) -> Result<(), SpecError> {
        let key = self.key;
        match (key.mark(), key.protocol) {
            (Some(0), _) => return Err(SpecError::MarkZero(key)),
            (Some(_), _) => return Ok(()),
            (None, Protocol::TCP | Protocol::UDP | Protocol::SCTP) => {}
            (None, _) => return Err(SpecError::Protocol(key)),
        }
        let address = key.address();
        if !can_be_reached(address.first.address, address.alone().is_some()) {
            return Err(SpecError::Vip(key));
        }
        if self.one_packet && key.protocol != Protocol::UDP {
            return Err(SpecError::OnePacket(key));
        }
        if key.is_exact() && key.address.port == 0 && self.persistence.is_none() {
            return Err(SpecError::PortZero(key));
        }
        Ok(())
    }
}

impl ServerSpec {
    /// Says what is wrong with it as a server of that service, if anything is.
    pub(super) fn check(&self, key: ServiceKey) -> Result<(), SpecError> {
        let endpoint = self.endpoint;
        let unicast = match endpoint.address {
            IpAddr::V4(a) => !(a.is_multicast() || a.is_broadcast() || a.is_unspecified()),
            // As in the kernel: without its link nobody can say where it is.
            IpAddr::V6(a) => !(a.is_multicast() || a.is_unspecified() || a.is_unicast_link_local()),
        };
        if !unicast {
            return Err(SpecError::NotUnicast(key, endpoint));
        }
        if endpoint.address.is_ipv6() != key.is_ipv6() && self.method != Method::Tunneling {
            return Err(SpecError::OtherFamily(key, endpoint));
        }
        // Of a mark's server the port is part of its name, and no more where it is not translated.
        let keeps_port = self.method != Method::Masquerading && key.mark().is_none();
        if keeps_port && endpoint.port != key.address().server_port() {
            return Err(SpecError::OtherPort(key, endpoint));
        }
        if matches!(self.encapsulation, Encapsulation::Gue { port: 0, .. }) {
            return Err(SpecError::TunnelPort(key, endpoint));
        }
        if self.weight > i32::MAX.unsigned_abs() {
            return Err(SpecError::Weight(key, endpoint, self.weight));
        }
        if self.lower_threshold > self.upper_threshold {
            return Err(SpecError::Thresholds(key, endpoint, self.lower_threshold, self.upper_threshold));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Persistence;
    use crate::time::Duration;

    fn spec(key: ServiceKey) -> ServiceSpec {
        ServiceSpec { key, ..ServiceSpec::default() }
    }

    fn address(protocol: Protocol, address: &str) -> ServiceKey {
        ServiceKey::new(protocol, address.parse().unwrap())
    }

    #[test]
    fn what_cannot_be_is_said() {
        assert!(matches!(spec(ServiceKey::of_mark(0, false)).check(), Err(SpecError::MarkZero(_))));
        assert_eq!(spec(ServiceKey::of_mark(7, true)).check(), Ok(()));
        let all_ports = address(Protocol::TCP, "10.0.0.1:0");
        assert_eq!(spec(all_ports).check(), Err(SpecError::PortZero(all_ports)));
        let persistence =
            |mask: &str| Some(Persistence { timeout: Duration::from_secs(300), mask: mask.parse().unwrap() });
        let kept = ServiceSpec { persistence: persistence("255.255.255.0"), ..spec(all_ports) };
        assert_eq!(kept.check(), Ok(()));
        let kept = ServiceSpec { persistence: persistence("ffff::"), ..spec(all_ports) };
        assert!(matches!(kept.check(), Err(SpecError::MaskFamily(..))));
        let one_packet = ServiceSpec { one_packet: true, ..spec(address(Protocol::TCP, "10.0.0.1:80")) };
        assert!(matches!(one_packet.check(), Err(SpecError::OnePacket(_))));
        let server = ServerSpec {
            endpoint: "10.0.0.2:80".parse().unwrap(),
            upper_threshold: 3,
            lower_threshold: 4,
            ..ServerSpec::default()
        };
        let service = ServiceSpec { servers: vec![server], ..spec(address(Protocol::TCP, "10.0.0.1:80")) };
        assert!(matches!(service.check(), Err(SpecError::Thresholds(_, _, 4, 3))));
    }

    #[test]
    fn servers_of_a_mark_have_ports_by_any_method() {
        let server = |endpoint: &str, method| ServerSpec {
            endpoint: endpoint.parse().unwrap(),
            method,
            ..ServerSpec::default()
        };
        for method in [Method::Masquerading, Method::Gatewaying, Method::Tunneling] {
            let servers =
                ["10.0.0.2:80", "10.0.0.2:81", "10.0.0.2:0"].map(|endpoint| server(endpoint, method));
            let service = ServiceSpec { servers: servers.to_vec(), ..spec(ServiceKey::of_mark(7, false)) };
            assert_eq!(service.check(), Ok(()), "{method:?}");
        }
        let servers = vec![server("10.0.0.2:81", Method::Gatewaying)];
        let service = ServiceSpec { servers, ..spec(address(Protocol::TCP, "10.0.0.1:80")) };
        assert!(matches!(service.check(), Err(SpecError::OtherPort(..))));
    }

    #[test]
    fn a_real_server_is_not_one_of_a_link() {
        let service = |vip, rip: &str| ServiceSpec {
            servers: vec![ServerSpec { endpoint: rip.parse().unwrap(), ..ServerSpec::default() }],
            ..spec(address(Protocol::TCP, vip))
        };
        let refused = service("[fd00::1]:80", "[fe80::1]:80").check();
        assert!(matches!(refused, Err(SpecError::NotUnicast(..))), "{refused:?}");
        assert_eq!(service("10.0.0.1:80", "169.254.0.1:80").check(), Ok(()), "IPv4 has no scopes");
    }

    #[test]
    fn a_vip_can_be_reached_from_elsewhere() {
        for text in ["0.0.0.0:80", "127.0.0.1:80", "224.0.0.1:80", "255.255.255.255:80", "127.0.0.0/8:80"]
            .into_iter()
            .chain(["224.0.0.0/4:80", "[::]:80", "[::1]:80", "[ff02::1]:80", "[ff00::/8]:80"])
        {
            let key = ServiceKey::at(Protocol::TCP, text.parse().unwrap());
            assert_eq!(spec(key).check(), Err(SpecError::Vip(key)), "{text}");
        }
        for text in ["0.0.0.0/0:80", "[::/0]:80", "240.0.0.1:80", "0.1.2.3:80", "[fe80::1]:80"] {
            let key = ServiceKey::at(Protocol::TCP, text.parse().unwrap());
            assert_eq!(spec(key).check(), Ok(()), "{text}");
        }
    }
}
