//! The module `crossfade_native`: glue between the crates and Python, and nothing else.

#![allow(missing_debug_implementations)] // what is public here is a Python class and has a `__repr__`

use pyo3::prelude::*;

mod bridge;
mod cores;
mod errors;
mod faces;
mod info;
mod load;
mod manager;
mod probe;
mod process;
mod translation;

/// The Rust side of crossfade: the manager on tokio, the policy cores, the load generator. Use it through
/// `crossfade.impls.open_manager(config, "rust")`.
#[pymodule]
mod _native {
    #[pymodule_export]
    const ABI: u32 = super::info::ABI;

    #[pymodule_export]
    use super::bridge::{Coroutine, Inbox, Waiter};
    #[pymodule_export]
    use super::cores::{
        Breaker, Bulkhead, CoreReplay, Gcra, Health, Hedge, KeyedLimiter, LeastPending, P2c, Pool,
        Rendezvous, Restart, Retry, RoundRobin, Shedder, SplitMix64, Weighted, policy_bench,
    };
    #[pymodule_export]
    use super::faces::{Gateway, Logs, Subscription};
    #[pymodule_export]
    use super::info::build_info;
    #[pymodule_export]
    use super::load::{fleet_http, fleet_stdio, load_run};
    #[pymodule_export]
    use super::manager::Manager;
    #[pymodule_export]
    use super::probe::{bridge_probe, bridge_probes_running};
    #[pymodule_export]
    use super::translation::translation_step;
}
