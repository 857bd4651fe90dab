//! The work of the manager as a whole, and when it refuses more.
//!
//! The rule: what only counts takes no lock, and a manager that never sheds does not even count.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossfade_core::{ShedConfig, Shedder};

use super::MILLI;
use crate::clock::{at_ns, lock, now_ns};
use crate::config::ShedSpec;

/// The door of one manager.
#[derive(Debug)]
pub(crate) struct Shed {
    most: usize,
    /// Waits are looked at.
    timed: bool,
    in_flight: AtomicUsize,
    core: Mutex<Shedder>,
}

/// A request that was let in, until dropped.
#[derive(Debug, Default)]
pub(crate) struct Pass(Option<Arc<Shed>>);

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(shed) = &self.0 {
            shed.in_flight.fetch_sub(1, Relaxed);
        }
    }
}

impl Shed {
    pub(crate) fn new(spec: &ShedSpec) -> Arc<Self> {
        let config = ShedConfig {
            max_in_flight: spec.max_in_flight as usize,
            target_ns: spec.target_ms * MILLI,
            interval_ns: spec.interval_ms * MILLI,
        };
        Arc::new(Self {
            most: config.max_in_flight,
            timed: config.target_ns > 0,
            in_flight: AtomicUsize::new(0),
            core: Mutex::new(Shedder::new(config)),
        })
    }

    pub(crate) fn is_on(&self) -> bool {
        self.most > 0 || self.timed
    }

    /// One more request, or how many there are already.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Pass, usize> {
        if !self.is_on() {
            return Ok(Pass(None));
        }
        let before = self.in_flight.fetch_add(1, Relaxed);
        let pass = Pass(Some(Arc::clone(self)));
        let welcome = if self.timed {
            lock(&self.core).admit(now_ns(), before)
        } else {
            before < self.most
        };
        if welcome { Ok(pass) } else { Err(before) }
    }

    /// A request got its place or connection (or gave up) after it had waited since `since`.
    pub(crate) fn waited(&self, since: Instant) {
        if self.timed {
            let now = Instant::now();
            let delay = now.saturating_duration_since(since);
            self.tell(at_ns(now), delay);
        }
    }

    /// A request found a place or connection free.
    pub(crate) fn found_free(&self) {
        if self.timed {
            self.tell(now_ns(), Duration::ZERO);
        }
    }

    fn tell(&self, now: u64, delay: Duration) {
        let delay = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        lock(&self.core).waited(now, delay);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_refused_takes_no_place() {
        let shed = Shed::new(&ShedSpec {
            max_in_flight: 2,
            ..ShedSpec::default()
        });
        let first = shed.enter().expect("room");
        let _second = shed.enter().expect("room");
        assert_eq!(shed.enter().err(), Some(2));
        assert_eq!(shed.enter().err(), Some(2));
        drop(first);
        assert!(shed.enter().is_ok());
        assert!(!Shed::new(&ShedSpec::default()).is_on());
    }
}
