//! The Rust cores: as Python classes for the variant `rust-core`, stepped with JSON for the vectors and for Hypothesis, and
//! timed for scenario `policy-ops`.
//!
//! Rule: the classes have the methods and properties of those in `crossfade.impls.cores`, and take their configurations.

mod balancers;
mod path;
mod shared;
mod waiting;

pub use balancers::{LeastPending, P2c, Rendezvous, RoundRobin, Weighted};
pub use path::{Breaker, Gcra, Health, Hedge, KeyedLimiter, Restart, Retry, Shedder, SplitMix64};
pub use waiting::{Bulkhead, Pool};

use std::sync::Mutex;
use std::time::Instant;

use crossfade_core::bench_ops;
use crossfade_core::replay::Replayer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// One core of a kind in `impls/vectors/SCHEMA.md`. Raises `ValueError` for what the schema does not know.
#[pyclass(frozen, module = "crossfade_native")]
pub struct CoreReplay {
    replayer: Mutex<Replayer>,
}

#[pymethods]
impl CoreReplay {
    #[new]
    fn new(kind: &str, config_json: &str, seed: u64) -> PyResult<Self> {
        Ok(Self {
            replayer: Mutex::new(
                Replayer::new(kind, config_json, seed).map_err(PyValueError::new_err)?,
            ),
        })
    }

    /// Performs one operation with a JSON array of arguments; the answer is JSON.
    fn step(&self, at_ns: u64, op: &str, args_json: &str) -> PyResult<String> {
        self.replayer
            .lock()
            .map_err(|_| {
                PyValueError::new_err("this core panicked in an earlier step; make a new one")
            })?
            .step(at_ns, op, args_json)
            .map_err(PyValueError::new_err)
    }
}

/// Nanoseconds for `iterations` of `op` over `size` items, with the interpreter released. The clock stops before the
/// state is freed. Raises `ValueError` for an unknown `op`.
#[pyfunction]
#[allow(clippy::cast_possible_truncation)] // 584 years
pub fn policy_bench(py: Python<'_>, op: &str, iterations: u64, size: usize) -> PyResult<u64> {
    py.detach(|| {
        let mut run = bench_ops::prepare(op, iterations, size)?;
        let began = Instant::now();
        std::hint::black_box(run());
        Some(began.elapsed().as_nanos() as u64)
    })
    .ok_or_else(|| {
        PyValueError::new_err(format!(
            "policy operation {op:?} is unknown; choose one of {}",
            bench_ops::OPS.join(", ")
        ))
    })
}
