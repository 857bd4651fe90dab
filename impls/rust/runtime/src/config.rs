//! The configuration as the Python side hands it over: a mirror of `crossfade.impls.config`, validated there and only there.
//!
//! Every field has the default that the Python class has, so a partial object (a test, a tool) means the same on both sides.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything a manager needs to start.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Config {
    pub servers: Vec<ServerSpec>,
    pub gateway: GatewaySpec,
    pub seed: i64,
}

impl Config {
    /// Reads `Config.to_json()` of the Python side.
    pub fn from_json(raw: &[u8]) -> crate::Result<Self> {
        serde_json::from_slice(raw).map_err(|error| crate::Error::Config {
            message: format!("configuration: {error}; pass what Config.to_json() wrote"),
        })
    }
}

/// Which era to speak to a server: found out, or told.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EraSpec {
    #[default]
    Auto,
    Legacy,
    Modern,
}

/// How calls are spread over instances.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BalancerKind {
    RoundRobin,
    #[default]
    P2c,
}

/// `stdio` for a command, `http` for URLs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TransportKind {
    Stdio,
    Http,
}

/// Connections to one instance.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PoolSpec {
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
    pub pool: PoolSpec,
    pub breaker: BreakerSpec,
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
            pool: PoolSpec::default(),
            breaker: BreakerSpec::default(),
        }
    }
}

/// The face towards clients.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct GatewaySpec {
    pub prefix: bool,
    pub max_body_bytes: usize,
    pub max_connections: usize,
    pub session_idle_ms: u64,
    pub header_timeout_ms: u64,
    pub allowed_hosts: Vec<String>,
    pub allowed_origins: Vec<String>,
}

impl Default for GatewaySpec {
    fn default() -> Self {
        Self {
            prefix: true,
            max_body_bytes: 16 * 1024 * 1024,
            max_connections: 100_000,
            session_idle_ms: 1_800_000,
            header_timeout_ms: 30_000,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
        }
    }
}
