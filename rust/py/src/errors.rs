//! The one place that turns errors of the Rust side into the classes of `fastlvs.errors`.

use fastlvs_director::Error;
use fastlvs_director::config::ConfigError;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyType};

/// A value that says something impossible; `field` is what it belongs to.
pub fn configuration(message: impl ToString, field: Option<&str>) -> PyErr {
    let (file, field) = (String::new(), field.map(str::to_owned));
    configured(&ConfigError { file, line: None, field, message: message.to_string() })
}

/// What a file says that cannot be, and where.
pub fn configured(error: &ConfigError) -> PyErr {
    let file = (!error.file.is_empty()).then_some(&error.file);
    Python::attach(|py| {
        let place = [("file", file), ("field", error.field.as_ref())].into_py_dict(py)?;
        place.set_item("line", error.line)?;
        let class = class(py, "ConfigurationError")?;
        Ok(PyErr::from_value(class.call((&error.message,), Some(&place))?))
    })
    .unwrap_or_else(|error: PyErr| error)
}

/// A value that is not what it has to be; `field` is what it belongs to.
pub fn refused(expected: &str, value: &Bound<'_, PyAny>, field: &str) -> PyErr {
    let refused = || value.py().import("fastlvs.checks")?.getattr("refused")?.call1((expected, value, field));
    refused().map_or_else(|error: PyErr| error, PyErr::from_value)
}

/// A key of a kind that names nothing there.
pub fn no_key(message: impl ToString) -> PyErr {
    raised("ArgumentError", message)
}

/// What was asked for by its name or place and is not there.
pub fn missing(message: impl ToString) -> PyErr {
    raised("MissingError", message)
}

/// Something that the machine lacks.
pub fn platform(message: impl ToString) -> PyErr {
    raised("PlatformError", message)
}

/// An interface that is not there.
pub fn interface(message: impl ToString) -> PyErr {
    raised("InterfaceError", message)
}

/// Why a director does not start, or does not go on.
pub fn director(error: Error) -> PyErr {
    match error {
        Error::Configuration(error) => configured(&error),
        Error::Services(error) => configuration(error, None),
        Error::Generation { .. } => raised("GenerationError", error),
        Error::Late { .. } | Error::Stuck { .. } => raised("StuckError", error),
        Error::Capability { .. } => raised("CapabilityError", error),
        Error::Interface { .. } => interface(error),
        Error::Platform { .. } => platform(error),
        _ => raised("FastlvsError", error),
    }
}

/// A director that was stopped is asked something.
pub fn stopped() -> PyErr {
    raised("FastlvsError", "the director was stopped")
}

fn raised(name: &str, message: impl ToString) -> PyErr {
    Python::attach(|py| Ok(PyErr::from_value(class(py, name)?.call1((message.to_string(),))?)))
        .unwrap_or_else(|error: PyErr| error)
}

fn class<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyType>> {
    Ok(py.import("fastlvs.errors")?.getattr(name)?.cast_into()?)
}
