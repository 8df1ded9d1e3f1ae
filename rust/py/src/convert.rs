//! Values on their way from Python and back.

use crate::errors;
use fastlvs_core::net::Endpoint;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
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
        PyBuffer::<u8>::get(&object)?.to_vec(object.py()).map(Self::Copied)
    }
}

/// An address and a port as `fastlvs.Endpoint`.
pub fn endpoint(py: Python<'_>, endpoint: Endpoint) -> PyResult<Bound<'_, PyAny>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.import(py, "fastlvs.network", "Endpoint")?.call1((endpoint.address, endpoint.port))
}
