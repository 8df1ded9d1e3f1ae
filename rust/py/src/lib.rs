//! `fastlvs._core`: the engine and the director for Python. Converts in, calls, converts out; decides nothing.
//!
//! What people import is the package around it (`python/fastlvs`), whose dataclasses are what the functions
//! here take.

#![allow(missing_debug_implementations, reason = "what Python sees has a __repr__; nothing else is public")]
#![allow(clippy::needless_pass_by_value, reason = "PyO3 hands arguments over by value")]

mod columns;
mod configuration;
mod connections;
mod convert;
mod director;
mod edit;
mod engine;
mod errors;
mod logs;
mod outcome;
mod scheduler;
mod servers;
mod service;
mod settings;
mod table;
mod words;

/// The engine and the director of fastlvs, in Rust.
#[pyo3::pymodule(gil_used = true)]
mod _core {
    use fastlvs_core::conn::State;
    use fastlvs_core::scheduler::NAMES;
    use fastlvs_core::verdict::DropReason;
    use pyo3::prelude::*;
    use pyo3::types::{PyDict, PyTuple};

    #[pymodule_export]
    use crate::configuration::Configuration;
    #[pymodule_export]
    use crate::connections::{Connection, Connections};
    #[pymodule_export]
    use crate::director::Director;
    #[pymodule_export]
    use crate::edit::Edit;
    #[pymodule_export]
    use crate::engine::Engine;
    #[pymodule_export]
    use crate::outcome::Outcome;
    #[pymodule_export]
    use crate::scheduler::Flow;
    #[pymodule_export]
    use crate::servers::{Server, Servers};
    #[pymodule_export]
    use crate::service::Spec;
    #[pymodule_export]
    use crate::table::{Service, Services};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let reasons = PyDict::new(module.py());
        for reason in DropReason::ALL {
            reasons.set_item(reason.name(), reason.about())?;
        }
        module.add("DROP_REASONS", reasons)?;
        let timeouts = State::all().map(State::timeout_name).collect::<Vec<_>>();
        module.add("TIMEOUTS", PyTuple::new(module.py(), timeouts)?)?;
        module.add("SCHEDULERS", PyTuple::new(module.py(), NAMES)?)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
