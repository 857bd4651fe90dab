//! Owns whether a failed attempt is made again, and when: a number of attempts, a budget for all requests, and jitter.
//!
//! The theory. Retries help against an instance that is gone, and ruin a server that is overloaded: three tiers that
//! retry three times each send 27 requests for one. So retries are paid from a budget that requests fill, a fixed share
//! of the traffic however bad things are (Finagle's `RetryBudget`; gRPC's retry throttling, gRFC A6). The wait is drawn
//! from the whole range up to the exponential bound (full jitter; Brooker, "Exponential Backoff And Jitter", 2015), so
//! that those who failed together do not come back together.
//!
//! The laws:
//!
//! 1. A request makes at most `attempts` attempts.
//! 2. There are never more retries than `budget_burst` plus `budget_per_mille` per thousand requests.
//! 3. The wait before attempt n + 1 is uniform over 0 ..= min(`cap_ns`, `base_ns` * 2^(n - 1)).
//! 4. What is refused costs nothing: no token, and no draw.

use crate::rng::SplitMix64;

/// The budget counts thousandths.
const TOKEN: u64 = 1000;
const LONGEST_NS: u64 = 1 << 62;

/// `attempts` counts the first one. The budget starts full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "replay",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct RetryConfig {
    pub attempts: u64,
    pub base_ns: u64,
    pub cap_ns: u64,
    pub budget_per_mille: u64,
    pub budget_burst: u64,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            attempts: 2,
            base_ns: 20_000_000,
            cap_ns: 1_000_000_000,
            budget_per_mille: 200,
            budget_burst: 10,
        }
    }
}

/// The retries of one server.
#[derive(Debug, Clone)]
pub struct Retry {
    attempts: u64,
    base_ns: u64,
    cap_ns: u64,
    fill: u64,
    full: u64,
    budget: u64,
    rng: SplitMix64,
}

impl Retry {
    pub fn new(config: RetryConfig, seed: u64) -> Self {
        let full = config.budget_burst.saturating_mul(TOKEN);
        Self {
            attempts: config.attempts,
            base_ns: config.base_ns,
            cap_ns: config.cap_ns.min(LONGEST_NS),
            fill: config.budget_per_mille,
            full,
            budget: full,
            rng: SplitMix64::new(seed),
        }
    }

    /// A request came in (once per request, not per attempt): the budget grows.
    #[inline]
    pub fn request(&mut self) {
        self.budget = self.budget.saturating_add(self.fill).min(self.full);
    }

    /// How many nanoseconds to wait before one more attempt after `made` of them; `None`: no more.
    pub fn next(&mut self, made: u64) -> Option<u64> {
        if made >= self.attempts || self.budget < TOKEN {
            return None;
        }
        self.budget -= TOKEN;
        let doublings = made.saturating_sub(1).min(62);
        let bound_ns = if self.base_ns <= self.cap_ns >> doublings {
            self.base_ns << doublings
        } else {
            self.cap_ns
        };
        Some(self.rng.below(bound_ns + 1))
    }

    /// The attempt that `next` allowed is not made (no time or no instance is left): its token is given back.
    pub fn forget(&mut self) {
        self.budget = self.budget.saturating_add(TOKEN).min(self.full);
    }

    /// What is left of the budget, in thousandths of a retry.
    pub const fn budget_milli(&self) -> u64 {
        self.budget
    }
}
