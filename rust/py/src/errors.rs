//! The one place that turns errors of the Rust side into the classes of `fastlvs.errors`.

use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyType};

/// A value that says something impossible; `field` is what it belongs to.
pub fn configuration(message: impl ToString, field: Option<&str>) -> PyErr {
    Python::attach(|py| {
        let error = class(py, "ConfigurationError")?;
        let field = [("field", field)].into_py_dict(py)?;
        Ok(PyErr::from_value(error.call((message.to_string(),), Some(&field))?))
    })
    .unwrap_or_else(|error: PyErr| error)
}

/// An interface that is not there.
pub fn interface(message: impl ToString) -> PyErr {
    Python::attach(|py| Ok(PyErr::from_value(class(py, "InterfaceError")?.call1((message.to_string(),))?)))
        .unwrap_or_else(|error: PyErr| error)
}

fn class<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyType>> {
    Ok(py.import("fastlvs.errors")?.getattr(name)?.cast_into()?)
}
