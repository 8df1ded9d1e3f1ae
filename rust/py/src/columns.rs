//! Tables as NumPy columns.

use crate::errors;
use numpy::{Element, PyArray1, PyFixedUnicode};
use pyo3::exceptions::PyOverflowError;
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
    let pandas = table.py().import("pandas").map_err(|error| {
        let lacking = errors::platform(format!("to_pandas needs pandas: {}", error.value(table.py())));
        lacking.set_cause(table.py(), Some(error));
        lacking
    })?;
    pandas.call_method1("DataFrame", (columns(table, names)?,))
}

/// The place that a Python index means, which counts from the end when it is negative.
pub fn place(index: &Bound<'_, PyAny>, length: usize) -> PyResult<usize> {
    let place = match index.extract::<isize>() {
        Ok(index) if index < 0 => length.checked_add_signed(index),
        Ok(index) => Some(index.cast_unsigned()),
        Err(error) if error.is_instance_of::<PyOverflowError>(index.py()) => None,
        Err(_) => {
            let kind = index.get_type().name()?;
            return Err(errors::no_key(format!("expected the number of a row, got a {kind}")));
        }
    };
    place.filter(|place| *place < length).ok_or_else(|| {
        errors::missing(format!(
            "expected a row below {length}, counted from the end if negative: there is no such"
        ))
    })
}
