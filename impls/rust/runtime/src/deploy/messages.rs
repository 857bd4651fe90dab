//! What is said when a deployment is refused or fails: which gate, why, and what to do.

use crossfade_core::rollout_plan::Reason;

use super::DeploymentState;
use crate::config::ServerSpec;
use crate::error::Error;

/// The most instances that a server may have, as `crossfade.impls.config.MAX_INSTANCES`.
const MAX_INSTANCES: u64 = 256;

pub(super) fn busy(server: &str, state: DeploymentState) -> Error {
    Error::DeploymentBusy {
        message: format!(
            "server '{server}' is {} already; wait for it, or call rollback('{server}')",
            state.as_str()
        ),
        server: server.to_owned(),
    }
}

pub(super) fn failed(server: &str, message: String) -> Error {
    Error::DeploymentFailed {
        message,
        server: server.to_owned(),
    }
}

/// A number of instances that nobody can mean.
pub(crate) fn check_replicas(server: &str, count: u64) -> Result<usize, Error> {
    match usize::try_from(count) {
        Ok(fine) if (1..=MAX_INSTANCES).contains(&count) => Ok(fine),
        _ => Err(Error::Config {
            message: format!(
                "server '{server}': {count} instances are out of range; choose 1 to {MAX_INSTANCES}"
            ),
        }),
    }
}

/// Where an update stood when it failed.
#[derive(Debug)]
pub(super) struct Failure<'a> {
    pub(super) reason: Reason,
    pub(super) number: u32,
    pub(super) trouble: Option<&'a Error>,
    pub(super) share: u8,
    pub(super) samples: u64,
    pub(super) failures: u64,
}

/// The gate that was not passed, and what to do.
pub(super) fn rolled_back(spec: &ServerSpec, failure: &Failure<'_>) -> Error {
    let (samples, failures) = (failure.samples, failure.failures);
    let limit = spec.deploy.max_failure_per_mille;
    let why = match failure.reason {
        Reason::StartFailed => format!(
            "gate start: {}; fix its specification and update again",
            failure.trouble.map(Error::message).unwrap_or_default()
        ),
        Reason::GateTimeout => format!(
            "gate health: not every new instance was healthy within {} ms; look at the server, or raise deploy.gateTimeoutMs",
            spec.deploy.gate_timeout_ms
        ),
        Reason::Failures => format!(
            "gate canary at {} % of the traffic: {failures} of {samples} answers failed, {limit} per mille may; look at the new revision",
            failure.share
        ),
        Reason::Differences => format!(
            "gate shadow: {failures} of {samples} copied answers differed, {limit} per mille may; look at the new revision"
        ),
        Reason::TooFewSamples => too_few(spec, failure),
        Reason::Aborted => "it was aborted; update again when you want it".to_owned(),
    };
    failed(
        &spec.name,
        format!(
            "server '{}': revision {} was rolled back: {why}",
            spec.name, failure.number
        ),
    )
}

fn too_few(spec: &ServerSpec, failure: &Failure<'_>) -> String {
    // A shadow gets no share.
    let (gate, copied) = match failure.share {
        0 => ("shadow".to_owned(), "copied "),
        share => (format!("canary at {share} % of the traffic"), ""),
    };
    format!(
        "gate {gate}: {} of the {} {copied}answers that judge it came within {} ms; lower deploy.minSamples (0 for a server that nobody asks), raise deploy.stepTimeoutMs, or choose another strategy",
        failure.samples, spec.deploy.min_samples, spec.deploy.step_timeout_ms
    )
}
