//! `fastlvs._core.Configuration`: what a director is to do, from a file or from Python.

use crate::convert::Text;
use crate::engine::{WantedRoute, WantedSettings, parse_mac};
use crate::errors;
use fastlvs_director::config::{self, Place, SchedulerName, ServiceConfig, StaticNeighbour, StaticRoute};
use pyo3::prelude::*;
use std::net::IpAddr;
use std::time::Duration;

/// What a director is to do, its services excepted where Python has them.
#[pyclass(frozen, module = "fastlvs._core")]
pub struct Configuration(pub config::Configuration);

/// A service as a file says it: protocol, VIP, scheduler, forwarding, servers (RIP, weight, forwarding), fallback, and
/// the place of its scheduler (file, line, field).
type ServiceFields =
    (String, String, String, &'static str, Vec<(String, u32, &'static str)>, String, PlaceFields);

type PlaceFields = (String, Option<usize>, Option<String>);

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
    let scheduler = match &service.scheduler {
        SchedulerName::BuiltIn(name) | SchedulerName::Python(name) => name.clone(),
    };
    let servers = service.servers.iter();
    let Place { file, line, field } = service.place.clone();
    (
        service.key.protocol.to_string().to_lowercase(),
        service.key.address.to_string(),
        scheduler,
        service.forwarding.name(),
        servers.map(|s| (s.endpoint.to_string(), s.weight, s.method.name())).collect(),
        service.fallback.clone(),
        (file, line, field),
    )
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
