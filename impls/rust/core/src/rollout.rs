//! Owns the course of an update: when candidates start, how much traffic they get, when the old instances go.
//!
//! The theory. An update replaces `old` instances by `new` candidates. The shell starts, probes, drains and closes; the
//! core is told of it and answers with the next steps. Phases and what leads from one to the next are one table, in
//! `rollout_plan`. A share of s means that s percent of the calls go to candidates and 100 - s to the old instances.
//!
//! - recreate: hold the calls, retire all old, start all new, share 100, let go.
//! - rolling: start `max_surge` candidates at a time; each one that is ready takes its part of the traffic, and lets so
//!   many old ones retire that the sum runs straight from `old` to `new`; at most max(old, new) + `max_surge` live.
//! - blue-green: start all new, share 100, retire all old.
//! - canary: start all new; one share after the other of `steps_percent`, each judged by the candidates' answers.
//! - shadow: start all new; judge by comparing their answers to copies of safe reads; then as blue-green.
//!
//! The laws, for a shell that reports truly:
//!
//! 1. Calls never go to nobody: share > 0 only with a ready candidate, share < 100 only with an old instance (or held).
//! 2. Old instances and ready candidates together never fall below min(old, new), but in recreate while calls are held.
//! 3. Every run ends, in `Done` or in `RolledBack`: each phase has a deadline.
//! 4. After `RolledBack` all old instances are there again, after `Done` all new ones; nobody is held or shadowed.
//! 5. No step is passed on fewer than `min_samples` reports: who is not asked proves nothing.
//! 6. No clock, no floats; a limit is reached on the nanosecond.

mod course;

use crate::rollout_plan::{Event, Phase, Reason, RolloutConfig, Step, Strategy};

type Steps = Vec<Step>;

/// One update, from `begin` to `Done` or `RolledBack`. A report that its phase does not expect is ignored.
#[derive(Debug)]
pub struct Rollout {
    config: RolloutConfig,
    /// Of what the deadline is counted from: the last start, retirement or step.
    begun_ns: u64,
    reason: Reason,
    step: usize,
    phase: Phase,
    share: u8,
    starting: usize,
    ready_new: usize,
    old_live: usize,
    retiring: usize,
    samples: u64,
    failures: u64,
}

impl Rollout {
    pub fn new(config: RolloutConfig) -> Self {
        Self {
            begun_ns: 0,
            reason: Reason::Aborted,
            step: 0,
            phase: Phase::Idle,
            share: 0,
            starting: 0,
            ready_new: 0,
            old_live: config.old,
            retiring: 0,
            samples: 0,
            failures: 0,
            config,
        }
    }

    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The candidates' percent of the calls.
    pub const fn share(&self) -> u8 {
        self.share
    }

    pub const fn starting(&self) -> usize {
        self.starting
    }

    pub const fn ready_new(&self) -> usize {
        self.ready_new
    }

    pub const fn old_live(&self) -> usize {
        self.old_live
    }

    pub const fn retiring(&self) -> usize {
        self.retiring
    }

    /// Answers (or comparisons) in the present step.
    pub const fn samples(&self) -> u64 {
        self.samples
    }

    pub const fn failures(&self) -> u64 {
        self.failures
    }

    // -- what the shell reports

    /// Starts the update.
    pub fn begin(&mut self, now_ns: u64) -> Steps {
        if self.phase != Phase::Idle {
            return Vec::new();
        }
        if self.config.strategy != Strategy::Recreate {
            return self.start(now_ns);
        }
        self.go(Event::Hold);
        let mut steps = vec![Step::Hold(true)];
        let retired = self.retire(now_ns, self.old_live);
        if retired.is_empty() {
            steps.extend(self.start(now_ns));
        } else {
            steps.extend(retired);
        }
        steps
    }

    /// One candidate passed its health gate.
    pub fn ready(&mut self, now_ns: u64) -> Steps {
        if self.phase != Phase::Starting || self.starting == 0 {
            return Vec::new();
        }
        self.starting -= 1;
        self.ready_new += 1;
        if self.config.strategy == Strategy::Rolling {
            self.roll(now_ns)
        } else if self.ready_new == self.config.new {
            self.gated(now_ns)
        } else {
            Vec::new()
        }
    }

    /// One candidate ended, or said that it cannot serve, before it was ready.
    pub fn start_failed(&mut self, now_ns: u64) -> Steps {
        if self.phase == Phase::Starting && self.starting > 0 {
            self.roll_back(now_ns, Reason::StartFailed)
        } else {
            Vec::new()
        }
    }

    /// One old instance is drained and closed.
    pub fn stopped(&mut self, now_ns: u64) -> Steps {
        if self.retiring == 0 || self.phase == Phase::Reviving {
            return Vec::new();
        }
        self.retiring -= 1;
        match self.phase {
            Phase::Starting => self.start(now_ns),
            _ if self.retiring > 0 => Vec::new(),
            Phase::Emptying => self.start(now_ns),
            _ => self.finish(),
        }
    }

    /// One old instance that `StartOld` asked for is there again (or given to the supervisor, if it failed).
    pub fn revived(&mut self, _now_ns: u64) -> Steps {
        if self.phase != Phase::Reviving {
            return Vec::new();
        }
        self.old_live += 1;
        if self.old_live == self.config.old {
            self.give_up()
        } else if self.config.strategy == Strategy::Rolling {
            self.shift(self.part())
        } else {
            Vec::new()
        }
    }

    /// A candidate answered a call, well or not. Counts in a canary's step.
    pub fn sample(&mut self, now_ns: u64, ok: bool) -> Steps {
        self.judge(now_ns, ok, Strategy::Canary)
    }

    /// A candidate's answer to a copy was compared with the answer that was given. Counts for shadow.
    pub fn compared(&mut self, now_ns: u64, equal: bool) -> Steps {
        self.judge(now_ns, equal, Strategy::Shadow)
    }

    /// Somebody wants the old revision back.
    pub fn abort(&mut self, now_ns: u64) -> Steps {
        self.roll_back(now_ns, Reason::Aborted)
    }

    /// Time has passed.
    pub fn tick(&mut self, now_ns: u64) -> Steps {
        if self.next_deadline_ns().is_none_or(|due| now_ns < due) {
            return Vec::new();
        }
        match self.phase {
            Phase::Judging if self.samples < self.config.min_samples => {
                self.roll_back(now_ns, self.blame())
            }
            Phase::Judging => self.step_over(now_ns), // only a minimum of 0 is reached without a report
            Phase::Reviving => {
                self.old_live = self.config.old;
                self.give_up()
            }
            Phase::Starting if self.starting > 0 => self.roll_back(now_ns, Reason::GateTimeout),
            phase => {
                self.retiring = 0; // whoever is not closed by now is not waited for
                if phase == Phase::Retiring {
                    self.finish()
                } else {
                    self.start(now_ns)
                }
            }
        }
    }

    /// When `tick` will decide something by itself.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        let config = &self.config;
        let patience = match self.phase {
            Phase::Idle | Phase::Done | Phase::RolledBack => return None,
            Phase::Judging => config.step_timeout_ns,
            Phase::Reviving => config.gate_timeout_ns,
            Phase::Starting if self.starting > 0 => config.gate_timeout_ns,
            _ => config.drain_ns.saturating_add(config.gate_timeout_ns),
        };
        Some(self.begun_ns.saturating_add(patience))
    }
}
