//! Which requests may get a second copy while the first is under way, and after how long.
//!
//! The rule: only reads, and tools that the configuration names; at most so many per thousand.

use std::sync::Mutex;
use std::time::Duration;

use crossfade_core::{Hedge, HedgeConfig};

use super::MILLI;
use super::repeating::is_read;
use crate::clock::lock;
use crate::config::HedgeSpec;
use crate::filters::Globs;

#[derive(Debug)]
pub(crate) struct Hedging {
    globs: Globs,
    core: Mutex<Hedge>,
}

impl Hedging {
    /// `None` if it is off.
    pub(super) fn new(spec: &HedgeSpec) -> Option<Self> {
        let config = HedgeConfig {
            delay_ns: spec.delay_ms * MILLI,
            per_mille: u64::from(spec.per_mille),
        };
        spec.enabled.then(|| Self {
            globs: Globs::new(&spec.tools),
            core: Mutex::new(Hedge::new(config)),
        })
    }

    pub(super) fn covers(&self, method: &str, name: Option<&str>) -> bool {
        is_read(method) || (method == "tools/call" && name.is_some_and(|tool| self.globs.any(tool)))
    }

    /// A request that may be hedged came in: how long to wait for its first copy, if that is known.
    pub(super) fn asked(&self) -> Option<Duration> {
        let mut core = lock(&self.core);
        core.request();
        core.delay_ns().map(Duration::from_nanos)
    }

    pub(super) fn may_start(&self) -> bool {
        lock(&self.core).try_start()
    }

    /// How long one copy took to its answer.
    pub(super) fn took(&self, took: Duration) {
        lock(&self.core).record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }
}
