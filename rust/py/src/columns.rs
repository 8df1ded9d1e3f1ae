//! Tables as NumPy columns.

use numpy::{Element, PyArray1, PyFixedUnicode};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Text of at most so many characters: an IPv6 endpoint with brackets and port has 47.
pub type Endpoints = PyFixedUnicode<47>;
/// A protocol, a state (the longest has 17 letters), a forwarding method.
pub type Words = PyFixedUnicode<17>;

/// One value of each row.
pub fn column<'py, R, T: Element>(
    py: Python<'py>,
    rows: &[R],
    value: impl Fn(&R) -> T,
) -> Bound<'py, PyArray1<T>> {
    PyArray1::from_iter(py, rows.iter().map(value))
}

/// Text in an array element; what does not fit is cut off.
pub fn text<const N: usize>(text: &str) -> PyFixedUnicode<N> {
    let mut characters = [0; N];
    for (place, character) in characters.iter_mut().zip(text.chars()) {
        *place = character as u32;
    }
    characters.into()
}

/// The named columns of a table, in that order.
pub fn columns<'py>(table: &Bound<'py, PyAny>, names: &[&str]) -> PyResult<Bound<'py, PyDict>> {
    let columns = PyDict::new(table.py());
    for name in names {
        columns.set_item(name, table.getattr(*name)?)?;
    }
    Ok(columns)
}

/// The same as a pandas `DataFrame`.
pub fn to_pandas<'py>(table: &Bound<'py, PyAny>, names: &[&str]) -> PyResult<Bound<'py, PyAny>> {
    table.py().import("pandas")?.call_method1("DataFrame", (columns(table, names)?,))
}

/// The place that a Python index means, which counts from the end when it is negative.
pub fn place(index: isize, length: usize) -> PyResult<usize> {
    let place = if index < 0 { length.checked_add_signed(index) } else { Some(index.cast_unsigned()) };
    place
        .filter(|place| *place < length)
        .ok_or_else(|| pyo3::exceptions::PyIndexError::new_err(format!("index {index} of {length} rows")))
}
