//! The configuration as the Python side hands it over: a mirror of `crossfade.impls.config`, validated there and only there.
//!
//! Every field has the default that the Python class has, so a partial object (a test, a tool) means the same on both sides.

mod policies;
mod server;

use serde::{Deserialize, Serialize};

pub use policies::*;
pub use server::*;

/// Everything a manager needs to start.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Config {
    pub servers: Vec<ServerSpec>,
    pub gateway: GatewaySpec,
    pub shed: ShedSpec,
    pub storage: Vec<StoragePoolSpec>,
    pub telemetry: TelemetrySpec,
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

/// The face towards clients.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct GatewaySpec {
    pub prefix: bool,
    pub max_body_bytes: usize,
    pub max_connections: usize,
    pub max_sessions: usize,
    pub session_idle_ms: u64,
    pub header_timeout_ms: u64,
    pub input_timeout_ms: u64,
    pub keep_alive_ms: u64,
    pub replay_events: usize,
    pub page_size: usize,
    pub allowed_hosts: Vec<String>,
    pub allowed_origins: Vec<String>,
    pub principal_header: String,
}

impl Default for GatewaySpec {
    fn default() -> Self {
        Self {
            prefix: true,
            max_body_bytes: 16 * 1024 * 1024,
            max_connections: 100_000,
            max_sessions: 10_000,
            session_idle_ms: 1_800_000,
            header_timeout_ms: 30_000,
            input_timeout_ms: 300_000,
            keep_alive_ms: 15_000,
            replay_events: 256,
            page_size: 0,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            principal_header: "authorization".to_owned(),
        }
    }
}

/// When the manager refuses work at once.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ShedSpec {
    pub max_in_flight: u32,
    pub target_ms: u64,
    pub interval_ms: u64,
}

impl Default for ShedSpec {
    fn default() -> Self {
        Self {
            max_in_flight: 0,
            target_ms: 0,
            interval_ms: 100,
        }
    }
}

/// A directory that claims of one class are served from.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct StoragePoolSpec {
    pub storage_class: StorageClass,
    pub path: String,
    pub capacity_bytes: u64,
    pub check_interval_ms: u64,
    pub max_entries: usize,
}

impl Default for StoragePoolSpec {
    fn default() -> Self {
        Self {
            storage_class: StorageClass::Standard,
            path: String::new(),
            capacity_bytes: 0,
            check_interval_ms: 10_000,
            max_entries: 200_000,
        }
    }
}

/// What is recorded and written about requests.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TelemetrySpec {
    pub metrics: bool,
    pub log_level: String,
    pub log_format: String,
    pub otel: bool,
}

impl Default for TelemetrySpec {
    fn default() -> Self {
        Self {
            metrics: true,
            log_level: "warning".to_owned(),
            log_format: "text".to_owned(),
            otel: false,
        }
    }
}
