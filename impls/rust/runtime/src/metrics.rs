//! Counters and latency of everything that passes, cheap enough for the request path.
//!
//! The rule: a request is recorded once, with its server; what is told of the manager as a whole is added up when somebody
//! asks, the servers that are gone included, so that no total goes backwards.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use crossfade_core::Histogram;
use crossfade_core::histogram::Summary;
use serde::Serialize;

use crate::clock::lock;
use crate::error::Result;
use crate::registry::Registry;
use crate::upstream::Server;

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

impl From<Summary> for LatencySummary {
    fn from(found: Summary) -> Self {
        Self {
            count: found.count,
            mean: found.mean,
            p50: found.p50,
            p90: found.p90,
            p99: found.p99,
            p999: found.p999,
            max: found.max,
        }
    }
}

/// Counters of one server. `requests` and `errors` count attempts; `retries` and `hedges` tell how many of them were not
/// a caller's first. `rate_limited` and `shed` are part of `rejected`; `queued` waited for a place in the bulkhead.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ServerCounters {
    pub requests: u64,
    pub errors: u64,
    pub rejected: u64,
    pub restarts: u64,
    pub in_flight: u64,
    pub connections: u64,
    pub retries: u64,
    pub hedges: u64,
    pub hedged_wins: u64,
    pub rate_limited: u64,
    pub shed: u64,
    pub queued: u64,
    pub cache_hits: u64,
    pub cache_misses: u64,
    pub coalesced: u64,
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
    pub latency_by_server: BTreeMap<String, LatencySummary>,
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
    /// Whether latencies are recorded.
    pub(crate) enabled: bool,
    /// Latencies and requests of the servers that are gone.
    pub(crate) gone: Histogram,
    gone_requests: AtomicU64,
    /// Servers that are registered no more and still answer calls. Locked while a server changes sides and while all
    /// are added up, so that every server counts exactly once.
    leaving: Mutex<Vec<Arc<Server>>>,
    pub(crate) rejected: AtomicU64,
    pub(crate) clients: AtomicU64,
    pub(crate) sessions: AtomicU64,
    errors: [AtomicU64; CODES.len()],
}

impl Metrics {
    pub(crate) fn new(enabled: bool) -> Self {
        Self {
            enabled,
            ..Self::default()
        }
    }

    /// Takes a server out of the registry, by `remove`. It counts on, as long as the guard lives by what it still does.
    pub(crate) fn leave(
        &self,
        remove: impl FnOnce() -> Result<Arc<Server>>,
    ) -> Result<Leaving<'_>> {
        let mut leaving = lock(&self.leaving);
        let server = remove()?;
        leaving.push(Arc::clone(&server));
        Ok(Leaving {
            metrics: self,
            server,
        })
    }

    /// Latencies and number of all requests, of the servers that are there and those that are gone.
    pub(crate) fn total(&self, registry: &Registry) -> (Histogram, u64) {
        let leaving = lock(&self.leaving);
        let registered = registry.load();
        let all = Histogram::default();
        all.add(&self.gone);
        let mut requests = self.gone_requests.load(Relaxed);
        for server in registered.servers.iter().chain(leaving.iter()) {
            all.add(&server.latency);
            requests += server.counters().requests;
        }
        (all, requests)
    }

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

/// A server on its way out. Dropped, it is gone, and what it did is part of the totals for good.
#[derive(Debug)]
pub(crate) struct Leaving<'a> {
    metrics: &'a Metrics,
    pub(crate) server: Arc<Server>,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut leaving = lock(&self.metrics.leaving);
        leaving.retain(|server| !Arc::ptr_eq(server, &self.server));
        self.metrics.gone.add(&self.server.latency);
        self.metrics
            .gone_requests
            .fetch_add(self.server.counters().requests, Relaxed);
    }
}
