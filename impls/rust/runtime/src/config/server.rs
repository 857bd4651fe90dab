//! One upstream server, as `crossfade.impls.config.server` has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::policies::{
    BreakerSpec, BulkheadSpec, CacheSpec, DedicatedSpec, DeploySpec, HealthSpec, HedgeSpec,
    PoolSpec, RateLimitSpec, RestartSpec, RetrySpec,
};

/// Which era to speak to a server: found out, or told.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EraSpec {
    #[default]
    Auto,
    Legacy,
    Modern,
    /// HTTP+SSE of 2024-11-05, and nothing newer.
    Sse,
}

/// How calls are spread over instances.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BalancerKind {
    RoundRobin,
    Weighted,
    LeastPending,
    #[default]
    P2c,
    Rendezvous,
}

/// What balancer `rendezvous` hashes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Affinity {
    #[default]
    Session,
    Principal,
    Tool,
}

/// Kind of storage.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "snake_case")]
pub enum StorageClass {
    #[default]
    Standard,
    Fast,
    Nvme,
    Network,
}

impl StorageClass {
    /// The name in events, errors and Python.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Fast => "fast",
            Self::Nvme => "nvme",
            Self::Network => "network",
        }
    }
}

/// `stdio` for a command, `http` for URLs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TransportKind {
    Stdio,
    Http,
}

impl TransportKind {
    /// The name in snapshots, errors and Python.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdio => "stdio",
            Self::Http => "http",
        }
    }
}

/// Which of a server's tools, prompts or resources are shown, and under which name.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NameFilter {
    pub allow: Vec<String>,
    pub deny: Vec<String>,
    pub alias: BTreeMap<String, String>,
}

/// Bytes of a storage pool for each instance.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct StorageClaim {
    pub storage_class: StorageClass,
    pub bytes: u64,
    pub keep: bool,
}

/// One upstream server.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ServerSpec {
    pub name: String,
    pub command: Option<String>,
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub cwd: Option<String>,
    pub urls: Vec<String>,
    pub headers: BTreeMap<String, String>,
    pub instances: u32,
    pub tags: Vec<String>,
    pub lazy: bool,
    pub stateless: bool,
    pub era: EraSpec,
    pub timeout_ms: u64,
    pub start_timeout_ms: u64,
    pub max_message_bytes: usize,
    pub balancer: BalancerKind,
    pub weights: Vec<u32>,
    pub affinity: Affinity,
    pub tools: NameFilter,
    pub prompts: NameFilter,
    pub resources: NameFilter,
    pub pool: PoolSpec,
    pub breaker: BreakerSpec,
    pub retry: RetrySpec,
    pub hedge: HedgeSpec,
    pub rate_limits: Vec<RateLimitSpec>,
    pub bulkhead: BulkheadSpec,
    pub dedicated: DedicatedSpec,
    pub health: HealthSpec,
    pub restart: RestartSpec,
    pub cache: CacheSpec,
    pub storage: Option<StorageClaim>,
    pub deploy: DeploySpec,
}

impl ServerSpec {
    /// Reads one `ServerSpec` as the Python side encodes it.
    pub fn from_json(raw: &[u8]) -> crate::Result<Self> {
        serde_json::from_slice(raw).map_err(|error| crate::Error::Config {
            message: format!(
                "server specification: {error}; pass what msgspec.json.encode(ServerSpec) wrote"
            ),
        })
    }

    /// Number of instances: children of a command, or URLs.
    pub fn replicas(&self) -> usize {
        if self.command.is_some() {
            self.instances as usize
        } else {
            self.urls.len()
        }
    }

    /// `stdio` for a command, `http` for URLs.
    pub fn transport(&self) -> TransportKind {
        if self.command.is_some() {
            TransportKind::Stdio
        } else {
            TransportKind::Http
        }
    }
}

impl Default for ServerSpec {
    fn default() -> Self {
        Self {
            name: String::new(),
            command: None,
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd: None,
            urls: Vec::new(),
            headers: BTreeMap::new(),
            instances: 1,
            tags: Vec::new(),
            lazy: false,
            stateless: false,
            era: EraSpec::Auto,
            timeout_ms: 30_000,
            start_timeout_ms: 30_000,
            max_message_bytes: 16 * 1024 * 1024,
            balancer: BalancerKind::P2c,
            weights: Vec::new(),
            affinity: Affinity::Session,
            tools: NameFilter::default(),
            prompts: NameFilter::default(),
            resources: NameFilter::default(),
            pool: PoolSpec::default(),
            breaker: BreakerSpec::default(),
            retry: RetrySpec::default(),
            hedge: HedgeSpec::default(),
            rate_limits: Vec::new(),
            bulkhead: BulkheadSpec::default(),
            dedicated: DedicatedSpec::default(),
            health: HealthSpec::default(),
            restart: RestartSpec::default(),
            cache: CacheSpec::default(),
            storage: None,
            deploy: DeploySpec::default(),
        }
    }
}
