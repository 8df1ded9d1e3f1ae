//! The real servers that an engine has: views of the living objects.

use crate::columns::{self, Endpoints, Words, column, place, text};
use crate::convert;
use fastlvs_core::service::{Method, RealServer, StatisticsValues};
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList};
use std::sync::Arc;

/// The real servers of a service, newest first: the order in which schedulers walk them.
#[pyclass(frozen, module = "fastlvs")]
#[derive(Clone)]
pub struct Servers(pub Arc<[Arc<RealServer>]>);

/// One real server as an engine has it.
#[pyclass(frozen, module = "fastlvs")]
pub struct Server(pub Arc<RealServer>);

const COLUMNS: [&str; 15] = [
    "address",
    "forwarding",
    "weight",
    "upper_threshold",
    "lower_threshold",
    "active",
    "inactive",
    "persistent",
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

    fn __getitem__(&self, index: &Bound<'_, PyAny>) -> PyResult<Server> {
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

    /// The number of connections with which it gets no new ones; 0: no limit.
    #[getter]
    fn upper_threshold<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        column(py, &self.0, |s| s.thresholds().0)
    }

    /// The number below which it gets new ones again; 0: three quarters of the upper threshold.
    #[getter]
    fn lower_threshold<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        column(py, &self.0, |s| s.thresholds().1)
    }

    /// Persistence templates that name it: clients, or groups of them, that stay with it.
    #[getter]
    fn persistent<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        column(py, &self.0, |s| s.persistent())
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
        py.import("fastlvs.server")?.getattr("Forwarding")?.call1((self.0.method().name(),))
    }

    #[getter]
    fn weight(&self) -> u32 {
        self.0.weight()
    }

    #[getter]
    fn upper_threshold(&self) -> u32 {
        self.0.thresholds().0
    }

    #[getter]
    fn lower_threshold(&self) -> u32 {
        self.0.thresholds().1
    }

    #[getter]
    fn persistent(&self) -> u32 {
        self.0.persistent()
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

    /// How much there is of all that in a second: averages that follow the traffic within some 8 s.
    #[getter]
    fn rates<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        statistics(py, self.0.statistics.rates())
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

/// Counters or rates as `fastlvs.Statistics`.
pub fn statistics(py: Python<'_>, values: StatisticsValues) -> PyResult<Bound<'_, PyAny>> {
    let StatisticsValues { connections, in_packets, in_bytes, out_packets, out_bytes } = values;
    let class = py.import("fastlvs.statistics")?.getattr("Statistics")?;
    class.call1((connections, in_packets, in_bytes, out_packets, out_bytes))
}

/// A server's line in ipvsadm's listing.
pub fn row(server: &RealServer) -> String {
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
