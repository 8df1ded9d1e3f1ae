//! What a user asks for, read from the dataclasses of `fastlvs.service`.

use crate::convert::Text;
use crate::errors;
use crate::scheduler::{PythonScheduler, Schedulers};
use fastlvs_core::net::{Endpoint, Protocol};
use fastlvs_core::service::{Encapsulation, Method, SchedulerSpec, ServerSpec, ServiceKey, ServiceSpec};
use pyo3::prelude::*;
use std::sync::Arc;

/// A `fastlvs.VirtualService`.
#[derive(FromPyObject)]
pub struct WantedService<'py> {
    protocol: String,
    address: Text<Endpoint>,
    scheduler: Bound<'py, PyAny>,
    forwarding: String,
    servers: Vec<WantedServer>,
    fallback: String,
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
}

/// Raises `ConfigurationError` for what is wrong with a service.
#[pyfunction]
pub fn check_service(service: WantedService<'_>) -> PyResult<()> {
    let spec = service.spec(&Schedulers::new(), &mut Schedulers::new())?;
    spec.check().map_err(|error| errors::configuration(error, None))
}

impl WantedService<'_> {
    fn key(&self) -> ServiceKey {
        let protocol = if self.protocol == "tcp" { Protocol::TCP } else { Protocol::UDP };
        ServiceKey { protocol, address: self.address.0 }
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
        Ok(ServiceSpec { key: self.key(), scheduler, servers })
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
        })
    }
}
