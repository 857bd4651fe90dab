//! The load generator and the fleet for Python: bytes of JSON in, events to a callable, the GIL released all the while.
//!
//! Rule: the callable runs only between measurements. A broken plan is a `ValueError`, everything else that stops a run a
//! `RuntimeError`; an exception in the callable, or Ctrl-C, ends the run and is raised as it is.

use crossfade_load::{Failure, Host, drive, fleet};
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

struct Callable {
    on_event: Py<PyAny>,
    raised: Option<PyErr>,
}

impl Callable {
    fn attached(&mut self, work: impl FnOnce(Python<'_>) -> PyResult<()>) -> Result<(), Failure> {
        Python::attach(work).map_err(|error| {
            self.raised = Some(error);
            Failure::Interrupted
        })
    }

    fn error(self, failure: &Failure) -> PyErr {
        match failure {
            Failure::Interrupted => self
                .raised
                .unwrap_or_else(|| PyKeyboardInterrupt::new_err(())),
            Failure::Usage(message) => PyValueError::new_err(message.clone()),
            other => PyRuntimeError::new_err(other.to_string()),
        }
    }
}

impl Host for Callable {
    fn emit(&mut self, event: &str) -> Result<(), Failure> {
        let on_event = Python::attach(|py| self.on_event.clone_ref(py));
        self.attached(|py| on_event.call1(py, (event,)).map(drop))
    }

    fn interrupted(&mut self) -> Result<(), Failure> {
        #[allow(clippy::redundant_closure_for_method_calls)]
        // the method itself is not general enough in its lifetime
        self.attached(|py| py.check_signals())
    }
}

/// Runs a load plan (JSON); `on_event` gets each event as a JSON string; returns the result event as JSON.
#[pyfunction]
#[pyo3(signature = (plan, on_event, /))]
pub fn load_run<'py>(
    py: Python<'py>,
    plan: &[u8],
    on_event: Py<PyAny>,
) -> PyResult<Bound<'py, PyBytes>> {
    let mut host = Callable {
        on_event,
        raised: None,
    };
    let done = py.detach(|| drive::run(plan, &mut host));
    match done {
        Ok(result) => Ok(PyBytes::new(py, result.as_bytes())),
        Err(failure) => Err(host.error(&failure)),
    }
}

/// Serves the fleet over HTTP until standard input ends; commands are read from there, events go to `on_event`.
#[pyfunction]
#[pyo3(signature = (config, on_event, /))]
pub fn fleet_http(py: Python<'_>, config: &[u8], on_event: Py<PyAny>) -> PyResult<()> {
    let mut host = Callable {
        on_event,
        raised: None,
    };
    let done = py.detach(|| fleet::http::serve(config, &mut host));
    done.map_err(|failure| host.error(&failure))
}

/// Serves the fleet over standard input and output until the input ends.
#[pyfunction]
#[pyo3(signature = (config, /))]
pub fn fleet_stdio(py: Python<'_>, config: &[u8]) -> PyResult<()> {
    py.detach(|| fleet::stdio::serve(config))
        .map_err(|failure| match failure {
            Failure::Usage(message) => PyValueError::new_err(message),
            other => PyRuntimeError::new_err(other.to_string()),
        })
}
