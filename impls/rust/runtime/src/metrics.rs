//! Counters and latency of everything that passes, cheap enough for the request path.
//!
//! The histogram is log-linear: 32 linear steps per power of two, so a bucket is at most 3.2 % wide; recording is one
//! relaxed increment. Quantiles report the upper edge of their bucket.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

const STEP_BITS: u32 = 5;
const STEPS: usize = 1 << STEP_BITS;
/// Values up to 2^37 ns (137 s); longer ones count in the last bucket.
const MAX_BITS: u32 = 37;
const BUCKETS: usize = (MAX_BITS - STEP_BITS + 1) as usize * STEPS;

/// Log-linear histogram of nanoseconds.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
    max: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
            max: AtomicU64::new(0),
        }
    }
}

#[allow(clippy::cast_possible_truncation)] // indices stay below BUCKETS by construction
fn index_of(value_ns: u64) -> usize {
    let value = value_ns.min((1 << MAX_BITS) - 1);
    if value < STEPS as u64 {
        return value as usize;
    }
    let shift = value.ilog2() - STEP_BITS;
    (shift as usize + 1) * STEPS + (value >> shift) as usize - STEPS
}

fn upper_edge(index: usize) -> u64 {
    if index < STEPS {
        return index as u64;
    }
    let shift = index / STEPS - 1;
    (((index % STEPS + STEPS) as u64 + 1) << shift) - 1
}

impl Histogram {
    pub(crate) fn record(&self, value_ns: u64) {
        self.buckets[index_of(value_ns)].fetch_add(1, Relaxed);
        self.sum.fetch_add(value_ns, Relaxed);
        if value_ns > self.max.load(Relaxed) {
            self.max.fetch_max(value_ns, Relaxed);
        }
    }

    pub(crate) fn summary(&self) -> LatencySummary {
        let counts: Vec<u64> = self
            .buckets
            .iter()
            .map(|bucket| bucket.load(Relaxed))
            .collect();
        let count: u64 = counts.iter().sum();
        let max = self.max.load(Relaxed);
        let at = |per_mille: u64| {
            let rank = (count * per_mille).div_ceil(1000).max(1);
            let mut seen = 0;
            for (index, n) in counts.iter().enumerate() {
                seen += n;
                if seen >= rank {
                    return upper_edge(index).min(max);
                }
            }
            0
        };
        LatencySummary {
            count,
            mean: self.sum.load(Relaxed).checked_div(count).unwrap_or(0),
            p50: at(500),
            p90: at(900),
            p99: at(990),
            p999: at(999),
            max,
        }
    }
}

/// Latency in nanoseconds; all zero before the first request.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct LatencySummary {
    pub count: u64,
    pub mean: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

/// Counters of one server. `requests` and `errors` count attempts; `retries` and `hedges` tell how many of them were not
/// a caller's first. `rate_limited` and `shed` are part of `rejected`; `queued` waited for a place in the bulkhead.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ServerCounters {
    pub requests: u64,
    pub errors: u64,
    pub rejected: u64,
    pub in_flight: u64,
    pub connections: u64,
    pub retries: u64,
    pub hedges: u64,
    pub hedged_wins: u64,
    pub rate_limited: u64,
    pub shed: u64,
    pub queued: u64,
}

/// `crossfade.impls.api.Metrics`, field for field.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MetricsSnapshot {
    pub requests: u64,
    pub errors: u64,
    pub rejected: u64,
    pub in_flight: u64,
    pub connections: u64,
    pub clients: u64,
    pub sessions: u64,
    pub latency_ns: LatencySummary,
    pub errors_by_code: BTreeMap<String, u64>,
    pub servers: BTreeMap<String, ServerCounters>,
}

/// Codes that are counted, in the order of their counters.
const CODES: [&str; 22] = [
    "error",
    "config",
    "server_not_found",
    "server_exists",
    "unknown_target",
    "manager_closed",
    "address_in_use",
    "server_start",
    "server_crashed",
    "server_timeout",
    "protocol_violation",
    "pool_timeout",
    "circuit_open",
    "rate_limited",
    "bulkhead_full",
    "load_shed",
    "server_unavailable",
    "crash_loop",
    "storage_exhausted",
    "deployment_failed",
    "deployment_busy",
    "remote",
];

/// The live counters of a manager.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) latency: Histogram,
    pub(crate) rejected: AtomicU64,
    pub(crate) clients: AtomicU64,
    pub(crate) sessions: AtomicU64,
    errors: [AtomicU64; CODES.len()],
}

impl Metrics {
    pub(crate) fn error(&self, code: &str) {
        if let Some(index) = CODES.iter().position(|known| *known == code) {
            self.errors[index].fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn errors_by_code(&self) -> BTreeMap<String, u64> {
        let counted = CODES
            .iter()
            .zip(&self.errors)
            .map(|(code, count)| ((*code).to_owned(), count.load(Relaxed)));
        counted.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_in_its_bucket_and_the_bucket_is_narrow() {
        for value in [0, 1, 31, 32, 33, 63, 64, 1_000, 123_456, 9_876_543_210] {
            let index = index_of(value);
            assert!(upper_edge(index) >= value);
            assert!(index == 0 || upper_edge(index - 1) < value);
            assert!(upper_edge(index) - value <= value / 32);
        }
        assert_eq!(index_of(u64::MAX), BUCKETS - 1);
    }
}
