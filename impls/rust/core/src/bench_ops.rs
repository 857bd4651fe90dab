//! Owns the operations that scenario `policy-ops` times; `impls/crossfade/impls/cores/bench_ops.py` has the same.
//!
//! Rule: the caller holds the clock. [`prepare`] builds the state and returns what to time; nothing is built while it
//! runs. Time passes in the loops as data, 1 us per iteration. The checksum is returned so that no loop is optimised away.
//! What is timed is the core that the shells run, without the lock that they keep it behind: the tokio shell takes one for
//! balancer and breaker together, once to choose and once at the end of a call.

mod choice;
mod path;

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::balancer::{Balance, Mask, P2c};
use crate::breaker::{Breaker, BreakerConfig};
use crate::health::{Health, HealthConfig};
use crate::histogram::Histogram;
use crate::pool::{Pool, PoolConfig};

/// The names [`prepare`] knows.
pub const OPS: &[&str] = &[
    "pool_checkout",
    "breaker",
    "route",
    "registry_lookup",
    "metrics",
    "health",
    "round_robin",
    "weighted",
    "least_pending",
    "rendezvous",
    "restart",
    "rate_limit",
    "bulkhead",
    "retry",
    "hedge",
    "shed",
];

/// What to time; see [`prepare`].
pub type Run = Box<dyn FnMut() -> u64 + Send>;

/// What to time for `op`: calling it does `iterations` operations over `size` items (at least 1). `None`: unknown `op`.
pub fn prepare(op: &str, iterations: u64, size: usize) -> Option<Run> {
    let size = size.max(1);
    match op {
        "pool_checkout" => Some(pool_checkout(iterations, size)),
        "breaker" => Some(breaker(iterations, size)),
        "route" => Some(route(iterations, size)),
        "registry_lookup" => Some(registry_lookup(iterations, size)),
        "metrics" => Some(metrics(iterations)),
        "health" => Some(health(iterations)),
        _ => choice::prepare(op, iterations, size).or_else(|| path::prepare(op, iterations, size)),
    }
}

fn times(iterations: u64) -> impl Iterator<Item = u64> {
    (0..iterations).map(|i| black_box(i * 1000))
}

/// `try_acquire` and `release` on a pool with `size` idle connections.
fn pool_checkout(iterations: u64, size: usize) -> Run {
    let mut pool = Pool::new(PoolConfig {
        max_connections: size,
        ..PoolConfig::default()
    });
    let ids = 1..=size as u64;
    ids.clone()
        .for_each(|waiter| drop(pool.acquire(0, waiter, 1)));
    for conn in ids.clone() {
        pool.connected(0, conn);
        pool.take(conn);
    }
    ids.for_each(|conn| drop(pool.release(0, conn, true)));
    Box::new(move || {
        let mut total = 0;
        for now_ns in times(iterations) {
            if let Some(conn) = pool.try_acquire(now_ns) {
                total += conn;
                black_box(pool.release(now_ns, conn, true));
            }
        }
        total
    })
}

/// `admit` and `record` of a success, closed, window of `size` (at least 16) verdicts, one failure in 16.
fn breaker(iterations: u64, size: usize) -> Run {
    let mut breaker = Breaker::new(BreakerConfig {
        window: size.max(16),
        ..BreakerConfig::default()
    });
    Box::new(move || {
        let mut total = 0;
        for now_ns in times(iterations) {
            if breaker.admit(now_ns) {
                total += 1;
                breaker.record(now_ns, now_ns & 0x3C00 != 0, 1000);
            }
        }
        total
    })
}

/// P2C `pick`, `started`, `finished` over `size` usable instances.
fn route(iterations: u64, size: usize) -> Run {
    let mut balancer = P2c::new(size, 1);
    let usable = Mask::all(size);
    Box::new(move || {
        let mut total = 0;
        for now_ns in times(iterations) {
            if let Some(i) = balancer.pick(now_ns, usable.words(), 0) {
                balancer.started(i);
                balancer.finished(i, now_ns, 1_000_000 + i as u64, true);
                total += i as u64;
            }
        }
        total
    })
}

/// One server by name among `size`.
fn registry_lookup(iterations: u64, size: usize) -> Run {
    let names: Vec<String> = (0..size).map(|i| format!("server-{i}")).collect();
    let registry: HashMap<String, u64> = names.iter().cloned().zip(0..).collect();
    Box::new(move || {
        let mut total = 0;
        for name in names
            .iter()
            .cycle()
            .take(usize::try_from(iterations).unwrap_or(usize::MAX))
        {
            total += registry[black_box(name)];
        }
        total
    })
}

/// What one request records: begun, ended, counted, and its latency in the histogram.
fn metrics(iterations: u64) -> Run {
    let (histogram, in_flight, requests) =
        (Histogram::default(), AtomicU64::new(0), AtomicU64::new(0));
    Box::new(move || {
        for now_ns in times(iterations) {
            in_flight.fetch_add(1, Relaxed);
            in_flight.fetch_sub(1, Relaxed);
            requests.fetch_add(1, Relaxed);
            histogram.record(200_000 + (now_ns & 0xF_FFFF));
        }
        requests.load(Relaxed)
    })
}

/// One verdict on an instance, every sixteenth of them bad.
fn health(iterations: u64) -> Run {
    let mut health = Health::new(HealthConfig {
        unhealthy_after: 3,
        healthy_after: 2,
    });
    Box::new(move || {
        let mut total = 0;
        for now_ns in times(iterations) {
            total += u64::from(health.record(now_ns & 0x3C00 != 0));
        }
        total
    })
}
