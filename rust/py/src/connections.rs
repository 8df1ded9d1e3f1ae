//! The connections of an engine at one moment.

use crate::columns::{self, Endpoints, Words, column, place, text};
use crate::convert;
use crate::words::protocol_name;
use fastlvs_core::conn::ConnectionView;
use fastlvs_core::net::Protocol;
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList};

/// How many connections are printed.
const SHOWN: usize = 20;

/// The connections of an engine at one moment: a table with NumPy columns.
#[pyclass(frozen, module = "fastlvs")]
pub struct Connections(Vec<ConnectionView>);

/// One connection at one moment.
#[pyclass(frozen, module = "fastlvs")]
pub struct Connection(ConnectionView);

impl Connections {
    pub fn new(connections: Vec<ConnectionView>) -> Self {
        Self(connections)
    }
}

const COLUMNS: [&str; 9] =
    ["protocol", "client", "destination", "server", "forwarding", "state", "active", "expires", "packets"];

#[pymethods]
impl Connections {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __getitem__(&self, index: &Bound<'_, PyAny>) -> PyResult<Connection> {
        Ok(Connection(self.0[place(index, self.0.len())?]))
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        PyList::new(py, self.0.iter().copied().map(Connection))?.try_iter()
    }

    /// "tcp", "udp" or "sctp"; "ip" for the persistence template of a mark.
    #[getter]
    fn protocol<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<Words>> {
        column(py, &self.0, |c| text(protocol(c)))
    }

    /// Who asked (CIP and port), "203.0.113.9:40000".
    #[getter]
    fn client<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<Endpoints>> {
        column(py, &self.0, |c| text(&c.client.to_string()))
    }

    /// What was asked for (VIP and port).
    #[getter]
    fn destination<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<Endpoints>> {
        column(py, &self.0, |c| text(&c.destination.to_string()))
    }

    /// Who has it (RIP and port).
    #[getter]
    fn server<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<Endpoints>> {
        column(py, &self.0, |c| text(&c.server.to_string()))
    }

    /// "masquerading", "gatewaying" or "tunneling".
    #[getter]
    fn forwarding<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<Words>> {
        column(py, &self.0, |c| text(c.method.name()))
    }

    /// `"ESTABLISHED"`, `"FIN_WAIT"`, …; `"UDP"`.
    #[getter]
    fn state<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<Words>> {
        column(py, &self.0, |c| text(c.state.name()))
    }

    /// Whether its server counts it as active.
    #[getter]
    fn active<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<bool>> {
        column(py, &self.0, |c| c.active)
    }

    /// Seconds that are left of its life, if no packet comes.
    #[getter]
    fn expires<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        column(py, &self.0, |c| c.expires.as_secs_f64())
    }

    /// Packets from the client so far.
    #[getter]
    fn packets<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        column(py, &self.0, |c| c.in_packets)
    }

    /// All columns by name.
    fn columns<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        columns::columns(slf, &COLUMNS)
    }

    /// All columns as a pandas `DataFrame`; pandas has to be installed.
    fn to_pandas<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        columns::to_pandas(slf, &COLUMNS)
    }

    /// As `ipvsadm -Lnc` prints it; of many the first.
    fn __repr__(&self) -> String {
        let head = format!("pro expire state       {:<22} {:<22} {}", "source", "virtual", "destination");
        let rows = self.0.iter().take(SHOWN).map(row);
        let more = self.0.len().checked_sub(SHOWN).filter(|rest| *rest > 0);
        let rest = more.map(|rest| format!("… and {rest} more"));
        std::iter::once(head).chain(rows).chain(rest).collect::<Vec<_>>().join("\n")
    }
}

#[pymethods]
impl Connection {
    #[getter]
    fn protocol(&self) -> &'static str {
        protocol(&self.0)
    }

    #[getter]
    fn client<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        convert::endpoint(py, self.0.client)
    }

    #[getter]
    fn destination<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        convert::endpoint(py, self.0.destination)
    }

    #[getter]
    fn server<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        convert::endpoint(py, self.0.server)
    }

    #[getter]
    fn forwarding<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("fastlvs.server")?.getattr("Forwarding")?.call1((self.0.method.name(),))
    }

    #[getter]
    fn state(&self) -> &'static str {
        self.0.state.name()
    }

    #[getter]
    fn active(&self) -> bool {
        self.0.active
    }

    #[getter]
    fn expires(&self) -> f64 {
        self.0.expires.as_secs_f64()
    }

    #[getter]
    fn packets(&self) -> u32 {
        self.0.in_packets
    }

    fn __repr__(&self) -> String {
        let c = &self.0;
        format!(
            "<Connection {} {} to {} at {}: {}, {:.1} s>",
            protocol(c),
            c.client,
            c.destination,
            c.server,
            c.state.name(),
            c.expires.as_secs_f64()
        )
    }
}

/// That of a mark's template is "ip": it stands for all.
fn protocol(connection: &ConnectionView) -> &'static str {
    if connection.protocol == Protocol::ANY { "ip" } else { protocol_name(connection.protocol) }
}

/// A connection's line in ipvsadm's listing.
fn row(c: &ConnectionView) -> String {
    let seconds = c.expires.as_secs();
    format!(
        "{:<3} {:02}:{:02}  {:<11} {:<22} {:<22} {}",
        c.protocol,
        seconds / 60,
        seconds % 60,
        c.state.name(),
        c.client,
        c.destination,
        c.server
    )
}
