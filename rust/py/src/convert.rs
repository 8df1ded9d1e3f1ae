//! Values on their way from Python and back.

use crate::errors;
use fastlvs_core::net::Endpoint;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyType};
use std::fmt::Display;
use std::ops::Deref;
use std::str::FromStr;

/// A value that is given as text, or as an object whose `str()` is that text.
#[derive(Clone, Copy)]
pub struct Text<T>(pub T);

impl<T: FromStr<Err: Display>> FromPyObject<'_, '_> for Text<T> {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let parsed = object.str()?.to_cow()?.parse();
        parsed.map(Text).map_err(|error| errors::configuration(error, None))
    }
}

/// The name of an interface.
pub struct Name(pub String);

impl FromPyObject<'_, '_> for Name {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let name = object.extract();
        name.map(Self).map_err(|_| errors::refused("the name of an interface", &object, "interface"))
    }
}

/// The latest time that an engine can be told, in seconds: its clock counts nanoseconds, and what it adds has room.
const LATEST: f64 = 9e9;

/// A time by an engine's clock, in seconds.
pub struct Moment(pub f64);

impl FromPyObject<'_, '_> for Moment {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let seconds = if object.is_instance_of::<PyBool>() { None } else { object.extract::<f64>().ok() };
        let known = seconds.filter(|seconds| *seconds <= LATEST && *seconds > f64::NEG_INFINITY);
        known.map(Self).ok_or_else(|| errors::refused("seconds up to 9000000000", &object, "time"))
    }
}

/// Several values of an argument, or an error that names it.
pub fn several<'py, T>(values: &Bound<'py, PyAny>, expected: &str, field: &str) -> PyResult<Vec<T>>
where
    T: for<'a> FromPyObject<'a, 'py, Error = PyErr>,
{
    let values = values.try_iter().map_err(|_| errors::refused(expected, values, field))?;
    values.map(|value| value?.extract()).collect()
}

/// The bytes of a frame: those of an immutable object itself, a copy of any others.
pub enum FrameBytes {
    Shared(PyBackedBytes),
    Copied(Vec<u8>),
}

impl Deref for FrameBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Copied(bytes) => bytes,
        }
    }
}

impl FromPyObject<'_, '_> for FrameBytes {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = object.extract() {
            return Ok(Self::Shared(bytes));
        }
        let bytes = PyBuffer::<u8>::get(&object).and_then(|buffer| buffer.to_vec(object.py()));
        bytes.map(Self::Copied).map_err(|_| errors::refused("the bytes of a frame", &object, "frame"))
    }
}

/// An address and a port as `fastlvs.Endpoint`.
pub fn endpoint(py: Python<'_>, endpoint: Endpoint) -> PyResult<Bound<'_, PyAny>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.import(py, "fastlvs.network", "Endpoint")?.call1((endpoint.address, endpoint.port))
}
