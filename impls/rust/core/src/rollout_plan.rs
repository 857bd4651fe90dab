//! Owns what an update is told: how many instances, in which manner, how patient; and the table of its phases.
//!
//! The course itself, with its laws, is in `rollout`.

/// How an update replaces the instances of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "replay",
    derive(serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Strategy {
    Recreate,
    Rolling,
    BlueGreen,
    Canary,
    Shadow,
}

/// Where an update stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    Idle,
    Emptying,
    Starting,
    Judging,
    Retiring,
    Reviving,
    Done,
    RolledBack,
}

impl Phase {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Emptying => "emptying",
            Self::Starting => "starting",
            Self::Judging => "judging",
            Self::Retiring => "retiring",
            Self::Reviving => "reviving",
            Self::Done => "done",
            Self::RolledBack => "rolled_back",
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    Hold,
    Start,
    Judge,
    Retire,
    Finish,
    Revive,
    GiveUp,
}

/// The transitions; an event that a phase does not have leaves it where it is.
pub(crate) const fn next(phase: Phase, event: Event) -> Phase {
    match (phase, event) {
        (Phase::Idle, Event::Hold) => Phase::Emptying,
        (Phase::Idle | Phase::Emptying, Event::Start) => Phase::Starting,
        (Phase::Starting, Event::Judge) => Phase::Judging,
        (Phase::Starting | Phase::Judging, Event::Retire) => Phase::Retiring,
        (Phase::Starting | Phase::Retiring, Event::Finish) => Phase::Done,
        (Phase::Emptying | Phase::Starting | Phase::Retiring, Event::Revive) => Phase::Reviving,
        (Phase::Emptying | Phase::Starting | Phase::Judging | Phase::Reviving, Event::GiveUp) => {
            Phase::RolledBack
        }
        (phase, _) => phase,
    }
}

/// Why an update was rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    StartFailed,
    GateTimeout,
    Failures,
    Differences,
    TooFewSamples,
    Aborted,
}

impl Reason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StartFailed => "start_failed",
            Self::GateTimeout => "gate_timeout",
            Self::Failures => "failures",
            Self::Differences => "differences",
            Self::TooFewSamples => "too_few_samples",
            Self::Aborted => "aborted",
        }
    }
}

/// What the shell must do, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Start so many candidates.
    Start(usize),
    /// Start so many old instances again.
    StartOld(usize),
    /// So many percent of the calls go to candidates, the others to old instances.
    Share(u8),
    /// Copies of safe reads go to candidates.
    Shadow(bool),
    /// Calls wait.
    Hold(bool),
    /// Drain and close so many old instances.
    RetireOld(usize),
    /// Close all candidates, started or still starting.
    RetireNew,
    Done,
    RolledBack(Reason),
}

/// `old` instances run, `new` are wanted (at least 1). `old` 0 is a first deployment: nothing is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "replay",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct RolloutConfig {
    pub strategy: Strategy,
    pub old: usize,
    pub new: usize,
    pub max_surge: usize,
    pub steps_percent: Vec<u8>,
    pub min_samples: u64,
    pub step_timeout_ns: u64,
    pub max_failure_per_mille: u64,
    pub gate_timeout_ns: u64,
    pub drain_ns: u64,
}

impl Default for RolloutConfig {
    fn default() -> Self {
        Self {
            strategy: Strategy::Rolling,
            old: 1,
            new: 1,
            max_surge: 1,
            steps_percent: vec![5, 25, 50],
            min_samples: 20,
            step_timeout_ns: 60_000_000_000,
            max_failure_per_mille: 50,
            gate_timeout_ns: 30_000_000_000,
            drain_ns: 10_000_000_000,
        }
    }
}
