//! Policy without I/O. A core takes `now_ns` and a seed, decides, and returns what the shell must do.
//!
//! Rule: nothing in this crate reads a clock, a socket, the environment or a log, and it depends on neither tokio nor
//! pyo3. `impls/crossfade/impls/cores` holds the same cores in Python; both replay `impls/vectors` exactly, and
//! `impls/vectors/SCHEMA.md` pins every tie and rounding. All cores are single-threaded (`&mut self`), and a shell keeps
//! them behind its locks. What threads share without one is here, too, where loom runs every order of their steps:
//! [`Histogram`] and [`Holders`], `RUSTFLAGS="--cfg loom" cargo test -p crossfade-core --lib`.
#![forbid(unsafe_code)]

pub mod actions;
pub mod balancer;
pub mod bench_ops;
pub mod breaker;
pub mod bulkhead;
pub mod cache;
pub mod health;
pub mod hedge;
pub mod histogram;
pub mod holders;
mod ids;
pub mod limiter;
pub mod mask;
mod order;
pub mod pool;
#[cfg(feature = "replay")]
pub mod replay;
pub mod restart;
pub mod retry;
pub mod rng;
pub mod rollout;
pub mod rollout_plan;
pub mod shedder;
pub mod sketch;
mod waiters;

pub use actions::{Action, CloseReason, PoolConfig, RejectReason};
pub use balancer::{Balance, Balancer, LeastPending, P2c, Rendezvous, RoundRobin, Weighted};
pub use breaker::{Breaker, BreakerConfig, CircuitState};
pub use bulkhead::{Bulkhead, BulkheadConfig};
pub use cache::{Cache, CacheConfig};
pub use health::{Health, HealthConfig};
pub use hedge::{Hedge, HedgeConfig};
pub use histogram::Histogram;
pub use holders::Holders;
pub use limiter::{Gcra, KeyedLimiter, RateLimitConfig};
pub use mask::Mask;
pub use pool::Pool;
pub use restart::{Restart, RestartConfig};
pub use retry::{Retry, RetryConfig};
pub use rng::SplitMix64;
pub use rollout::Rollout;
pub use rollout_plan::RolloutConfig;
pub use shedder::{ShedConfig, Shedder};
pub use sketch::LatencySketch;
