//! What a user asks for, read from the dataclasses of `fastlvs.service`.

use crate::convert::Text;
use crate::errors;
use crate::scheduler::{PythonScheduler, Schedulers};
use crate::words::{protocol, state};
use fastlvs_core::net::{Endpoint, Protocol};
use fastlvs_core::scheduler::SchedulerFlags;
use fastlvs_core::service::{
    Encapsulation, Method, Persistence, SchedulerSpec, ServerSpec, ServiceAddress, ServiceKey, ServiceSpec,
};
use fastlvs_core::time::Duration;
use pyo3::prelude::*;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// A `fastlvs.VirtualService`, converted and checked once, whoever is told of it and however often.
#[pyclass(frozen, module = "fastlvs._core")]
pub struct Spec {
    /// Without the user's scheduler: each engine counts for itself how often it fails.
    spec: ServiceSpec,
    custom: Option<Custom>,
}

/// A scheduler of the user's, and who decides when it fails.
struct Custom {
    object: Py<PyAny>,
    fallback: String,
}

#[pymethods]
impl Spec {
    /// Raises `ConfigurationError` for what is wrong with a service.
    #[new]
    fn new(service: WantedService<'_>) -> PyResult<Self> {
        let spec = service.spec()?;
        let custom = service.custom();
        if let Some(custom) = &custom {
            // What can be wrong with it is said here.
            custom.scheduler(service.scheduler.py(), spec.key)?;
        }
        spec.check().map_err(|error| errors::configuration(error, None))?;
        Ok(Self { spec, custom })
    }

    /// What differs from `before`, a spec of the same service: whether the service itself does; the places of the
    /// servers in `before` that are gone; and of those here that are new (true) or others (false).
    fn changes(&self, before: &Self) -> (bool, Vec<usize>, Vec<(usize, bool)>) {
        let (old, new) = (&before.spec.servers, &self.spec.servers);
        let differs = !self.serves_as(before);
        if old == new {
            return (differs, Vec::new(), Vec::new());
        }
        let by_name = |servers: &[ServerSpec]| -> HashMap<Endpoint, ServerSpec> {
            servers.iter().map(|server| (server.endpoint, *server)).collect()
        };
        let (known, kept) = (by_name(old), by_name(new));
        let gone = (0..old.len()).filter(|place| !kept.contains_key(&old[*place].endpoint)).collect();
        let touched = |(place, server): (usize, &ServerSpec)| match known.get(&server.endpoint) {
            Some(was) if was == server => None,
            was => Some((place, was.is_none())),
        };
        (differs, gone, new.iter().enumerate().filter_map(touched).collect())
    }
}

impl Spec {
    pub const fn key(&self) -> ServiceKey {
        self.spec.key
    }

    /// The server at a place.
    pub fn server(&self, place: usize) -> PyResult<ServerSpec> {
        let server = self.spec.servers.get(place).copied();
        server.ok_or_else(|| errors::missing(format!("service {}: no real server {place}", self.key())))
    }

    /// The service in the core's words. A scheduler of the user's is put among `used`; one that is `known`
    /// already stays itself, with what it counted.
    pub fn spec(&self, py: Python<'_>, known: &Schedulers, used: &mut Schedulers) -> PyResult<ServiceSpec> {
        let mut spec = self.spec.clone();
        if let Some(custom) = &self.custom {
            let key = self.key();
            let scheduler = match known.get(&key) {
                Some(scheduler) if scheduler.is(custom.object.bind(py), &custom.fallback) => {
                    Arc::clone(scheduler)
                }
                _ => Arc::new(custom.scheduler(py, key)?),
            };
            used.insert(key, Arc::clone(&scheduler));
            spec.scheduler = SchedulerSpec::Custom(scheduler);
        }
        Ok(spec)
    }

    /// Whether the service itself is the same, whatever its servers.
    fn serves_as(&self, other: &Self) -> bool {
        let scheduler = match (&self.custom, &other.custom) {
            (Some(one), Some(two)) => one.object.is(&two.object) && one.fallback == two.fallback,
            (None, None) => named(&self.spec) == named(&other.spec),
            _ => false,
        };
        let (one, two) = (&self.spec, &other.spec);
        scheduler
            && one.flags == two.flags
            && one.persistence == two.persistence
            && one.one_packet == two.one_packet
            && one.timeouts == two.timeouts
    }
}

/// The name of a built-in scheduler.
fn named(spec: &ServiceSpec) -> Option<&str> {
    match &spec.scheduler {
        SchedulerSpec::Named(name) => Some(name),
        SchedulerSpec::Custom(_) => None,
    }
}

impl Custom {
    fn scheduler(&self, py: Python<'_>, service: ServiceKey) -> PyResult<PythonScheduler> {
        PythonScheduler::new(service, self.object.bind(py), &self.fallback)
    }
}

/// What `Spec` is made from.
#[derive(FromPyObject)]
pub struct WantedService<'py> {
    protocol: String,
    address: Place,
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
    address: Named,
    weight: u32,
    forwarding: Option<String>,
    tunnel: String,
    tunnel_port: u16,
    tunnel_flags: String,
    upper_threshold: u32,
    lower_threshold: u32,
}

/// A `fastlvs.Endpoint`.
struct Named(Endpoint);

impl FromPyObject<'_, '_> for Named {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let (address, port) = object.extract()?;
        Ok(Self(Endpoint::new(address, port)))
    }
}

/// A `fastlvs.Endpoint` or a `fastlvs.EndpointRange`.
struct Place(ServiceAddress);

impl FromPyObject<'_, '_> for Place {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if object.get_type().name()? == "EndpointRange" {
            return object.extract().map(|Text(address)| Self(address));
        }
        let Named(endpoint) = object.extract()?;
        Ok(Self(ServiceKey::new(Protocol::ANY, endpoint).address()))
    }
}

impl WantedService<'_> {
    fn key(&self) -> ServiceKey {
        ServiceKey::at(protocol(&self.protocol), self.address.0)
    }

    /// The same in the core's words, but for a scheduler of the user's.
    fn spec(&self) -> PyResult<ServiceSpec> {
        let scheduler = SchedulerSpec::Named(self.scheduler.extract().unwrap_or_default());
        let scheduler = if self.custom().is_some() { ServiceSpec::default().scheduler } else { scheduler };
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

    fn custom(&self) -> Option<Custom> {
        let named = self.scheduler.extract::<String>().is_ok();
        (!named).then(|| Custom { object: self.scheduler.clone().unbind(), fallback: self.fallback.clone() })
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
