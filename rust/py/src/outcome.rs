//! What became of a frame.

use fastlvs_core::net::InterfaceId;
use fastlvs_core::network::Network;
use fastlvs_core::pipeline;
use fastlvs_core::trace::{Stage, Trace};
use fastlvs_core::verdict::Verdict;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyList, PyType};
use std::fmt::Write;
use std::sync::Arc;

/// What became of a frame: a verdict, and the frames that were sent for it.
#[pyclass(frozen, module = "fastlvs")]
pub struct Outcome {
    verdict: Verdict,
    frames: Vec<(InterfaceId, Vec<u8>)>,
    for_host: Option<Vec<u8>>,
    /// Length of the longest fragment that `for_host` was put together from, from its IP header on; `None` where it
    /// came whole.
    #[pyo3(get)]
    longest_fragment: Option<u16>,
    network: Arc<Network>,
    /// The packet's way in the kernel model's stages; empty when nobody listened.
    #[pyo3(get)]
    way: String,
}

impl Outcome {
    /// What became of a frame that `outcome` is about, when `frames` were sent.
    pub fn new(
        outcome: &pipeline::Outcome<'_>,
        frames: Vec<(InterfaceId, Vec<u8>)>,
        network: &Arc<Network>,
    ) -> Self {
        Self {
            verdict: outcome.verdict,
            frames,
            for_host: outcome.for_host.map(|given| given.frame.bytes.to_vec()),
            longest_fragment: outcome.for_host.and_then(|given| given.fragments).map(|came| came.longest),
            network: Arc::clone(network),
            way: String::new(),
        }
    }

    pub fn with_way(self, Way(way): Way) -> Self {
        Self { way, ..self }
    }

    fn interface(&self, id: InterfaceId) -> &str {
        &self.network.interface(id).name
    }
}

#[pymethods]
impl Outcome {
    /// How its way ended.
    #[getter]
    fn verdict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static VERDICT: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let name = match self.verdict {
            Verdict::Forward => "forward",
            Verdict::Reply => "reply",
            Verdict::ToHost => "to_host",
            Verdict::Queued => "queued",
            Verdict::Drop(_) => "drop",
        };
        VERDICT.import(py, "fastlvs.verdict", "Verdict")?.call1((name,))
    }

    /// Why it was dropped, if it was.
    #[getter]
    fn reason<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        static REASON: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let Verdict::Drop(reason) = self.verdict else { return Ok(None) };
        REASON.import(py, "fastlvs.verdict", "DropReason")?.call1((reason.name(),)).map(Some)
    }

    /// The frame that the host is to get, with the verdict `TO_HOST` and no other.
    #[getter]
    fn for_host<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.for_host.as_ref().map(|bytes| PyBytes::new(py, bytes))
    }

    /// What was sent: names of interfaces, and the frames. What timers sent that ended before the frame came is at the
    /// beginning.
    #[getter]
    fn frames<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        listed(py, &self.frames, &self.network)
    }

    fn __repr__(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Forward => "FORWARD",
            Verdict::Reply => "REPLY",
            Verdict::ToHost => "TO_HOST",
            Verdict::Queued => "QUEUED",
            Verdict::Drop(reason) => &format!("DROP {reason}"),
        };
        let sent = |(id, bytes): &(InterfaceId, Vec<u8>)| {
            format!(", {} bytes by {}", bytes.len(), self.interface(*id))
        };
        format!("<Outcome {verdict}{}>", self.frames.iter().map(sent).collect::<String>())
    }
}

/// Frames with the names of the interfaces that they were sent by.
pub fn listed<'py>(
    py: Python<'py>,
    frames: &[(InterfaceId, Vec<u8>)],
    network: &Network,
) -> PyResult<Bound<'py, PyList>> {
    let listed =
        |(id, bytes): &(InterfaceId, Vec<u8>)| (&network.interface(*id).name, PyBytes::new(py, bytes));
    PyList::new(py, frames.iter().map(listed))
}

/// Writes a packet's way in words.
#[derive(Default)]
pub struct Way(String);

impl Trace for Way {
    fn stage(&mut self, stage: &Stage<'_>) {
        let arrow = if self.0.is_empty() { "" } else { " → " };
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{arrow}{stage}");
    }
}
