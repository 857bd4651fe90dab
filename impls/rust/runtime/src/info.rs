//! Snapshots of servers and instances, field for field as `crossfade.impls.api` has them.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::config::TransportKind;

/// `legacy` shakes hands and may keep a session; `modern` is stateless.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Era {
    Legacy,
    Modern,
}

/// Where a server stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum ServerState {
    Initializing,
    Healthy,
    Degraded,
    Unhealthy,
    Maintenance,
    Stopped,
}

impl ServerState {
    /// The name in events, metrics and Python.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
            Self::Maintenance => "maintenance",
            Self::Stopped => "stopped",
        }
    }

    pub(crate) fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Initializing,
            1 => Self::Healthy,
            2 => Self::Degraded,
            3 => Self::Unhealthy,
            4 => Self::Maintenance,
            _ => Self::Stopped,
        }
    }
}

/// State of one instance's breaker.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CircuitState {
    Closed,
    Open,
    HalfOpen,
}

impl CircuitState {
    /// The name in events, metrics and Python.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// One running replica.
#[derive(Clone, Debug, Serialize)]
pub struct InstanceInfo {
    pub index: usize,
    pub state: ServerState,
    pub circuit: CircuitState,
    pub era: Option<Era>,
    pub pid: Option<u32>,
    pub url: Option<String>,
    pub connections: usize,
    pub in_flight: usize,
    pub ewma_ns: u64,
    pub revision: u32,
    pub restarts: u64,
    pub directory: Option<String>,
}

/// One registered server.
#[derive(Clone, Debug, Serialize)]
pub struct ServerInfo {
    pub name: String,
    pub transport: TransportKind,
    pub state: ServerState,
    pub era: Option<Era>,
    pub protocol_version: Option<String>,
    pub server_name: Option<String>,
    pub server_version: Option<String>,
    pub capabilities: Option<Box<RawValue>>,
    pub tags: Vec<String>,
    pub instances: Vec<InstanceInfo>,
    pub last_error: Option<String>,
}
