//! One inbox per event loop: who waits, by ticket, and the queue that completions come in on.
//!
//! An inbox holds its loop weakly and is found by comparing with the running loop. Inboxes of loops that are closed or
//! gone are swept out when the next one is made, and what still waited in them is aborted.

use std::sync::{Arc, Mutex};

use pyo3::exceptions::{PyKeyboardInterrupt, PyNotImplementedError, PySystemExit};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyWeakrefMethods, PyWeakrefReference};

use super::bell::{Bell, FileBell, RopeEnd, ThreadBell};
use super::outcome::Outcome;
use super::queue::{Queue, lock};
use super::waiter::Waiter;

static INBOXES: Mutex<Vec<Py<Inbox>>> = Mutex::new(Vec::new());

/// Names a waiter to a task: slot in the low half, how often the slot was used before in the high half.
pub(super) type Ticket = u64;
pub(super) type Completions = Queue<(Ticket, Outcome)>;

/// Waiters by ticket. A ticket is never used twice, so a late completion cannot reach a stranger.
#[derive(Default)]
struct Slots {
    slots: Vec<(u32, Option<Py<Waiter>>)>,
    free: Vec<u32>,
}

impl Slots {
    fn insert(&mut self, waiter: Py<Waiter>) -> Ticket {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 requests in flight")
        });
        let slot = &mut self.slots[index as usize];
        slot.1 = Some(waiter);
        (u64::from(slot.0) << 32) | u64::from(index)
    }

    #[allow(clippy::cast_possible_truncation)] // that is how the halves of a ticket are told apart
    fn remove(&mut self, ticket: Ticket) -> Option<Py<Waiter>> {
        let (index, used) = (ticket as u32, (ticket >> 32) as u32);
        let slot = self.slots.get_mut(index as usize)?;
        if slot.0 != used {
            return None;
        }
        let waiter = slot.1.take()?;
        slot.0 = slot.0.wrapping_add(1);
        self.free.push(index);
        Some(waiter)
    }
}

/// What waiters and tasks share with their inbox.
pub(super) struct Desk {
    slots: Mutex<Slots>,
    pub(super) completions: Arc<Completions>,
}

impl Desk {
    pub(super) fn admit(&self, waiter: Py<Waiter>) -> Ticket {
        lock(&self.slots).insert(waiter)
    }

    /// Frees a ticket. The caller drops the waiter, after the lock is gone.
    #[must_use]
    pub(super) fn dismiss(&self, ticket: Ticket) -> Option<Py<Waiter>> {
        lock(&self.slots).remove(ticket)
    }
}

/// The inbox of one event loop. Private to the bridge; its `drain` is the loop's reader callback.
#[pyclass(frozen, weakref, module = "crossfade_native", name = "_Inbox")]
pub struct Inbox {
    event_loop: Py<PyWeakrefReference>,
    address: usize,
    pub(super) desk: Arc<Desk>,
    spare: Mutex<Vec<(Ticket, Outcome)>>,
}

impl Inbox {
    /// The inbox of the running loop, made on first use. Raises `RuntimeError` if no loop runs.
    pub(super) fn of_running_loop(py: Python<'_>) -> PyResult<(Py<Self>, Bound<'_, PyAny>)> {
        static GET_RUNNING_LOOP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let event_loop = GET_RUNNING_LOOP
            .import(py, "asyncio", "get_running_loop")?
            .call0()?;
        if let Some(inbox) = Self::find(py, &event_loop) {
            return Ok((inbox, event_loop));
        }
        Self::sweep(py);
        let inbox = Self::open(py, &event_loop)?;
        lock(&INBOXES).push(inbox.clone_ref(py));
        Ok((inbox, event_loop))
    }

    fn find(py: Python<'_>, event_loop: &Bound<'_, PyAny>) -> Option<Py<Self>> {
        let address = event_loop.as_ptr() as usize;
        // An address may be used again after a loop died; then its weak reference is dead.
        lock(&INBOXES)
            .iter()
            .find(|inbox| {
                let inbox = inbox.get();
                inbox.address == address && inbox.event_loop.bind(py).upgrade().is_some()
            })
            .map(|inbox| inbox.clone_ref(py))
    }

    fn open(py: Python<'_>, event_loop: &Bound<'_, PyAny>) -> PyResult<Py<Self>> {
        let bell = FileBell::new()?;
        let fd = bell.fd();
        let inbox = Self::with_bell(py, event_loop, Bell::File(bell))?;
        let drain = inbox.getattr(py, "drain")?;
        match event_loop.call_method1("add_reader", (fd, drain)) {
            Ok(_) => return Ok(inbox),
            // A proactor loop cannot watch files.
            Err(error) if error.is_instance_of::<PyNotImplementedError>(py) => {}
            Err(error) => return Err(error),
        }
        let (bell, rope): (ThreadBell, RopeEnd) = ThreadBell::pair();
        let inbox = Self::with_bell(py, event_loop, Bell::Thread(bell))?;
        let myself = PyWeakrefReference::new(inbox.bind(py))?.unbind();
        ThreadBell::carry(inbox.get().event_loop.clone_ref(py), myself, rope)?;
        Ok(inbox)
    }

    fn with_bell(py: Python<'_>, event_loop: &Bound<'_, PyAny>, bell: Bell) -> PyResult<Py<Self>> {
        let desk = Desk {
            slots: Mutex::default(),
            completions: Arc::new(Queue::new(bell)),
        };
        Py::new(
            py,
            Self {
                event_loop: PyWeakrefReference::new(event_loop)?.unbind(),
                address: event_loop.as_ptr() as usize,
                desk: Arc::new(desk),
                spare: Mutex::default(),
            },
        )
    }

    /// Forgets inboxes whose loop is closed or gone.
    fn sweep(py: Python<'_>) {
        let inboxes: Vec<_> = lock(&INBOXES).iter().map(|i| i.clone_ref(py)).collect();
        let dead = |inbox: &Inbox| {
            inbox
                .event_loop
                .bind(py)
                .upgrade()
                .is_none_or(|event_loop| {
                    event_loop
                        .call_method0("is_closed")
                        .and_then(|closed| closed.extract())
                        .unwrap_or(true)
                })
        };
        let dead: Vec<_> = inboxes.iter().filter(|inbox| dead(inbox.get())).collect();
        let swept: Vec<_> = lock(&INBOXES)
            .extract_if(.., |inbox| dead.iter().any(|other| other.is(&*inbox)))
            .collect();
        for inbox in &swept {
            inbox.get().abandon(py);
        }
    }

    fn abandon(&self, py: Python<'_>) {
        let waiters = std::mem::take(&mut lock(&self.desk.slots).slots);
        for waiter in waiters.into_iter().filter_map(|(_, waiter)| waiter) {
            waiter.get().abandon(py);
        }
    }
}

#[pymethods]
impl Inbox {
    /// Resumes everybody whose answer has come.
    fn drain(&self, py: Python<'_>) -> PyResult<()> {
        let mut batch = std::mem::take(&mut *lock(&self.spare));
        self.desk.completions.take(&mut batch);
        let mut arrived = batch.drain(..);
        while let Some((ticket, outcome)) = arrived.next() {
            let Some(waiter) = self.desk.dismiss(ticket) else {
                continue; // cancelled meanwhile
            };
            if let Err(error) = waiter.bind(py).get().complete(waiter.bind(py), outcome) {
                if error.is_instance_of::<PyKeyboardInterrupt>(py)
                    || error.is_instance_of::<PySystemExit>(py)
                {
                    self.desk.completions.put_back(arrived.collect());
                    return Err(error);
                }
                report(waiter.bind(py), &error);
            }
        }
        drop(arrived);
        *lock(&self.spare) = batch;
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        // Never held while Python code runs, so the collector cannot find it taken by its own thread.
        if let Ok(slots) = self.desk.slots.try_lock() {
            for (_, waiter) in &slots.slots {
                visit.call(waiter)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let slots = std::mem::take(&mut *lock(&self.desk.slots));
        drop(slots);
    }
}

/// A done-callback failed: told to the loop, as asyncio does, and the rest of the batch goes on.
fn report(waiter: &Bound<'_, Waiter>, error: &PyErr) {
    let py = waiter.py();
    let context = PyDict::new(py);
    let told = context
        .set_item("message", "Exception in a callback of crossfade_native")
        .and_then(|()| context.set_item("exception", error.value(py)))
        .and_then(|()| context.set_item("future", waiter))
        .and_then(|()| {
            waiter
                .get()
                .event_loop
                .bind(py)
                .call_method1("call_exception_handler", (context,))
        });
    if let Err(error) = told {
        error.write_unraisable(py, Some(waiter.as_any()));
    }
}
