//! Owns the operations of [`super`] for the policies on the path of a request.
//!
//! `impls/crossfade/impls/cores/bench_path.py` has the same.

use std::hint::black_box;

use super::{Run, times};
use crate::bulkhead::{Bulkhead, BulkheadConfig};
use crate::hedge::{Hedge, HedgeConfig};
use crate::limiter::{KeyedLimiter, RateLimitConfig};
use crate::retry::{Retry, RetryConfig};
use crate::shedder::{ShedConfig, Shedder};

pub(super) fn prepare(op: &str, iterations: u64, size: usize) -> Option<Run> {
    match op {
        "rate_limit" => Some(rate_limit(iterations, size)),
        "bulkhead" => Some(bulkhead(iterations, size)),
        "retry" => Some(retry(iterations, size)),
        "hedge" => Some(hedge(iterations, size)),
        "shed" => Some(shed(iterations, size)),
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

/// `try_acquire` and `release` with `size` places, of which all but one are taken.
fn bulkhead(iterations: u64, size: usize) -> Run {
    let mut bulkhead = Bulkhead::new(BulkheadConfig {
        max_in_flight: size,
        max_queue: 0,
    });
    for _ in 1..size {
        bulkhead.try_acquire();
    }
    Box::new(move || {
        let mut total = 0;
        for now_ns in times(iterations) {
            if black_box(bulkhead.try_acquire()) {
                total += 1;
                black_box(bulkhead.release(now_ns));
            }
        }
        total
    })
}

/// `request` and `next`: every request fails once, and one in five is paid for.
fn retry(iterations: u64, size: usize) -> Run {
    let config = RetryConfig {
        budget_burst: size as u64,
        ..RetryConfig::default()
    };
    let mut retry = Retry::new(config, 1);
    Box::new(move || {
        let mut total = 0;
        for made in (0..iterations).map(|_| black_box(1)) {
            retry.request();
            total += u64::from(black_box(retry.next(made)).is_some());
        }
        total
    })
}

/// `request`, `delay_ns`, `record` of latencies around 1 ms, and `try_start` for one request in 16.
fn hedge(iterations: u64, size: usize) -> Run {
    let mut hedge = Hedge::new(HedgeConfig::default());
    Box::new(move || {
        let mut total = 0;
        for i in (0..iterations).map(black_box) {
            hedge.request();
            if i.is_multiple_of(16) && black_box(hedge.delay_ns()).is_some() && hedge.try_start() {
                total += 1;
            }
            hedge.record(1_000_000 + (i % size as u64) * 10_000);
        }
        total
    })
}

/// `admit` and `waited` behind a standing queue: every wait is above the target, some requests are shed.
fn shed(iterations: u64, size: usize) -> Run {
    let mut shedder = Shedder::new(ShedConfig {
        max_in_flight: size,
        target_ns: 5_000_000,
        ..ShedConfig::default()
    });
    Box::new(move || {
        let mut total = 0;
        for now_ns in times(iterations) {
            if shedder.admit(now_ns, black_box(size - 1)) {
                total += 1;
                shedder.waited(now_ns, 6_000_000);
            }
        }
        total
    })
}
