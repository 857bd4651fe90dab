//! The error tree of the runtime, one variant per class of `crossfade.impls.errors`, told apart by `code()`.
//!
//! A message names the culprit and ends with the next action; `Remote` carries the server's own words untouched.

use bytes::Bytes;

/// What everything here returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error object of a server's answer, untouched.
#[derive(Clone, Debug)]
pub struct RemoteFault {
    /// `error.code`.
    pub code: i64,
    /// `error.message`.
    pub message: String,
    /// `error.data` as JSON text, if there was any.
    pub data: Option<Bytes>,
    /// The whole `error` object as the server sent it.
    pub raw: Bytes,
}

/// Everything that goes wrong on purpose.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("{message}")]
    Internal { message: String },
    #[error("{message}")]
    Config { message: String },
    #[error("{message}")]
    ServerNotFound { message: String, server: String },
    #[error("{message}")]
    ServerExists { message: String, server: String },
    #[error("{message}")]
    UnknownTarget {
        message: String,
        server: Option<String>,
    },
    #[error("{message}")]
    ManagerClosed { message: String },
    #[error("{message}")]
    AddressInUse { message: String },
    #[error("{message}")]
    ServerStart { message: String, server: String },
    #[error("{message}")]
    ServerCrashed { message: String, server: String },
    #[error("{message}")]
    ServerTimeout { message: String, server: String },
    #[error("{message}")]
    ProtocolViolation { message: String, server: String },
    #[error("{message}")]
    PoolTimeout { message: String, server: String },
    #[error("{message}")]
    CircuitOpen { message: String, server: String },
    #[error("{message}")]
    RateLimited {
        message: String,
        server: String,
        retry_after_ms: u64,
    },
    #[error("{message}")]
    BulkheadFull { message: String, server: String },
    #[error("{message}")]
    LoadShed { message: String, server: String },
    #[error("{message}")]
    ServerUnavailable { message: String, server: String },
    #[error("{message}")]
    CrashLoop { message: String, server: String },
    #[error("{message}")]
    StorageExhausted { message: String, server: String },
    #[error("{message}")]
    DeploymentFailed { message: String, server: String },
    #[error("{message}")]
    DeploymentBusy { message: String, server: String },
    #[error("{}", fault.message)]
    Remote {
        fault: Box<RemoteFault>,
        server: String,
    },
}

impl Error {
    /// Stable and machine-readable; equal to `code` of the Python class.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Internal { .. } => "error",
            Self::Config { .. } => "config",
            Self::ServerNotFound { .. } => "server_not_found",
            Self::ServerExists { .. } => "server_exists",
            Self::UnknownTarget { .. } => "unknown_target",
            Self::ManagerClosed { .. } => "manager_closed",
            Self::AddressInUse { .. } => "address_in_use",
            Self::ServerStart { .. } => "server_start",
            Self::ServerCrashed { .. } => "server_crashed",
            Self::ServerTimeout { .. } => "server_timeout",
            Self::ProtocolViolation { .. } => "protocol_violation",
            Self::PoolTimeout { .. } => "pool_timeout",
            Self::CircuitOpen { .. } => "circuit_open",
            Self::RateLimited { .. } => "rate_limited",
            Self::BulkheadFull { .. } => "bulkhead_full",
            Self::LoadShed { .. } => "load_shed",
            Self::ServerUnavailable { .. } => "server_unavailable",
            Self::CrashLoop { .. } => "crash_loop",
            Self::StorageExhausted { .. } => "storage_exhausted",
            Self::DeploymentFailed { .. } => "deployment_failed",
            Self::DeploymentBusy { .. } => "deployment_busy",
            Self::Remote { .. } => "remote",
        }
    }

    /// JSON-RPC code of the error that the gateway makes of it (`rpc_code` of the Python class).
    pub fn rpc_code(&self) -> i64 {
        match self {
            Self::Config { .. }
            | Self::ServerNotFound { .. }
            | Self::ServerExists { .. }
            | Self::UnknownTarget { .. }
            | Self::StorageExhausted { .. } => -32602,
            Self::Remote { fault, .. } => fault.code,
            _ => -32603,
        }
    }

    /// What a caller may do: `retry`, `failover`, `break` or `propagate`.
    pub fn recovery(&self) -> &'static str {
        match self {
            Self::ServerStart { .. }
            | Self::ServerCrashed { .. }
            | Self::CircuitOpen { .. }
            | Self::ServerUnavailable { .. } => "failover",
            Self::ServerTimeout { .. }
            | Self::ProtocolViolation { .. }
            | Self::CrashLoop { .. } => "break",
            Self::PoolTimeout { .. }
            | Self::RateLimited { .. }
            | Self::BulkheadFull { .. }
            | Self::LoadShed { .. }
            | Self::DeploymentBusy { .. } => "retry",
            _ => "propagate",
        }
    }

    /// The message alone.
    pub fn message(&self) -> String {
        self.to_string()
    }

    /// The server it is about, if it is about one.
    pub fn server(&self) -> Option<&str> {
        match self {
            Self::ServerNotFound { server, .. }
            | Self::ServerExists { server, .. }
            | Self::ServerStart { server, .. }
            | Self::ServerCrashed { server, .. }
            | Self::ServerTimeout { server, .. }
            | Self::ProtocolViolation { server, .. }
            | Self::PoolTimeout { server, .. }
            | Self::CircuitOpen { server, .. }
            | Self::RateLimited { server, .. }
            | Self::BulkheadFull { server, .. }
            | Self::LoadShed { server, .. }
            | Self::ServerUnavailable { server, .. }
            | Self::CrashLoop { server, .. }
            | Self::StorageExhausted { server, .. }
            | Self::DeploymentFailed { server, .. }
            | Self::DeploymentBusy { server, .. }
            | Self::Remote { server, .. } => Some(server),
            Self::UnknownTarget { server, .. } => server.as_deref(),
            _ => None,
        }
    }

    /// The server's own error object, for `code() == "remote"`.
    pub fn remote(&self) -> Option<&RemoteFault> {
        match self {
            Self::Remote { fault, .. } => Some(fault),
            _ => None,
        }
    }

    /// True if it counts against the breaker of the instance that was called.
    pub(crate) fn blames_server(&self) -> bool {
        matches!(
            self,
            Self::ServerStart { .. }
                | Self::CrashLoop { .. }
                | Self::ServerCrashed { .. }
                | Self::ServerTimeout { .. }
                | Self::ProtocolViolation { .. }
        )
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::Internal {
            message: message.into(),
        }
    }
}
