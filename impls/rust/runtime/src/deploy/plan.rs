//! What an update is told: the configuration of its core, and the names of strategies.

use crossfade_core::RolloutConfig;
use crossfade_core::rollout_plan;

use crate::config::{DeploySpec, ServerSpec, Strategy};
use crate::error::{Error, Result};

const MILLI: u64 = 1_000_000;

pub(super) fn config(
    spec: &DeploySpec,
    strategy: Strategy,
    old: usize,
    new: usize,
) -> RolloutConfig {
    let percent = |&step: &u32| u8::try_from(step.min(100)).unwrap_or(100);
    RolloutConfig {
        strategy: match strategy {
            Strategy::Recreate => rollout_plan::Strategy::Recreate,
            Strategy::Rolling => rollout_plan::Strategy::Rolling,
            Strategy::BlueGreen => rollout_plan::Strategy::BlueGreen,
            Strategy::Canary => rollout_plan::Strategy::Canary,
            Strategy::Shadow => rollout_plan::Strategy::Shadow,
        },
        old,
        new,
        max_surge: spec.max_surge as usize,
        steps_percent: spec.steps_percent.iter().map(percent).collect(),
        min_samples: u64::from(spec.min_samples),
        step_timeout_ns: spec.step_timeout_ms * MILLI,
        max_failure_per_mille: u64::from(spec.max_failure_per_mille),
        gate_timeout_ns: spec.gate_timeout_ms * MILLI,
        drain_ns: spec.drain_ms * MILLI,
    }
}

/// The strategy of that name, or the one that the specification says.
pub(crate) fn strategy_of(name: Option<&str>, spec: &ServerSpec) -> Result<Strategy> {
    match name {
        None => Ok(spec.deploy.strategy),
        Some("recreate") => Ok(Strategy::Recreate),
        Some("rolling") => Ok(Strategy::Rolling),
        Some("blue_green") => Ok(Strategy::BlueGreen),
        Some("canary") => Ok(Strategy::Canary),
        Some("shadow") => Ok(Strategy::Shadow),
        Some(other) => Err(Error::Config {
            message: format!(
                "strategy '{other}' is unknown; choose one of recreate, rolling, blue_green, canary, shadow"
            ),
        }),
    }
}
