//! The cores that queue callers, as Python classes: the pool and the bulkhead.

use crossfade_core as core;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::shared::{Core, count, number, performed};

/// See `crossfade.impls.cores.Pool`. A waiter id that is alive already is ignored, not refused.
#[pyclass(frozen, module = "crossfade_native")]
pub struct Pool(Core<core::Pool>);

#[pymethods]
impl Pool {
    #[new]
    fn new(config: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self(Core::new(core::Pool::new(core::PoolConfig {
            min_connections: count(config, "min_connections")?,
            max_connections: count(config, "max_connections")?,
            max_waiters: count(config, "max_waiters")?,
            streams: count(config, "streams")?,
            idle_timeout_ns: number(config, "idle_timeout_ns")?,
            max_age_ns: number(config, "max_age_ns")?,
        }))))
    }

    fn try_acquire(&self, now_ns: u64) -> Option<u64> {
        self.0.lock().try_acquire(now_ns)
    }

    fn release<'py>(
        &self,
        py: Python<'py>,
        now_ns: u64,
        conn: u64,
        reusable: bool,
    ) -> PyResult<Bound<'py, PyTuple>> {
        performed(py, &self.0.lock().release(now_ns, conn, reusable))
    }

    fn acquire<'py>(
        &self,
        py: Python<'py>,
        now_ns: u64,
        waiter: u64,
        deadline_ns: u64,
    ) -> PyResult<Bound<'py, PyTuple>> {
        performed(py, &self.0.lock().acquire(now_ns, waiter, deadline_ns))
    }

    fn take(&self, waiter: u64) -> bool {
        self.0.lock().take(waiter)
    }

    fn cancel<'py>(
        &self,
        py: Python<'py>,
        now_ns: u64,
        waiter: u64,
    ) -> PyResult<Bound<'py, PyTuple>> {
        performed(py, &self.0.lock().cancel(now_ns, waiter))
    }

    fn connected<'py>(
        &self,
        py: Python<'py>,
        now_ns: u64,
        conn: u64,
    ) -> PyResult<Bound<'py, PyTuple>> {
        performed(py, &self.0.lock().connected(now_ns, conn))
    }

    fn connect_failed<'py>(
        &self,
        py: Python<'py>,
        now_ns: u64,
        conn: u64,
    ) -> PyResult<Bound<'py, PyTuple>> {
        performed(py, &self.0.lock().connect_failed(now_ns, conn))
    }

    fn lost<'py>(&self, py: Python<'py>, now_ns: u64, conn: u64) -> PyResult<Bound<'py, PyTuple>> {
        performed(py, &self.0.lock().lost(now_ns, conn))
    }

    fn tick<'py>(&self, py: Python<'py>, now_ns: u64) -> PyResult<Bound<'py, PyTuple>> {
        performed(py, &self.0.lock().tick(now_ns))
    }

    fn drain<'py>(&self, py: Python<'py>, now_ns: u64) -> PyResult<Bound<'py, PyTuple>> {
        performed(py, &self.0.lock().drain(now_ns))
    }

    fn start<'py>(&self, py: Python<'py>, now_ns: u64) -> PyResult<Bound<'py, PyTuple>> {
        performed(py, &self.0.lock().start(now_ns))
    }

    fn resize<'py>(
        &self,
        py: Python<'py>,
        now_ns: u64,
        min_connections: usize,
        max_connections: usize,
    ) -> PyResult<Bound<'py, PyTuple>> {
        performed(
            py,
            &self
                .0
                .lock()
                .resize(now_ns, min_connections, max_connections),
        )
    }

    fn next_deadline_ns(&self) -> Option<u64> {
        self.0.lock().next_deadline_ns()
    }

    #[getter]
    fn open(&self) -> usize {
        self.0.lock().open()
    }

    #[getter]
    fn connecting(&self) -> usize {
        self.0.lock().connecting()
    }

    #[getter]
    fn in_use(&self) -> usize {
        self.0.lock().in_use()
    }

    #[getter]
    fn waiting(&self) -> usize {
        self.0.lock().waiting()
    }

    #[getter]
    fn untaken(&self) -> usize {
        self.0.lock().untaken()
    }

    #[getter]
    fn draining(&self) -> bool {
        self.0.lock().draining()
    }
}

/// See `crossfade.impls.cores.Bulkhead`. A waiter id that is alive already is ignored, not refused.
#[pyclass(frozen, module = "crossfade_native")]
pub struct Bulkhead(Core<core::Bulkhead>);

#[pymethods]
impl Bulkhead {
    #[new]
    fn new(config: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self(Core::new(core::Bulkhead::new(core::BulkheadConfig {
            max_in_flight: count(config, "max_in_flight")?,
            max_queue: count(config, "max_queue")?,
        }))))
    }

    fn try_acquire(&self) -> bool {
        self.0.lock().try_acquire()
    }

    fn release<'py>(&self, py: Python<'py>, now_ns: u64) -> PyResult<Bound<'py, PyTuple>> {
        performed(py, &self.0.lock().release(now_ns))
    }

    fn acquire<'py>(
        &self,
        py: Python<'py>,
        now_ns: u64,
        waiter: u64,
        deadline_ns: u64,
    ) -> PyResult<Bound<'py, PyTuple>> {
        performed(py, &self.0.lock().acquire(now_ns, waiter, deadline_ns))
    }

    fn take(&self, waiter: u64) -> bool {
        self.0.lock().take(waiter)
    }

    fn cancel<'py>(
        &self,
        py: Python<'py>,
        now_ns: u64,
        waiter: u64,
    ) -> PyResult<Bound<'py, PyTuple>> {
        performed(py, &self.0.lock().cancel(now_ns, waiter))
    }

    fn tick<'py>(&self, py: Python<'py>, now_ns: u64) -> PyResult<Bound<'py, PyTuple>> {
        performed(py, &self.0.lock().tick(now_ns))
    }

    fn drain<'py>(&self, py: Python<'py>, now_ns: u64) -> PyResult<Bound<'py, PyTuple>> {
        performed(py, &self.0.lock().drain(now_ns))
    }

    fn next_deadline_ns(&self) -> Option<u64> {
        self.0.lock().next_deadline_ns()
    }

    fn resize<'py>(
        &self,
        py: Python<'py>,
        now_ns: u64,
        max_in_flight: usize,
        max_queue: usize,
    ) -> PyResult<Bound<'py, PyTuple>> {
        performed(py, &self.0.lock().resize(now_ns, max_in_flight, max_queue))
    }

    #[getter]
    fn in_flight(&self) -> usize {
        self.0.lock().in_flight()
    }

    #[getter]
    fn waiting(&self) -> usize {
        self.0.lock().waiting()
    }

    #[getter]
    fn untaken(&self) -> usize {
        self.0.lock().untaken()
    }

    #[getter]
    fn draining(&self) -> bool {
        self.0.lock().draining()
    }
}
