//! `fastlvs._core.Configuration`: what a director is to do, from a file or from Python.

use crate::convert::Text;
use crate::engine::{WantedRoute, parse_mac};
use crate::errors;
use crate::settings::WantedSettings;
use fastlvs_core::service::{Encapsulation, ServerSpec};
use fastlvs_director::config::{self, Place, SchedulerName, ServiceConfig, StaticNeighbour, StaticRoute};
use pyo3::prelude::*;
use std::net::IpAddr;
use std::time::Duration;

/// What a director is to do, its services excepted where Python has them.
#[pyclass(frozen, module = "fastlvs._core")]
pub struct Configuration(pub config::Configuration);

/// A service as a file says it: what `fastlvs.VirtualService` takes by name, and where its scheduler stands.
#[derive(IntoPyObject)]
struct ServiceFields {
    protocol: String,
    address: String,
    scheduler: String,
    forwarding: &'static str,
    servers: Vec<ServerFields>,
    fallback: String,
    place: PlaceFields,
}

/// What `fastlvs.RealServer` takes by name.
#[derive(IntoPyObject)]
struct ServerFields {
    address: String,
    weight: u32,
    forwarding: &'static str,
    tunnel: &'static str,
    tunnel_port: u16,
    tunnel_flags: &'static str,
}

/// What `fastlvs.ConfigurationError` takes by name.
#[derive(IntoPyObject)]
struct PlaceFields {
    file: String,
    line: Option<usize>,
    field: Option<String>,
}

#[pymethods]
impl Configuration {
    #[new]
    fn new(
        interfaces: Vec<String>,
        settings: WantedSettings,
        neighbours: Vec<(IpAddr, String)>,
        routes: Vec<WantedRoute>,
        spin: f64,
    ) -> PyResult<Self> {
        Ok(Self(config::Configuration {
            interfaces,
            settings: settings.into(),
            neighbours: neighbours.into_iter().map(neighbour).collect::<PyResult<_>>()?,
            routes: routes.into_iter().map(route).collect::<PyResult<_>>()?,
            spin: Duration::from_secs_f64(spin),
            ..config::Configuration::default()
        }))
    }

    /// Reads the text of a `director.toml`, which errors call `file`.
    #[staticmethod]
    fn from_toml(text: &str, file: &str) -> PyResult<Self> {
        let read = config::Configuration::from_toml(text, file);
        read.map(Self).map_err(|error| errors::configured(&error))
    }

    /// The services that the file has.
    #[getter]
    fn services(&self) -> Vec<ServiceFields> {
        self.0.services.iter().map(fields).collect()
    }
}

fn fields(service: &ServiceConfig) -> ServiceFields {
    let (SchedulerName::BuiltIn(scheduler) | SchedulerName::Python(scheduler)) = &service.scheduler;
    let Place { file, line, field } = service.place.clone();
    ServiceFields {
        protocol: service.key.protocol.to_string().to_lowercase(),
        address: service.key.address.to_string(),
        scheduler: scheduler.clone(),
        forwarding: service.forwarding.name(),
        servers: service.servers.iter().map(server).collect(),
        fallback: service.fallback.clone(),
        place: PlaceFields { file, line, field },
    }
}

fn server(server: &ServerSpec) -> ServerFields {
    let flags = |checksum| if checksum { "csum" } else { "nocsum" };
    let (tunnel, tunnel_port, tunnel_flags) = match server.encapsulation {
        Encapsulation::Ipip => ("ipip", 0, flags(false)),
        Encapsulation::Gue { port, checksum } => ("gue", port, flags(checksum)),
        Encapsulation::Gre { checksum } => ("gre", 0, flags(checksum)),
    };
    ServerFields {
        address: server.endpoint.to_string(),
        weight: server.weight,
        forwarding: server.method.name(),
        tunnel,
        tunnel_port,
        tunnel_flags,
    }
}

fn neighbour((address, mac): (IpAddr, String)) -> PyResult<StaticNeighbour> {
    let mac = parse_mac(&mac, &format!("neighbour {address}"))?;
    Ok(StaticNeighbour { address, mac, interface: None })
}

fn route(wanted: WantedRoute) -> PyResult<StaticRoute> {
    let WantedRoute { destination: Text(destination), via, interface, mtu, kind } = wanted;
    if kind != "unicast" {
        let message = format!("expected a route of kind unicast, got {kind}: refuse in the kernel's table");
        return Err(errors::configuration(message, Some(&format!("route {destination}"))));
    }
    Ok(StaticRoute { destination, via, interface, mtu })
}
