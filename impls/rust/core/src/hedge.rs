//! Owns whether a second copy of a safe request is sent while the first is still out, and how long to wait before it.
//!
//! The theory. A hedge cuts the tail: whoever waits longer than most others sends the same request to another instance
//! and takes the first answer (Dean and Barroso, "The Tail at Scale", 2013). Sent after the 95th percentile, it adds at
//! most a twentieth to the load; and a budget that requests fill keeps it there when everything is slow and all would
//! hedge.
//!
//! The laws:
//!
//! 1. There are never more hedges than `per_mille` per thousand requests: the budget starts empty.
//! 2. Quiet times save up [`BURST`] hedges and no more.
//! 3. `delay_ns` 0 means the observed 95th percentile ([`LatencySketch`]); as long as that is not known, nothing is
//!    hedged.

use crate::sketch::LatencySketch;

pub const BURST: u64 = 10;

/// The budget counts thousandths.
const TOKEN: u64 = 1000;

/// `delay_ns` 0: the observed p95. `per_mille`: hedges per thousand requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "replay",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct HedgeConfig {
    pub delay_ns: u64,
    pub per_mille: u64,
}

impl Default for HedgeConfig {
    fn default() -> Self {
        Self {
            delay_ns: 0,
            per_mille: 50,
        }
    }
}

/// The hedges of one server.
#[derive(Debug, Clone)]
pub struct Hedge {
    config: HedgeConfig,
    budget: u64,
    sketch: LatencySketch,
}

impl Hedge {
    pub fn new(config: HedgeConfig) -> Self {
        Self {
            config,
            budget: 0,
            sketch: LatencySketch::default(),
        }
    }

    /// A request that could be hedged came in: the budget grows.
    #[inline]
    pub fn request(&mut self) {
        self.budget = self
            .budget
            .saturating_add(self.config.per_mille)
            .min(BURST * TOKEN);
    }

    /// How long to wait for the first answer; `None`: not known yet, so no hedge.
    #[inline]
    pub const fn delay_ns(&self) -> Option<u64> {
        if self.config.delay_ns > 0 {
            Some(self.config.delay_ns)
        } else {
            self.sketch.p95_ns()
        }
    }

    /// Whether the second copy may be sent now; `true` takes it from the budget.
    #[inline]
    pub const fn try_start(&mut self) -> bool {
        if self.budget < TOKEN {
            return false;
        }
        self.budget -= TOKEN;
        true
    }

    /// How long one attempt took to its answer. Attempts that were cancelled say nothing.
    #[inline]
    pub fn record(&mut self, latency_ns: u64) {
        if self.config.delay_ns == 0 {
            self.sketch.record(latency_ns);
        }
    }
}
