//! The tokio shell of the `rust` variant: registry, upstreams, gateway. It knows nothing of Python.
//!
//! Policy (pool, breaker, balancer) lives in `crossfade-core`; this crate only performs what the cores decide.
//! Public items are what `crossfade-native` binds; everything else is private to the crate.

mod annotations;
mod clock;
mod config;
mod deploy;
mod eager;
mod envelope;
mod error;
mod events;
mod filters;
mod gateway;
mod info;
mod listing;
mod logs;
mod manager;
mod metrics;
mod names;
mod news;
mod principal;
mod reads;
mod registry;

pub mod replay;
mod route;
#[cfg(test)]
mod states;
mod storage;
mod translate;
mod upstream;
#[cfg(test)]
mod vectors;
mod wire;

pub use config::{
    BalancerKind, BreakerSpec, BulkheadSpec, Config, EraSpec, GatewaySpec, HedgeSpec, PoolSpec,
    RetrySpec, ServerSpec, TransportKind,
};
pub use deploy::{DeploymentInfo, DeploymentState};
pub use eager::eagerly;
pub use error::{Error, RemoteFault, Result};
pub use events::{Event, EventKind, Subscription};
pub use info::{CircuitState, Era, InstanceInfo, ServerInfo, ServerState};
pub use logs::{Level, LogFeed, LogLine};
pub use manager::{GatewayHandle, ListKind, Manager, Target};
pub use metrics::{LatencySummary, MetricsSnapshot, ServerCounters};
pub use registry::Wanted;
pub use storage::StorageInfo;
pub use upstream::child::kill_children;
