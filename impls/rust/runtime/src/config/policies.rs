//! Policies of one server, as `crossfade.impls.config.policies` has them.

use serde::{Deserialize, Serialize};

/// Connections to one instance.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PoolSpec {
    pub min_connections: u32,
    pub max_connections: u32,
    pub max_waiters: u32,
    pub acquire_timeout_ms: u64,
    pub idle_timeout_ms: u64,
    pub max_age_ms: u64,
    pub stdio_streams: u32,
}

impl Default for PoolSpec {
    fn default() -> Self {
        Self {
            min_connections: 0,
            max_connections: 64,
            max_waiters: 1024,
            acquire_timeout_ms: 5_000,
            idle_timeout_ms: 60_000,
            max_age_ms: 0,
            stdio_streams: 256,
        }
    }
}

/// Circuit breaker per instance.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct BreakerSpec {
    pub enabled: bool,
    pub window: u32,
    pub window_ms: u64,
    pub min_calls: u32,
    pub failure_per_mille: u32,
    pub slow_call_ms: u64,
    pub slow_per_mille: u32,
    pub open_ms: u64,
    pub probes: u32,
}

impl Default for BreakerSpec {
    fn default() -> Self {
        Self {
            enabled: true,
            window: 100,
            window_ms: 10_000,
            min_calls: 20,
            failure_per_mille: 500,
            slow_call_ms: 0,
            slow_per_mille: 1000,
            open_ms: 5_000,
            probes: 3,
        }
    }
}

/// What a rate limit counts for itself.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RateKey {
    #[default]
    Server,
    Tool,
    Principal,
}

/// How an update replaces the instances of a server.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    Recreate,
    #[default]
    Rolling,
    BlueGreen,
    Canary,
    Shadow,
}

/// Second attempts where they are safe.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RetrySpec {
    pub attempts: u32,
    pub base_ms: u64,
    pub cap_ms: u64,
    pub budget_per_mille: u32,
    pub budget_burst: u32,
    pub hints: bool,
    pub tools: Vec<String>,
}

impl Default for RetrySpec {
    fn default() -> Self {
        Self {
            attempts: 2,
            base_ms: 20,
            cap_ms: 1_000,
            budget_per_mille: 200,
            budget_burst: 10,
            hints: true,
            tools: Vec::new(),
        }
    }
}

/// A second copy of a safe read that is late.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HedgeSpec {
    pub enabled: bool,
    pub delay_ms: u64,
    pub per_mille: u32,
    pub tools: Vec<String>,
}

impl Default for HedgeSpec {
    fn default() -> Self {
        Self {
            enabled: false,
            delay_ms: 0,
            per_mille: 50,
            tools: Vec::new(),
        }
    }
}

/// At most so many requests per time, counted per key (GCRA).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RateLimitSpec {
    pub requests: u32,
    pub per_ms: u64,
    pub burst: u32,
    pub key: RateKey,
    pub tools: Vec<String>,
    pub max_keys: u32,
}

impl Default for RateLimitSpec {
    fn default() -> Self {
        Self {
            requests: 1,
            per_ms: 1_000,
            burst: 1,
            key: RateKey::Server,
            tools: Vec::new(),
            max_keys: 10_000,
        }
    }
}

/// Sessions with a legacy server that serve one client at a time.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct DedicatedSpec {
    pub max: usize,
    pub idle_ms: u64,
}

impl Default for DedicatedSpec {
    fn default() -> Self {
        Self {
            max: 16,
            idle_ms: 60_000,
        }
    }
}

/// Requests to one server at once.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct BulkheadSpec {
    pub max_in_flight: u32,
    pub max_queue: u32,
    pub queue_timeout_ms: u64,
}

impl Default for BulkheadSpec {
    fn default() -> Self {
        Self {
            max_in_flight: 0,
            max_queue: 0,
            queue_timeout_ms: 1_000,
        }
    }
}

/// Probes, and how many equal verdicts turn the state.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HealthSpec {
    pub interval_ms: u64,
    pub timeout_ms: u64,
    pub unhealthy_after: u32,
    pub healthy_after: u32,
}

impl Default for HealthSpec {
    fn default() -> Self {
        Self {
            interval_ms: 0,
            timeout_ms: 5_000,
            unhealthy_after: 3,
            healthy_after: 2,
        }
    }
}

/// Restarts of a child that ended by itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RestartSpec {
    pub enabled: bool,
    pub base_ms: u64,
    pub cap_ms: u64,
    pub reset_after_ms: u64,
    pub max_restarts: u32,
    pub window_ms: u64,
}

impl Default for RestartSpec {
    fn default() -> Self {
        Self {
            enabled: true,
            base_ms: 100,
            cap_ms: 30_000,
            reset_after_ms: 10_000,
            max_restarts: 5,
            window_ms: 60_000,
        }
    }
}

/// Cached answers to lists and reads.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CacheSpec {
    pub enabled: bool,
    pub coalesce: bool,
    pub default_ttl_ms: u64,
    pub max_ttl_ms: u64,
    pub max_entries: u32,
    pub max_bytes: u64,
}

impl Default for CacheSpec {
    fn default() -> Self {
        Self {
            enabled: true,
            coalesce: true,
            default_ttl_ms: 0,
            max_ttl_ms: 3_600_000,
            max_entries: 1_000,
            max_bytes: 16 * 1024 * 1024,
        }
    }
}

/// How an update proceeds.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct DeploySpec {
    pub strategy: Strategy,
    pub max_surge: u32,
    pub steps_percent: Vec<u32>,
    pub min_samples: u32,
    pub step_timeout_ms: u64,
    pub max_failure_per_mille: u32,
    pub gate_timeout_ms: u64,
    pub drain_ms: u64,
}

impl Default for DeploySpec {
    fn default() -> Self {
        Self {
            strategy: Strategy::Rolling,
            max_surge: 1,
            steps_percent: vec![5, 25, 50],
            min_samples: 20,
            step_timeout_ms: 60_000,
            max_failure_per_mille: 50,
            gate_timeout_ms: 30_000,
            drain_ms: 10_000,
        }
    }
}
