//! What an engine has: services, their servers, and what these carry. Views of the living objects: reading
//! a value twice may give two values.

use crate::columns::{self, Endpoints, Words, column, place, text};
use crate::convert::{self, Text};
use crate::scheduler::Schedulers;
use fastlvs_core::net::{Endpoint, Protocol};
use fastlvs_core::service::{Method, RealServer, ServiceTable, StatisticsValues, VirtualService};
use numpy::PyArray1;
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList};
use std::sync::Arc;

/// The virtual services of an engine.
#[pyclass(frozen, module = "fastlvs")]
pub struct Services(Vec<Service>);

/// One virtual service as an engine has it.
#[pyclass(frozen, module = "fastlvs")]
#[derive(Clone)]
pub struct Service {
    service: VirtualService,
    /// How often its scheduler, one of the user's, failed.
    #[pyo3(get)]
    scheduler_errors: u64,
}

/// The real servers of a service, newest first: the order in which schedulers walk them.
#[pyclass(frozen, module = "fastlvs")]
#[derive(Clone)]
pub struct Servers(pub Arc<[Arc<RealServer>]>);

/// One real server as an engine has it.
#[pyclass(frozen, module = "fastlvs")]
pub struct Server(pub Arc<RealServer>);

impl Services {
    pub fn new(table: &ServiceTable, schedulers: &Schedulers) -> Self {
        let view = |service: &VirtualService| Service {
            service: service.clone(),
            scheduler_errors: schedulers.get(service.key()).map_or(0, |scheduler| scheduler.failures()),
        };
        Self(table.services().iter().map(view).collect())
    }
}

#[pymethods]
impl Services {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// A service by its place, or by anything that names it.
    fn __getitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<Service> {
        if let Ok(index) = key.extract() {
            return Ok(self.0[place(index, self.0.len())?].clone());
        }
        let (protocol, address) = match key.extract::<(String, Bound<'_, PyAny>)>() {
            Ok(pair) => pair,
            Err(_) => (key.getattr("protocol")?.extract()?, key.getattr("address")?),
        };
        let endpoint_class = key.py().import("fastlvs.network")?.getattr("Endpoint")?;
        let Text(address) = endpoint_class.call_method1("parse", (address,))?.extract::<Text<Endpoint>>()?;
        let named = |s: &&Service| s.protocol() == protocol && s.service.key().address == address;
        let found = self.0.iter().find(named).cloned();
        found.ok_or_else(|| PyKeyError::new_err(format!("no service {protocol} {address}")))
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        PyList::new(py, self.0.clone())?.try_iter()
    }

    /// As `ipvsadm -Ln --nosort` prints it.
    fn __repr__(&self) -> String {
        let head = "Prot LocalAddress:Port Scheduler Flags\n  \
                    -> RemoteAddress:Port           Forward Weight ActiveConn InActConn";
        let services = self.0.iter().map(Service::lines);
        std::iter::once(head.to_owned()).chain(services).collect::<Vec<_>>().join("\n")
    }
}

#[pymethods]
impl Service {
    /// "tcp" or "udp".
    #[getter]
    fn protocol(&self) -> &'static str {
        if self.service.key().protocol == Protocol::TCP { "tcp" } else { "udp" }
    }

    /// Address and port (VIP).
    #[getter]
    fn address<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        convert::endpoint(py, self.service.key().address)
    }

    /// The name of the scheduler: ipvsadm's, or that of the user's class.
    #[getter]
    fn scheduler(&self) -> &str {
        self.service.scheduler().name()
    }

    #[getter]
    fn servers(&self) -> Servers {
        Servers(self.service.servers().into())
    }

    /// Connections scheduled so far.
    #[getter]
    fn connections(&self) -> u64 {
        self.values().connections
    }

    /// Packets from clients.
    #[getter]
    fn in_packets(&self) -> u64 {
        self.values().in_packets
    }

    /// Their bytes, IP header included.
    #[getter]
    fn in_bytes(&self) -> u64 {
        self.values().in_bytes
    }

    /// Packets to clients that passed the director.
    #[getter]
    fn out_packets(&self) -> u64 {
        self.values().out_packets
    }

    /// Their bytes, IP header included.
    #[getter]
    fn out_bytes(&self) -> u64 {
        self.values().out_bytes
    }

    fn __repr__(&self) -> String {
        self.lines()
    }
}

impl Service {
    fn values(&self) -> StatisticsValues {
        self.service.statistics().values()
    }

    fn lines(&self) -> String {
        let key = self.service.key();
        let head = format!("{:<4} {} {}", key.protocol, key.address, self.scheduler());
        let rows = self.service.servers().iter().map(|server| row(server));
        std::iter::once(head).chain(rows).collect::<Vec<_>>().join("\n")
    }
}

const COLUMNS: [&str; 12] = [
    "address",
    "forwarding",
    "weight",
    "active",
    "inactive",
    "usable",
    "overloaded",
    "connections",
    "in_packets",
    "in_bytes",
    "out_packets",
    "out_bytes",
];

#[pymethods]
impl Servers {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __getitem__(&self, index: isize) -> PyResult<Server> {
        Ok(Server(Arc::clone(&self.0[place(index, self.0.len())?])))
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        PyList::new(py, self.0.iter().cloned().map(Server))?.try_iter()
    }

    /// "10.0.0.11:8080".
    #[getter]
    fn address<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<Endpoints>> {
        column(py, &self.0, |s| text(&s.endpoint().to_string()))
    }

    /// "masquerading", "gatewaying" or "tunneling".
    #[getter]
    fn forwarding<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<Words>> {
        column(py, &self.0, |s| text(s.method().name()))
    }

    /// Shares, relative to each other; 0: no new connections.
    #[getter]
    fn weight<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        column(py, &self.0, |s| s.weight())
    }

    /// Connections that count as active: TCP, established or opening.
    #[getter]
    fn active<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        column(py, &self.0, |s| s.active())
    }

    /// All other connections.
    #[getter]
    fn inactive<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        column(py, &self.0, |s| s.inactive())
    }

    /// Whether a built-in scheduler would choose it: weight above 0 and not overloaded.
    #[getter]
    fn usable<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<bool>> {
        column(py, &self.0, |s| s.is_usable())
    }

    /// Whether its upper connection threshold keeps new connections away.
    #[getter]
    fn overloaded<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<bool>> {
        column(py, &self.0, |s| s.is_overloaded())
    }

    /// Connections scheduled so far.
    #[getter]
    fn connections<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        column(py, &self.0, |s| s.statistics.values().connections)
    }

    /// Packets from clients.
    #[getter]
    fn in_packets<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        column(py, &self.0, |s| s.statistics.values().in_packets)
    }

    /// Their bytes, IP header included.
    #[getter]
    fn in_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        column(py, &self.0, |s| s.statistics.values().in_bytes)
    }

    /// Packets to clients that passed the director.
    #[getter]
    fn out_packets<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        column(py, &self.0, |s| s.statistics.values().out_packets)
    }

    /// Their bytes, IP header included.
    #[getter]
    fn out_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        column(py, &self.0, |s| s.statistics.values().out_bytes)
    }

    /// All columns by name.
    fn columns<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        columns::columns(slf, &COLUMNS)
    }

    /// All columns as a pandas `DataFrame`; pandas has to be installed.
    fn to_pandas<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        columns::to_pandas(slf, &COLUMNS)
    }

    fn __repr__(&self) -> String {
        self.0.iter().map(|s| row(s)).collect::<Vec<_>>().join("\n")
    }
}

#[pymethods]
impl Server {
    /// Address and port (RIP).
    #[getter]
    fn address<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        convert::endpoint(py, self.0.endpoint())
    }

    #[getter]
    fn forwarding<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("fastlvs.service")?.getattr("Forwarding")?.call1((self.0.method().name(),))
    }

    #[getter]
    fn weight(&self) -> u32 {
        self.0.weight()
    }

    #[getter]
    fn active(&self) -> u32 {
        self.0.active()
    }

    #[getter]
    fn inactive(&self) -> u32 {
        self.0.inactive()
    }

    #[getter]
    fn usable(&self) -> bool {
        self.0.is_usable()
    }

    #[getter]
    fn overloaded(&self) -> bool {
        self.0.is_overloaded()
    }

    #[getter]
    fn connections(&self) -> u64 {
        self.0.statistics.values().connections
    }

    #[getter]
    fn in_packets(&self) -> u64 {
        self.0.statistics.values().in_packets
    }

    #[getter]
    fn in_bytes(&self) -> u64 {
        self.0.statistics.values().in_bytes
    }

    #[getter]
    fn out_packets(&self) -> u64 {
        self.0.statistics.values().out_packets
    }

    #[getter]
    fn out_bytes(&self) -> u64 {
        self.0.statistics.values().out_bytes
    }

    fn __repr__(&self) -> String {
        format!(
            "<Server {} {} weight {}: {} active, {} inactive>",
            self.0.endpoint(),
            self.0.method().name(),
            self.0.weight(),
            self.0.active(),
            self.0.inactive()
        )
    }
}

/// A server's line in ipvsadm's listing.
fn row(server: &RealServer) -> String {
    let forward = match server.method() {
        Method::Masquerading => "Masq",
        Method::Gatewaying => "Route",
        Method::Tunneling => "Tunnel",
    };
    format!(
        "  -> {:<28} {forward:<7} {:<6} {:<10} {}",
        server.endpoint(),
        server.weight(),
        server.active(),
        server.inactive()
    )
}
