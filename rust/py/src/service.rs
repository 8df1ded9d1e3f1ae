//! What a user asks for, read from the dataclasses of `fastlvs.service`.

use crate::convert::Text;
use crate::errors;
use crate::scheduler::{PythonScheduler, Schedulers};
use crate::words::{protocol, state};
use fastlvs_core::net::Endpoint;
use fastlvs_core::scheduler::SchedulerFlags;
use fastlvs_core::service::{
    Encapsulation, Method, Persistence, SchedulerSpec, ServerSpec, ServiceAddress, ServiceKey, ServiceSpec,
};
use fastlvs_core::time::Duration;
use pyo3::prelude::*;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// A `fastlvs.VirtualService`.
#[derive(FromPyObject)]
pub struct WantedService<'py> {
    protocol: String,
    address: Text<ServiceAddress>,
    scheduler: Bound<'py, PyAny>,
    forwarding: String,
    servers: Vec<WantedServer>,
    fallback: String,
    flags: HashSet<String>,
    persistence: Option<f64>,
    netmask: Option<IpAddr>,
    one_packet: bool,
    timeouts: Vec<(String, f64)>,
}

/// A `fastlvs.RealServer`.
#[derive(FromPyObject)]
struct WantedServer {
    address: Text<Endpoint>,
    weight: u32,
    forwarding: Option<String>,
    tunnel: String,
    tunnel_port: u16,
    tunnel_flags: String,
    upper_threshold: u32,
    lower_threshold: u32,
}

/// Raises `ConfigurationError` for what is wrong with a service.
#[pyfunction]
pub fn check_service(service: WantedService<'_>) -> PyResult<()> {
    let spec = service.spec(&Schedulers::new(), &mut Schedulers::new())?;
    spec.check().map_err(|error| errors::configuration(error, None))
}

impl WantedService<'_> {
    fn key(&self) -> ServiceKey {
        ServiceKey::at(protocol(&self.protocol), self.address.0)
    }

    /// The same in the core's words. A scheduler of the user's is put among `used`; one that is `known`
    /// already stays itself, with what it counted.
    pub fn spec(&self, known: &Schedulers, used: &mut Schedulers) -> PyResult<ServiceSpec> {
        let scheduler = match self.scheduler.extract::<String>() {
            Ok(name) => SchedulerSpec::Named(name),
            Err(_) => SchedulerSpec::Custom(self.python_scheduler(known, used)?),
        };
        let server = |server: &WantedServer| server.spec(&self.forwarding);
        let servers = self.servers.iter().map(server).collect::<PyResult<_>>()?;
        let has_flag = |kind| self.flags.iter().any(|flag| flag.ends_with(kind));
        let timeout =
            |(name, seconds): &(String, f64)| Some((state(name)?, Duration::from_secs_f64(*seconds)));
        Ok(ServiceSpec {
            key: self.key(),
            scheduler,
            flags: SchedulerFlags { fallback: has_flag("-fallback"), port: has_flag("-port") },
            persistence: self.persistence()?,
            one_packet: self.one_packet,
            timeouts: self.timeouts.iter().filter_map(timeout).collect(),
            servers,
        })
    }

    fn persistence(&self) -> PyResult<Option<Persistence>> {
        let Some(seconds) = self.persistence else { return Ok(None) };
        let timeout = Duration::try_from_secs_f64(seconds)
            .map_err(|_| errors::configuration("expected seconds of persistence above 0", None))?;
        let all = match self.address.0.first.address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::BROADCAST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
        };
        Ok(Some(Persistence { timeout, mask: self.netmask.unwrap_or(all) }))
    }

    fn python_scheduler(&self, known: &Schedulers, used: &mut Schedulers) -> PyResult<Arc<PythonScheduler>> {
        let scheduler = match known.get(&self.key()) {
            Some(scheduler) if scheduler.is(&self.scheduler, &self.fallback) => Arc::clone(scheduler),
            _ => Arc::new(PythonScheduler::new(self.key(), &self.scheduler, &self.fallback)?),
        };
        used.insert(self.key(), Arc::clone(&scheduler));
        Ok(scheduler)
    }
}

impl WantedServer {
    fn encapsulation(&self) -> Encapsulation {
        let checksum = self.tunnel_flags != "nocsum";
        match self.tunnel.as_str() {
            "gue" => Encapsulation::Gue { port: self.tunnel_port, checksum },
            "gre" => Encapsulation::Gre { checksum },
            _ => Encapsulation::Ipip,
        }
    }

    fn spec(&self, default: &str) -> PyResult<ServerSpec> {
        let name = self.forwarding.as_deref().unwrap_or(default);
        let method = Method::from_name(name)
            .ok_or_else(|| errors::configuration(format!("unknown forwarding method {name:?}"), None))?;
        Ok(ServerSpec {
            endpoint: self.address.0,
            method,
            encapsulation: self.encapsulation(),
            weight: self.weight,
            upper_threshold: self.upper_threshold,
            lower_threshold: self.lower_threshold,
        })
    }
}
