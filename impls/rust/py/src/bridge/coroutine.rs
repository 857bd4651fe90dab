//! The coroutine that native methods return. Nothing happens until it is first sent to, as with any coroutine.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crossfade_runtime::eagerly;
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::exceptions::{
    PyBaseException, PyRuntimeError, PyRuntimeWarning, PyStopIteration, PyTypeError,
};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use super::inbox::Inbox;
use super::outcome::Outcome;
use super::queue::lock;
use super::waiter::{Taken, Waiter};
use crate::process;

type Work = Pin<Box<dyn Future<Output = Outcome> + Send>>;

enum Step {
    /// Not started: on first send it goes to tokio.
    New(Work),
    /// Not started, and perhaps answered before anything leaves the process: tried on first send, then as `New`.
    Eager(Work),
    /// Not started, and needs no tokio: refused at once, or answered from memory.
    Known(Outcome),
    Waiting(Py<Waiter>),
    Done,
}

/// An awaitable that runs on tokio. Await it once; cancelling the awaiting task aborts the work.
#[pyclass(frozen, weakref, module = "crossfade_native", name = "Coroutine")]
pub struct Coroutine {
    name: &'static str,
    step: Mutex<Step>,
}

impl Coroutine {
    /// Wraps work for tokio.
    pub fn new(name: &'static str, work: impl Future<Output = Outcome> + Send + 'static) -> Self {
        Self::at(name, Step::New(Box::pin(work)))
    }

    /// Wraps work that may be done at once (refused, or answered from memory); then it never reaches tokio.
    pub fn eager(name: &'static str, work: impl Future<Output = Outcome> + Send + 'static) -> Self {
        Self::at(name, Step::Eager(Box::pin(work)))
    }

    /// An answer that is known already; it never reaches tokio.
    pub fn known(name: &'static str, outcome: Outcome) -> Self {
        Self::at(name, Step::Known(outcome))
    }

    fn at(name: &'static str, step: Step) -> Self {
        Self {
            name,
            step: Mutex::new(step),
        }
    }

    fn advance(&self, py: Python<'_>) -> PyResult<Py<Waiter>> {
        let step = std::mem::replace(&mut *lock(&self.step), Step::Done);
        match step {
            Step::New(work) => self.start(py, work),
            Step::Eager(mut work) => match at_once(py, &mut work)? {
                Poll::Ready(outcome) => Err(finish(py, outcome)),
                Poll::Pending => self.start(py, work),
            },
            Step::Known(outcome) => Err(finish(py, outcome)),
            Step::Waiting(waiter) => match waiter.get().take() {
                Taken::Outcome(outcome) => Err(finish(py, outcome)),
                Taken::Cancelled => Err(CancelledError::new_err(())),
                Taken::TooEarly => {
                    *lock(&self.step) = Step::Waiting(waiter);
                    Err(PyRuntimeError::new_err(
                        "this coroutine was resumed before its work was done; await it in an asyncio task",
                    ))
                }
            },
            Step::Done => Err(PyRuntimeError::new_err(
                "cannot reuse already awaited coroutine",
            )),
        }
    }

    fn start(&self, py: Python<'_>, work: Work) -> PyResult<Py<Waiter>> {
        let waiter = start(py, work)?;
        *lock(&self.step) = Step::Waiting(waiter.clone_ref(py));
        Ok(waiter)
    }

    fn stop(&self, py: Python<'_>) {
        let step = std::mem::replace(&mut *lock(&self.step), Step::Done);
        if let Step::Waiting(waiter) = step {
            waiter.get().abandon(py);
        }
    }
}

/// Does what can be done without waiting for anything outside.
fn at_once(py: Python<'_>, work: &mut Work) -> PyResult<Poll<Outcome>> {
    let _context = process::runtime(py)?.enter();
    let mut cx = Context::from_waker(Waker::noop());
    Ok(eagerly(|| poll(work, &mut cx)))
}

/// A panic is caught here: one bad request never takes the process down.
fn poll(work: &mut Work, cx: &mut Context<'_>) -> Poll<Outcome> {
    catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)))
        .unwrap_or_else(|panic| Poll::Ready(Outcome::Panicked(text(&*panic))))
}

/// Sends the work to tokio and gives the waiter to yield.
fn start(py: Python<'_>, mut work: Work) -> PyResult<Py<Waiter>> {
    let runtime = process::runtime(py)?;
    let (inbox, event_loop) = Inbox::of_running_loop(py)?;
    let desk = &inbox.get().desk;
    let waiter = Py::new(py, Waiter::new(event_loop.unbind(), Arc::clone(desk)))?;
    let ticket = desk.admit(waiter.clone_ref(py));
    let completions = Arc::clone(&desk.completions);
    let task = runtime.spawn(async move {
        let outcome = std::future::poll_fn(|cx| poll(&mut work, cx)).await;
        let ring = completions.push((ticket, outcome));
        if ring.is_some() {
            // What else is ready completes first: one wake-up, and one switch of threads, for all of it.
            tokio::task::yield_now().await;
        }
    });
    waiter.get().watch(ticket, task.abort_handle());
    Ok(waiter)
}

/// `StopIteration` with the value, or the error. A tuple or an exception would be unpacked: it travels in one more tuple.
fn finish(py: Python<'_>, outcome: Outcome) -> PyErr {
    let value = match outcome.into_python(py) {
        Ok(value) => value,
        Err(error) => return error,
    };
    let bound = value.bind(py);
    if bound.is_instance_of::<PyTuple>() || bound.is_instance_of::<PyBaseException>() {
        return PyStopIteration::new_err((value,));
    }
    PyStopIteration::new_err(value)
}

fn text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| Cow::Borrowed(*text))
        .or_else(|| {
            panic
                .downcast_ref::<String>()
                .map(|text| Cow::Borrowed(text.as_str()))
        })
        .unwrap_or(Cow::Borrowed("a panic without a message"))
        .into_owned()
}

#[pymethods]
impl Coroutine {
    #[getter]
    fn __name__(&self) -> &'static str {
        self.name
    }

    #[getter]
    fn __qualname__(&self) -> &'static str {
        self.name
    }

    #[getter]
    fn cr_running(&self) -> bool {
        matches!(*lock(&self.step), Step::Waiting(_))
    }

    fn __await__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Py<Waiter>> {
        self.advance(py)
    }

    #[pyo3(signature = (value, /))]
    fn send(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Py<Waiter>> {
        if !value.is_none()
            && matches!(
                *lock(&self.step),
                Step::New(_) | Step::Eager(_) | Step::Known(_)
            )
        {
            return Err(PyTypeError::new_err(
                "can't send non-None value to a just-started coroutine",
            ));
        }
        self.advance(py)
    }

    /// Stops the work and raises the exception here. Takes an exception, or a class and its argument.
    #[pyo3(signature = (kind, value = None, traceback = None, /))]
    fn throw(
        &self,
        py: Python<'_>,
        kind: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Py<Waiter>> {
        let error = match (kind.cast_into::<PyType>(), value) {
            (Ok(_), Some(value)) if value.is_instance_of::<PyBaseException>() => value,
            (Ok(class), Some(value)) => class.call1((value,))?,
            (Ok(class), None) => class.call0()?,
            (Err(instance), _) => instance.into_inner(),
        };
        if let Some(traceback) = traceback {
            error.setattr("__traceback__", traceback)?;
        }
        self.stop(py);
        Err(PyErr::from_value(error))
    }

    /// Stops the work; awaiting afterwards is an error.
    fn close(&self, py: Python<'_>) {
        self.stop(py);
    }

    fn __repr__(&self) -> String {
        format!("<crossfade_native coroutine {}>", self.name)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Never held while Python code runs, so the collector cannot find it taken by its own thread.
        if let Ok(step) = self.step.try_lock()
            && let Step::Waiting(waiter) = &*step
        {
            visit.call(waiter)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        Python::attach(|py| self.stop(py));
    }
}

impl Drop for Coroutine {
    fn drop(&mut self) {
        let step = std::mem::replace(
            self.step
                .get_mut()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
            Step::Done,
        );
        if matches!(step, Step::Done) {
            return;
        }
        // try: at the very end there may be no interpreter to tell.
        let _ = Python::try_attach(|py| match step {
            Step::Waiting(waiter) => waiter.get().abandon(py),
            Step::New(_) | Step::Eager(_) | Step::Known(_) => never_awaited(py, self.name),
            Step::Done => {}
        });
    }
}

/// What Python says of its own coroutines. We are in a destructor, so an error that is under way must survive.
fn never_awaited(py: Python<'_>, name: &str) {
    let under_way = PyErr::take(py);
    let message = std::ffi::CString::new(format!("coroutine '{name}' was never awaited"));
    if let Ok(message) = message
        && let Err(error) = PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &message, 1)
    {
        error.write_unraisable(py, None);
    }
    if let Some(error) = under_way {
        error.restore(py);
    }
}
