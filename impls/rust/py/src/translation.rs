//! The translation as operations on JSON, for tests that compare it with Python's.

use crossfade_runtime::replay;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// One operation of `impls/vectors/TRANSLATION.md` with a JSON array of arguments; the answer is JSON. Raises
/// `ValueError` for what is no operation.
#[pyfunction]
pub fn translation_step(py: Python<'_>, op: &str, args_json: &str) -> PyResult<String> {
    py.detach(|| replay::step_json(op, args_json))
        .map_err(PyValueError::new_err)
}
