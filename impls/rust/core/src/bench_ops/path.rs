//! Owns the operations of [`super`] for the policies on the path of a request.
//!
//! `impls/crossfade/impls/cores/bench_path.py` has the same.

use super::{Run, times};
use crate::limiter::{KeyedLimiter, RateLimitConfig};

pub(super) fn prepare(op: &str, iterations: u64, size: usize) -> Option<Run> {
    match op {
        "rate_limit" => Some(rate_limit(iterations, size)),
        _ => None,
    }
}

/// `admit` of `size` keys in turn, of which each may come every second time: half is refused.
fn rate_limit(iterations: u64, size: usize) -> Run {
    let keys = size as u64;
    let mut limiter = KeyedLimiter::new(RateLimitConfig {
        requests: 1,
        per_ns: 2000 * keys,
        burst: 8,
        max_keys: size,
    });
    Box::new(move || {
        times(iterations)
            .map(|now_ns| u64::from(limiter.admit(now_ns, now_ns / 1000 % keys) == 0))
            .sum()
    })
}
