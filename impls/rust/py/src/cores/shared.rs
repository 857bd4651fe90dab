//! What the classes of the cores share: the lock, reading configurations, bit masks, and the Python classes of answers.
//!
//! Rule: classes are looked up once; an answer without actions is the empty tuple, which exists already.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crossfade_core::{Action, CircuitState};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

/// A core for `&self`. The interpreter's lock makes this one uncontended; without that lock it is what keeps callers apart.
#[derive(Debug)]
pub struct Core<T>(Mutex<T>);

impl<T> Core<T> {
    pub const fn new(core: T) -> Self {
        Self(Mutex::new(core))
    }

    /// A panic cannot leave a core half-changed in a way that matters more than refusing every later call would.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A whole number of a configuration, as the dataclasses of `crossfade.impls.cores` have it.
pub fn number(config: &Bound<'_, PyAny>, name: &str) -> PyResult<u64> {
    config.getattr(name)?.extract()
}

/// A count of a configuration.
pub fn count(config: &Bound<'_, PyAny>, name: &str) -> PyResult<usize> {
    config.getattr(name)?.extract()
}

/// A number of any size, modulo 2^64, as seeds, keys and masks are taken.
#[derive(Debug, Clone, Copy)]
pub struct Low(pub u64);

impl<'py> FromPyObject<'_, 'py> for Low {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        // SAFETY: the object is alive and the interpreter attached; any object is allowed, and a wrong one is an error.
        let low = unsafe { ffi::PyLong_AsUnsignedLongLongMask(object.as_ptr()) };
        if low == u64::MAX
            && let Some(error) = PyErr::take(object.py())
        {
            return Err(error);
        }
        Ok(Self(low))
    }
}

struct Answers {
    connect: Py<PyAny>,
    close: Py<PyAny>,
    grant: Py<PyAny>,
    reject: Py<PyAny>,
    circuits: [Py<PyAny>; 3],
}

fn answers(py: Python<'_>) -> PyResult<&Answers> {
    static ANSWERS: PyOnceLock<Answers> = PyOnceLock::new();
    ANSWERS.get_or_try_init(py, || {
        let actions = py.import("crossfade.impls.cores.actions")?;
        let circuit = py
            .import("crossfade.impls.states")?
            .getattr("CircuitState")?;
        let class = |name: &str| actions.getattr(name).map(Bound::unbind);
        let state = |state: CircuitState| circuit.call1((state.as_str(),)).map(Bound::unbind);
        Ok(Answers {
            connect: class("Connect")?,
            close: class("Close")?,
            grant: class("Grant")?,
            reject: class("Reject")?,
            circuits: [
                state(CircuitState::Closed)?,
                state(CircuitState::Open)?,
                state(CircuitState::HalfOpen)?,
            ],
        })
    })
}

/// The member of `CircuitState`.
pub fn circuit(py: Python<'_>, state: CircuitState) -> PyResult<Py<PyAny>> {
    Ok(answers(py)?.circuits[state as usize].clone_ref(py))
}

/// What the shell must do, in the classes of `cores/actions.py`.
pub fn performed<'py>(py: Python<'py>, actions: &[Action]) -> PyResult<Bound<'py, PyTuple>> {
    if actions.is_empty() {
        return Ok(PyTuple::empty(py));
    }
    let answers = answers(py)?;
    let named = actions.iter().map(|action| match *action {
        Action::Connect { conn } => answers.connect.bind(py).call1((conn,)),
        Action::Close { conn, reason } => answers.close.bind(py).call1((conn, reason.as_str())),
        Action::Grant { waiter, conn } => answers.grant.bind(py).call1((waiter, conn)),
        Action::Reject { waiter, reason } => {
            answers.reject.bind(py).call1((waiter, reason.as_str()))
        }
    });
    PyTuple::new(py, named.collect::<PyResult<Vec<_>>>()?)
}
