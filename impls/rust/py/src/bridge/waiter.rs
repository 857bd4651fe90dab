//! What a coroutine yields while its task runs: Future-shaped enough for `asyncio.Task`, and private otherwise.
//!
//! A task (C or Python, asyncio or uvloop) asks of a yielded object `_asyncio_future_blocking`, `get_loop`,
//! `add_done_callback(callback, context=...)`, `cancel(msg=...)` and, on wake-up, `result()`. `result()` says only *that*
//! it is over: the outcome goes to the coroutine, so an error is raised once and gathers one traceback.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use pyo3::exceptions::asyncio::{CancelledError, InvalidStateError};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tokio::task::AbortHandle;

use super::inbox::{Desk, Ticket};
use super::outcome::Outcome;
use super::queue::lock;
use crate::process;

#[derive(Debug)]
enum Phase {
    Pending { ticket: Ticket, task: AbortHandle },
    Ready(Outcome),
    Cancelled(Option<Py<PyAny>>),
    Spent,
}

struct Callback {
    function: Py<PyAny>,
    context: Py<PyAny>,
}

struct State {
    phase: Phase,
    callbacks: Vec<Callback>,
}

/// A Future-shaped object that only `asyncio.Task` should meet.
#[pyclass(frozen, weakref, module = "crossfade_native", name = "_Waiter")]
pub struct Waiter {
    pub(super) event_loop: Py<PyAny>,
    desk: Arc<Desk>,
    blocking: AtomicBool,
    state: Mutex<State>,
}

impl Waiter {
    pub(super) fn new(event_loop: Py<PyAny>, desk: Arc<Desk>) -> Self {
        Self {
            event_loop,
            desk,
            blocking: AtomicBool::new(true),
            state: Mutex::new(State {
                phase: Phase::Spent,
                callbacks: Vec::new(),
            }),
        }
    }

    /// The task that this waits for. Called once, before anybody else sees the waiter.
    pub(super) fn watch(&self, ticket: Ticket, task: AbortHandle) {
        lock(&self.state).phase = Phase::Pending { ticket, task };
    }

    /// Takes the outcome in and runs the callbacks, each in its own context, at once: the loop called us.
    pub(super) fn complete(&self, this: &Bound<'_, Self>, outcome: Outcome) -> PyResult<()> {
        let callbacks = {
            let mut state = lock(&self.state);
            if !matches!(state.phase, Phase::Pending { .. }) {
                return Ok(());
            }
            state.phase = Phase::Ready(outcome);
            std::mem::take(&mut state.callbacks)
        };
        let mut first_error = None;
        for callback in callbacks {
            if let Err(error) = callback.run_now(this) {
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    /// The outcome, once.
    pub(super) fn take(&self) -> Taken {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut state.phase, Phase::Spent) {
            Phase::Ready(outcome) => Taken::Outcome(outcome),
            pending @ Phase::Pending { .. } => {
                state.phase = pending;
                Taken::TooEarly
            }
            cancelled @ Phase::Cancelled(_) => {
                state.phase = cancelled;
                Taken::Cancelled
            }
            Phase::Spent => Taken::Cancelled,
        }
    }

    /// Nobody waits any more: aborts the task and frees the ticket.
    pub(super) fn abandon(&self, py: Python<'_>) {
        let left = {
            let mut state = lock(&self.state);
            (
                std::mem::replace(&mut state.phase, Phase::Spent),
                std::mem::take(&mut state.callbacks),
            )
        };
        self.stop(py, left.0);
    }

    fn stop(&self, _py: Python<'_>, phase: Phase) {
        if let Phase::Pending { ticket, task } = phase {
            if process::forked() {
                std::mem::forget(task); // its runtime did not survive the fork
            } else {
                task.abort();
            }
            drop(self.desk.dismiss(ticket));
        }
    }

    fn cancelled_error(&self, py: Python<'_>) -> PyErr {
        let message = match &lock(&self.state).phase {
            Phase::Cancelled(Some(message)) => Some(message.clone_ref(py)),
            _ => None,
        };
        message.map_or_else(
            || CancelledError::new_err(()),
            |message| CancelledError::new_err((message,)),
        )
    }
}

/// What [`Waiter::take`] found.
pub(super) enum Taken {
    Outcome(Outcome),
    TooEarly,
    Cancelled,
}

impl Callback {
    fn run_now(&self, waiter: &Bound<'_, Waiter>) -> PyResult<()> {
        let py = waiter.py();
        // SAFETY: attached; both pointers are to live objects, and what is entered is left below on every path.
        if unsafe { ffi::PyContext_Enter(self.context.as_ptr()) } < 0 {
            return Err(PyErr::fetch(py));
        }
        let done = self.function.bind(py).call1((waiter,));
        // SAFETY: as above; the error of the call, if any, is held in `done` and not in the interpreter.
        if unsafe { ffi::PyContext_Exit(self.context.as_ptr()) } < 0 {
            return Err(PyErr::fetch(py));
        }
        done.map(drop)
    }

    /// By way of the loop: for callers that are inside a step of some task.
    fn run_soon(self, waiter: &Bound<'_, Waiter>) -> PyResult<()> {
        let py = waiter.py();
        let context = PyDict::new(py);
        context.set_item("context", self.context)?;
        waiter
            .get()
            .event_loop
            .bind(py)
            .call_method("call_soon", (self.function, waiter), Some(&context))
            .map(drop)
    }
}

#[pymethods]
impl Waiter {
    #[getter(_asyncio_future_blocking)]
    fn is_blocking(&self) -> bool {
        self.blocking.load(Relaxed)
    }

    #[setter(_asyncio_future_blocking)]
    fn set_blocking(&self, value: bool) {
        self.blocking.store(value, Relaxed);
    }

    fn get_loop<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.event_loop.bind(py).clone()
    }

    #[pyo3(signature = (callback, /, *, context = None))]
    fn add_done_callback(
        this: &Bound<'_, Self>,
        callback: Py<PyAny>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let py = this.py();
        let context = match context {
            Some(context) => context,
            None => {
                // SAFETY: attached; a new reference or an error is returned.
                unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent()) }?.unbind()
            }
        };
        let callback = Callback {
            function: callback,
            context,
        };
        let callback = {
            let mut state = lock(&this.get().state);
            if matches!(state.phase, Phase::Pending { .. }) {
                state.callbacks.push(callback);
                return Ok(());
            }
            callback
        };
        callback.run_soon(this)
    }

    fn remove_done_callback(&self, py: Python<'_>, callback: &Bound<'_, PyAny>) -> PyResult<usize> {
        let before = std::mem::take(&mut lock(&self.state).callbacks);
        let count = before.len();
        let mut kept = Vec::new();
        for entry in before {
            if !entry.function.bind(py).eq(callback)? {
                kept.push(entry);
            }
        }
        let removed = count - kept.len();
        let mut state = lock(&self.state);
        kept.append(&mut state.callbacks);
        state.callbacks = kept;
        Ok(removed)
    }

    #[pyo3(signature = (msg = None))]
    fn cancel(this: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let (was, callbacks) = {
            let mut state = lock(&this.get().state);
            if !matches!(state.phase, Phase::Pending { .. }) {
                return Ok(false);
            }
            (
                std::mem::replace(&mut state.phase, Phase::Cancelled(msg)),
                std::mem::take(&mut state.callbacks),
            )
        };
        this.get().stop(this.py(), was);
        for callback in callbacks {
            callback.run_soon(this)?;
        }
        Ok(true)
    }

    fn cancelled(&self) -> bool {
        matches!(lock(&self.state).phase, Phase::Cancelled(_))
    }

    fn done(&self) -> bool {
        !matches!(lock(&self.state).phase, Phase::Pending { .. })
    }

    fn result(&self, py: Python<'_>) -> PyResult<()> {
        if self.cancelled() {
            return Err(self.cancelled_error(py));
        }
        if self.done() {
            return Ok(());
        }
        Err(InvalidStateError::new_err("Result is not set."))
    }

    fn exception(&self, py: Python<'_>) -> PyResult<()> {
        self.result(py)
    }

    fn __repr__(&self) -> &'static str {
        match lock(&self.state).phase {
            Phase::Pending { .. } => "<crossfade_native._Waiter pending>",
            Phase::Cancelled(_) => "<crossfade_native._Waiter cancelled>",
            Phase::Ready(_) | Phase::Spent => "<crossfade_native._Waiter finished>",
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        // Never held while Python code runs, so the collector cannot find it taken by its own thread.
        if let Ok(state) = self.state.try_lock() {
            for callback in &state.callbacks {
                visit.call(&callback.function)?;
                visit.call(&callback.context)?;
            }
            if let Phase::Cancelled(Some(message)) = &state.phase {
                visit.call(message)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let callbacks = std::mem::take(&mut lock(&self.state).callbacks);
        drop(callbacks);
    }
}
