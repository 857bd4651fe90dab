//! Owns what a pool is told and what it says: its configuration, and the actions that a shell performs in order.

/// Why the pool closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    Idle,
    MaxAge,
    Unusable,
    Draining,
    Shrunk,
}

impl CloseReason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::MaxAge => "max_age",
            Self::Unusable => "unusable",
            Self::Draining => "draining",
            Self::Shrunk => "shrunk",
        }
    }
}

/// Why a waiter gets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectReason {
    QueueFull,
    Deadline,
    ConnectFailed,
    Draining,
}

impl RejectReason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Deadline => "deadline",
            Self::ConnectFailed => "connect_failed",
            Self::Draining => "draining",
        }
    }
}

/// What the shell must do, in order. A connection named in `Close` is used by nobody and forgotten by the pool already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Connect { conn: u64 },
    Close { conn: u64, reason: CloseReason },
    Grant { waiter: u64, conn: u64 },
    Reject { waiter: u64, reason: RejectReason },
}

/// `streams`: leases per connection. `idle_timeout_ns` and `max_age_ns` 0: never.
/// `min_connections` is at most `max_connections`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "replay",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct PoolConfig {
    pub min_connections: usize,
    pub max_connections: usize,
    pub max_waiters: usize,
    pub streams: usize,
    pub idle_timeout_ns: u64,
    pub max_age_ns: u64,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            min_connections: 0,
            max_connections: 64,
            max_waiters: 1024,
            streams: 1,
            idle_timeout_ns: 60_000_000_000,
            max_age_ns: 0,
        }
    }
}
