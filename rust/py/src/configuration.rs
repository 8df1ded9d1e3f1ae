//! `fastlvs._core.Configuration`: what a director is to do, from a file or from Python.

use crate::convert::Text;
use crate::engine::{WantedRoute, parse_mac};
use crate::errors;

use crate::settings::{WantedMark, WantedSettings};
use crate::words::{flag_names, protocol_name};
use fastlvs_core::service::{Encapsulation, ServerSpec};
use fastlvs_director::config::{self, Place, SchedulerName, ServiceConfig, StaticNeighbour, StaticRoute};
use pyo3::prelude::*;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// What a director is to do, its services excepted where Python has them.
#[pyclass(frozen, module = "fastlvs._core")]
pub struct Configuration(pub config::Configuration);

/// A service as a file says it: what `fastlvs.VirtualService` takes by name, and where its scheduler stands.
#[derive(IntoPyObject)]
struct ServiceFields {
    protocol: &'static str,
    address: String,
    scheduler: String,
    forwarding: &'static str,
    servers: Vec<ServerFields>,
    fallback: String,
    flags: Vec<String>,
    persistence: Option<f64>,
    netmask: Option<String>,
    one_packet: bool,
    timeouts: HashMap<String, f64>,
    place: PlaceFields,
}

/// A service of a file, or the place in another that has the same.
#[derive(IntoPyObject)]
#[expect(clippy::large_enum_variant, reason = "each becomes an object of Python's at once")]
enum ServiceRead {
    Known(usize),
    New(ServiceFields),
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
    upper_threshold: u32,
    lower_threshold: u32,
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
        marks: Vec<WantedMark>,
        spin: f64,
    ) -> PyResult<Self> {
        Ok(Self(config::Configuration {
            interfaces,
            settings: settings.into(),
            neighbours: neighbours.into_iter().map(neighbour).collect::<PyResult<_>>()?,
            routes: routes.into_iter().map(route).collect::<PyResult<_>>()?,
            marks: marks.into_iter().map(Into::into).collect(),
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

    /// The services that the file has; of those that another file had, to the letter, their places there.
    #[pyo3(signature = (before=None))]
    fn services(&self, before: Option<&Self>) -> Vec<ServiceRead> {
        let before = before.into_iter().flat_map(|before| before.0.services.iter().enumerate());
        let known: HashMap<_, _> = before.map(|(place, service)| (service.key, (place, service))).collect();
        let read = |service: &ServiceConfig| match known.get(&service.key) {
            Some((place, known)) if known.says_the_same(service) => ServiceRead::Known(*place),
            _ => ServiceRead::New(fields(service)),
        };
        self.0.services.iter().map(read).collect()
    }
}

fn fields(service: &ServiceConfig) -> ServiceFields {
    let (SchedulerName::BuiltIn(scheduler) | SchedulerName::Python(scheduler)) = &service.scheduler;
    let Place { file, line, field } = service.place.clone();
    ServiceFields {
        protocol: protocol_name(service.key.protocol),
        address: service.key.address().to_string(),
        scheduler: scheduler.clone(),
        forwarding: service.forwarding.name(),
        servers: service.servers.iter().map(server).collect(),
        fallback: service.fallback.clone(),
        flags: flag_names(service.flags, scheduler),
        persistence: service.persistence.map(|persistence| persistence.timeout.as_secs_f64()),
        netmask: service.persistence.map(|persistence| persistence.mask.to_string()),
        one_packet: service.one_packet,
        timeouts: service
            .timeouts
            .iter()
            .map(|(state, time)| (state.timeout_name(), time.as_secs_f64()))
            .collect(),
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
        upper_threshold: server.upper_threshold,
        lower_threshold: server.lower_threshold,
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
