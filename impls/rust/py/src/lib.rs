//! The module `crossfade_native`: glue between the crates and Python, and nothing else.
use pyo3::prelude::*;

#[pymodule]
mod crossfade_native {
    #[pymodule_export]
    const ABI: u32 = 1;
}
