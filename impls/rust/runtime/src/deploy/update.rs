//! One update under way: it performs what the rollout core decides and reports to it what came of it.
//!
//! The rule: every instance that it starts or retires stands in its revision until it is closed, so nobody is left
//! behind on any way out; and the core alone decides what happens next.

use std::sync::Arc;
use std::time::Duration;

use crossfade_core::rollout_plan::{self, Reason, Step};
use crossfade_core::{Rollout, RolloutConfig};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::shadow::Watch;
use super::{Progress, aborted, gate, messages};
use crate::clock::{instant_at, now_ns};
use crate::config::{DeploySpec, ServerSpec, Strategy};
use crate::error::{Error, Result};
use crate::upstream::{Instance, Revision, Server};

const MILLI: u64 = 1_000_000;

/// What the tasks of an update, and the calls meanwhile, tell.
#[derive(Debug)]
pub(crate) enum Report {
    Ready,
    StartFailed(Error),
    Stopped,
    Revived,
    /// A candidate has answered a call, well or not.
    Sample(bool),
    /// A candidate's answer to a copy was the same, or not.
    Compared(bool),
}

struct Update {
    server: Arc<Server>,
    old: Arc<Revision>,
    new: Arc<Revision>,
    core: Rollout,
    drain: Duration,
    told: UnboundedSender<Report>,
    trouble: Option<Error>,
    /// New instances on their way through the gate.
    gates: JoinSet<()>,
    /// Old ones on their way in or out.
    moves: JoinSet<()>,
    verdict: Option<Result<(), Reason>>,
    /// As of the last look before the verdict.
    progress: Progress,
}

/// From the server's current revision to `new`; fails if it was rolled back: then the old one serves alone.
pub(super) async fn run(
    server: &Arc<Server>,
    new: &Arc<Revision>,
    strategy: Strategy,
    mut abort: watch::Receiver<bool>,
) -> Result<()> {
    let old = Arc::clone(&server.fleet().current);
    let spec = Arc::clone(&new.spec);
    let config = config(&spec.deploy, strategy, old.present().len(), spec.replicas());
    let (told, mut reports) = unbounded_channel();
    let mut update = Update {
        server: Arc::clone(server),
        new: Arc::clone(new),
        core: Rollout::new(config),
        drain: Duration::from_millis(spec.deploy.drain_ms),
        told,
        trouble: None,
        gates: JoinSet::new(),
        moves: JoinSet::new(),
        verdict: None,
        progress: Progress::default(),
        old,
    };
    server.propose(new, 0);
    update.drive(&mut reports, &mut abort).await;
    server.watch(None);
    while update.moves.join_next().await.is_some() {}
    match update.verdict {
        Some(Err(reason)) => Err(messages::rolled_back(
            &spec,
            &messages::Failure {
                reason,
                number: new.number,
                trouble: update.trouble.as_ref(),
                share: update.progress.share_percent,
                samples: update.progress.samples,
                failures: update.progress.failures,
            },
        )),
        _ => Ok(()),
    }
}

fn config(spec: &DeploySpec, strategy: Strategy, old: usize, new: usize) -> RolloutConfig {
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

impl Update {
    async fn drive(
        &mut self,
        reports: &mut UnboundedReceiver<Report>,
        abort: &mut watch::Receiver<bool>,
    ) {
        let steps = self.core.begin(now_ns());
        self.perform(steps);
        let mut asked = false;
        while self.verdict.is_none() {
            self.note();
            let due = self.core.next_deadline_ns();
            let late = async {
                match due {
                    Some(due) => tokio::time::sleep_until(instant_at(due).into()).await,
                    None => std::future::pending().await,
                }
            };
            let steps = tokio::select! {
                report = reports.recv() => self.take(report),
                () = aborted(abort), if !asked => {
                    asked = true;
                    self.core.abort(now_ns())
                }
                () = late => self.core.tick(now_ns()),
            };
            self.perform(steps);
        }
    }

    fn note(&mut self) {
        let core = &self.core;
        self.progress = Progress {
            desired: self.new.room(),
            share_percent: core.share(),
            samples: core.samples(),
            failures: core.failures(),
        };
        self.server.deployment.show(Some(self.progress));
    }

    fn take(&mut self, report: Option<Report>) -> Vec<Step> {
        let now = now_ns();
        match report {
            Some(Report::Ready) => self.core.ready(now),
            Some(Report::StartFailed(error)) => {
                self.trouble = Some(error);
                self.core.start_failed(now)
            }
            Some(Report::Stopped) => self.core.stopped(now),
            Some(Report::Revived) => self.core.revived(now),
            Some(Report::Sample(ok)) => {
                self.count(ok);
                self.core.sample(now, ok)
            }
            Some(Report::Compared(equal)) => {
                self.count(equal);
                self.core.compared(now, equal)
            }
            None => Vec::new(), // it holds a sender itself
        }
    }

    /// What the message of a failed step says: this report is in it.
    fn count(&mut self, ok: bool) {
        self.progress.samples += 1;
        self.progress.failures += u64::from(!ok);
    }

    fn perform(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Start(count) => self.start(count),
                Step::StartOld(count) => self.start_old(count),
                Step::Share(percent) => self.server.propose(&self.new, percent),
                // Calls wait by themselves while nobody serves.
                Step::Hold(_) | Step::Shadow(_) => {}
                Step::RetireOld(count) => self.retire_old(count),
                Step::RetireNew => self.retire_new(),
                Step::Done => {
                    self.server.install(Arc::clone(&self.new));
                    self.verdict = Some(Ok(()));
                }
                Step::RolledBack(reason) => {
                    self.server.withdraw();
                    self.verdict = Some(Err(reason));
                }
            }
        }
        let judging = self.core.phase() == rollout_plan::Phase::Judging;
        if judging != self.server.is_watched() {
            let copies = self.core.share() == 0;
            let watch = || Watch::new(self.told.clone(), Arc::clone(&self.new), copies);
            self.server.watch(judging.then(|| Arc::new(watch())));
        }
    }

    fn start(&mut self, count: usize) {
        for slot in self.new.free().into_iter().take(count) {
            let told = self.told.clone();
            let instance = match self.server.add(&self.new, slot) {
                Ok(instance) => instance,
                Err(error) => {
                    let _ = told.send(Report::StartFailed(error));
                    return;
                }
            };
            let (server, new) = (Arc::clone(&self.server), Arc::clone(&self.new));
            self.gates.spawn(async move {
                let report = match gate::pass(&new.spec, &instance).await {
                    Ok(()) => {
                        server.open(&new, &instance);
                        Report::Ready
                    }
                    Err(error) => Report::StartFailed(error),
                };
                let _ = told.send(report);
            });
        }
    }

    /// They served before, so they are asked only to start; one that does not is left to its supervision.
    fn start_old(&mut self, count: usize) {
        for slot in self.old.free().into_iter().take(count) {
            let told = self.told.clone();
            let (server, old) = (Arc::clone(&self.server), Arc::clone(&self.old));
            self.moves.spawn(async move {
                match server.add(&old, slot) {
                    Ok(instance) => {
                        let patience = Duration::from_millis(old.spec.start_timeout_ms);
                        // Whether it could be started shows when it is called.
                        let _ = instance
                            .link
                            .ready(std::time::Instant::now() + patience)
                            .await;
                        server.open(&old, &instance);
                    }
                    Err(error) => server.note_trouble(&error),
                }
                let _ = told.send(Report::Revived);
            });
        }
    }

    fn retire_old(&mut self, count: usize) {
        let serving = self.old.serving();
        for instance in serving.into_iter().rev().take(count) {
            let told = self.told.clone();
            self.leave(Arc::clone(&self.old), instance, move || {
                let _ = told.send(Report::Stopped);
            });
        }
    }

    fn retire_new(&mut self) {
        self.gates.abort_all();
        for instance in self.new.present() {
            self.leave(Arc::clone(&self.new), instance, || {});
        }
    }

    fn leave(
        &mut self,
        revision: Arc<Revision>,
        instance: Arc<Instance>,
        then: impl FnOnce() + Send + 'static,
    ) {
        if !self.server.retire(&revision, &instance) {
            return;
        }
        let (server, drain) = (Arc::clone(&self.server), self.drain);
        self.moves.spawn(async move {
            gate::drain(&server, &revision, &instance, drain).await;
            then();
        });
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
