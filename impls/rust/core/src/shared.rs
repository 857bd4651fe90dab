//! Owns the sharing of one breaker among threads: while it is closed, `admit` is one atomic load.
//!
//! Rule: the core behind the lock decides, alone. `closed` only mirrors its state and is written under the lock, so a
//! reader that is late by one transition behaves like a caller that came a moment earlier. `interleavings` holds it to
//! that under loom, which runs every order of the threads' steps: `RUSTFLAGS="--cfg loom" cargo test -p crossfade-core --lib`.

#[cfg(all(test, loom))]
mod interleavings;

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering};
#[cfg(loom)]
use loom::sync::{Mutex, MutexGuard};
use std::sync::PoisonError;
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(not(loom))]
use std::sync::{Mutex, MutexGuard};

use crate::breaker::{Breaker, BreakerConfig, CircuitState};

/// [`Breaker`] for `&self`. The methods are those of the core.
#[derive(Debug)]
pub struct SharedBreaker {
    closed: AtomicBool,
    enabled: bool,
    core: Mutex<Breaker>,
}

impl SharedBreaker {
    pub fn new(config: BreakerConfig) -> Self {
        Self {
            closed: AtomicBool::new(true),
            enabled: config.enabled,
            core: Mutex::new(Breaker::new(config)),
        }
    }

    #[inline]
    pub fn admit(&self, now_ns: u64) -> bool {
        self.closed.load(Ordering::Acquire) || self.lock().admit(now_ns)
    }

    pub fn record(&self, now_ns: u64, ok: bool, duration_ns: u64) {
        if !self.enabled {
            return;
        }
        let mut core = self.lock();
        core.record(now_ns, ok, duration_ns);
        self.closed.store(
            core.state(now_ns) == CircuitState::Closed,
            Ordering::Release,
        );
    }

    pub fn forget(&self, now_ns: u64, duration_ns: u64) {
        if !self.closed.load(Ordering::Acquire) {
            self.lock().forget(now_ns, duration_ns);
        }
    }

    pub fn state(&self, now_ns: u64) -> CircuitState {
        if self.closed.load(Ordering::Acquire) {
            CircuitState::Closed
        } else {
            self.lock().state(now_ns)
        }
    }

    pub fn retry_after_ns(&self, now_ns: u64) -> u64 {
        if self.closed.load(Ordering::Acquire) {
            0
        } else {
            self.lock().retry_after_ns(now_ns)
        }
    }

    /// A panic cannot leave the core half-changed in a way that matters more than refusing every later call would.
    fn lock(&self) -> MutexGuard<'_, Breaker> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
