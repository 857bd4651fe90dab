//! Owns the count of those who hold something until it is retired and the last of them has left.
//!
//! The laws, which `interleavings` holds it to under loom, in every order of the threads' steps:
//!
//! 1. Of those who leave at most one is told that it was the last, and only once it is retired.
//! 2. Whoever retires it either counts nobody from then on, or somebody is told.
//! 3. Whoever counts nobody, or was told, sees all that the others did before they left.
//!
//! Rule: count and mark are one word, so that nobody can leave between a look at the one and a look at the other. That
//! nobody enters any more once it is retired is up to the caller: both happen under the lock that it is chosen under.

#[cfg(all(test, loom))]
mod interleavings;

#[cfg(loom)]
use loom::sync::atomic::{AtomicUsize, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicUsize, Ordering};

const RETIRED: usize = 1;
const ONE: usize = 2;

/// How many hold it, and whether it is retired.
#[derive(Debug, Default)]
pub struct Holders(AtomicUsize);

impl Holders {
    pub fn new() -> Self {
        Self::default()
    }

    /// One more holds it.
    pub fn enter(&self) {
        self.0.fetch_add(ONE, Ordering::Relaxed);
    }

    /// One less. True: it is retired, and this was the last.
    #[must_use]
    pub fn leave(&self) -> bool {
        let before = self.0.fetch_sub(ONE, Ordering::AcqRel);
        debug_assert!(before >= ONE, "somebody left who had not entered");
        before == ONE | RETIRED
    }

    /// Nobody enters any more.
    pub fn retire(&self) {
        self.0.fetch_or(RETIRED, Ordering::AcqRel);
    }

    /// Those who hold it now.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Acquire) / ONE
    }
}
