//! What this build is: the report prints it, and refuses numbers from any profile but `release`.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// Must equal `crossfade.impls.variants.ABI`.
pub const ABI: u32 = 2;

/// `version`, `profile` (`release`, `quick-release` or `debug`), `features`, `rustc`, `abi`, and `workers`, which is 0
/// until the runtime starts.
#[pyfunction]
pub fn build_info(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let info = PyDict::new(py);
    let features = env!("CROSSFADE_FEATURES")
        .split(',')
        .filter(|feature| !feature.is_empty());
    info.set_item("version", env!("CARGO_PKG_VERSION"))?;
    info.set_item("profile", env!("CROSSFADE_PROFILE"))?;
    info.set_item("features", PyTuple::new(py, features.collect::<Vec<_>>())?)?;
    info.set_item("rustc", env!("CROSSFADE_RUSTC"))?;
    info.set_item("abi", ABI)?;
    info.set_item("workers", crate::process::workers())?;
    Ok(info)
}
