//! Arrays of numbers as bytes.

use aaren_envs::Dtype;
use pyo3::prelude::*;
use pyo3::types::PyByteArray;

use crate::error::wrong_value;

/// A fresh array of what `write` appends for every number, in as many bytes each as `width`.
fn fresh<'py, T: Copy, const WIDTH: usize>(
    py: Python<'py>,
    numbers: &[T],
    to_bytes: impl Fn(T) -> [u8; WIDTH],
) -> PyResult<Bound<'py, PyByteArray>> {
    PyByteArray::new_with(py, numbers.len() * WIDTH, |bytes| {
        for (bytes, &number) in bytes.chunks_exact_mut(WIDTH).zip(numbers) {
            bytes.copy_from_slice(&to_bytes(number));
        }
        Ok(())
    })
}

/// Numbers as an array of the type that a space declares.
pub(crate) fn of_dtype<'py>(py: Python<'py>, numbers: &[f64], dtype: Dtype) -> PyResult<Bound<'py, PyByteArray>> {
    match dtype {
        Dtype::Float32 => fresh(py, numbers, |number| (number as f32).to_ne_bytes()),
        Dtype::Float64 => of_f64(py, numbers),
        Dtype::Int64 => fresh(py, numbers, |number| (number as i64).to_ne_bytes()),
    }
}

/// An array of `float64`.
pub(crate) fn of_f64<'py>(py: Python<'py>, numbers: &[f64]) -> PyResult<Bound<'py, PyByteArray>> {
    fresh(py, numbers, f64::to_ne_bytes)
}

/// An array of `float32`.
pub(crate) fn of_f32<'py>(py: Python<'py>, numbers: &[f32]) -> PyResult<Bound<'py, PyByteArray>> {
    fresh(py, numbers, f32::to_ne_bytes)
}

/// An array of `int64`.
pub(crate) fn of_i64<'py>(py: Python<'py>, numbers: &[i64]) -> PyResult<Bound<'py, PyByteArray>> {
    fresh(py, numbers, i64::to_ne_bytes)
}

/// An array of `bool`.
pub(crate) fn of_bool<'py>(py: Python<'py>, flags: &[bool]) -> PyResult<Bound<'py, PyByteArray>> {
    fresh(py, flags, |flag| [u8::from(flag)])
}

/// Numbers of an array, which must be so many.
fn read<T, const WIDTH: usize>(what: &str, bytes: &[u8], len: usize, of_bytes: impl Fn([u8; WIDTH]) -> T) -> PyResult<Vec<T>> {
    if bytes.len() != len * WIDTH {
        return Err(wrong_value(format!("{what}: {} bytes, expected {}", bytes.len(), len * WIDTH)));
    }
    Ok(bytes.chunks_exact(WIDTH).map(|bytes| of_bytes(bytes.try_into().expect("chunks are exact"))).collect())
}

/// An array of `float64`.
///
/// # Errors
/// Here and below, if it has another length.
pub(crate) fn to_f64(what: &str, bytes: &[u8], len: usize) -> PyResult<Vec<f64>> {
    read(what, bytes, len, f64::from_ne_bytes)
}

/// An array of `float32`.
pub(crate) fn to_f32(what: &str, bytes: &[u8], len: usize) -> PyResult<Vec<f32>> {
    read(what, bytes, len, f32::from_ne_bytes)
}

/// An array of `int64`.
pub(crate) fn to_i64(what: &str, bytes: &[u8], len: usize) -> PyResult<Vec<i64>> {
    read(what, bytes, len, i64::from_ne_bytes)
}

/// An array of `bool`.
pub(crate) fn to_bool(what: &str, bytes: &[u8], len: usize) -> PyResult<Vec<bool>> {
    read(what, bytes, len, |[flag]| flag != 0)
}
