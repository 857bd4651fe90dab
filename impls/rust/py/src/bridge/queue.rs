//! Completions on their way from tokio to one event loop.
//!
//! The laws:
//! 1. Any thread may push, and no push needs the interpreter.
//! 2. Only a push onto an *empty* queue owes a ring, so a burst of completions costs one wake-up. The pusher may let
//!    other tasks go first, so that the burst grows; if it is aborted meanwhile, dropping the debt pays it.
//! 3. The reader silences the bell *before* it takes the batch. A ring may thus come for nothing, but a completion that
//!    came after the batch was taken always finds an empty queue and rings again: none is lost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::bell::Bell;

/// A many-writer queue with one reader, an event loop.
#[derive(Debug)]
pub(super) struct Queue<T> {
    items: Mutex<Vec<T>>,
    bell: Bell,
}

impl<T> Queue<T> {
    pub(super) fn new(bell: Bell) -> Self {
        Self {
            items: Mutex::new(Vec::new()),
            bell,
        }
    }

    /// Hands one completion over. The first of a burst gets the debt of ringing.
    pub(super) fn push(self: &Arc<Self>, item: T) -> Option<Ring<T>> {
        let first = {
            let mut items = lock(&self.items);
            items.push(item);
            items.len() == 1
        };
        first.then(|| Ring(Arc::clone(self)))
    }

    /// Swaps everything that waits into `batch`, which must be empty (its room is used by the next burst).
    pub(super) fn take(&self, batch: &mut Vec<T>) {
        debug_assert!(batch.is_empty());
        self.bell.silence();
        std::mem::swap(&mut *lock(&self.items), batch);
    }

    /// Puts back what a reader that had to stop did not get to, in front of what has come since.
    pub(super) fn put_back(&self, mut rest: Vec<T>) {
        if rest.is_empty() {
            return;
        }
        {
            let mut items = lock(&self.items);
            rest.append(&mut items);
            *items = rest;
        }
        self.bell.ring();
    }
}

/// A ring that is owed; it sounds when this is dropped.
#[must_use]
pub(super) struct Ring<T>(Arc<Queue<T>>);

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        self.0.bell.ring();
    }
}

/// Locks, whatever happened to the last holder: nothing under these locks can be left half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
