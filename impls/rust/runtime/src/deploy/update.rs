//! One update under way: it performs what the rollout core decides and reports to it what came of it.
//!
//! The rule: every instance that it starts or retires stands in its revision until it is closed, so nobody is left
//! behind on any way out; and the core alone decides what happens next.

use std::sync::Arc;
use std::time::Duration;

use crossfade_core::Rollout;
use crossfade_core::rollout_plan::{self, Reason, Step};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::shadow::Watch;
use super::work::aborted;
use super::{Progress, gate, messages, plan};
use crate::clock::{instant_at, now_ns};
use crate::config::Strategy;
use crate::error::{Error, Result};
use crate::upstream::{Instance, Revision, Server};

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
    strategy: Strategy,
    core: Rollout,
    drain: Duration,
    told: UnboundedSender<Report>,
    trouble: Option<Error>,
    gates: JoinSet<()>,
    moves: JoinSet<()>,
    /// Candidates on their way out.
    closing: watch::Sender<usize>,
    verdict: Option<Result<(), Reason>>,
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
    let config = plan::config(&spec.deploy, strategy, old.present().len(), spec.replicas());
    let (told, mut reports) = unbounded_channel();
    let mut update = Update {
        server: Arc::clone(server),
        new: Arc::clone(new),
        strategy,
        core: Rollout::new(config),
        drain: Duration::from_millis(spec.deploy.drain_ms),
        told,
        trouble: None,
        gates: JoinSet::new(),
        moves: JoinSet::new(),
        closing: watch::Sender::new(0),
        verdict: None,
        progress: Progress::default(),
        old,
    };
    server.propose(new, 0);
    update.drive(&mut reports, &mut abort).await;
    server.watch(None);
    while update.moves.join_next().await.is_some() {}
    let claim = server.fleet().current.spec.storage.clone();
    if !claim.is_some_and(|claim| claim.keep) {
        server.shared.storage.forget(server.name()).await;
    }
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

    /// The message of a failed step counts this report, too.
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
            let mut closing = self.closing.subscribe();
            let alone = self.strategy == Strategy::Recreate;
            self.moves.spawn(async move {
                if alone {
                    // Never two revisions at once; the sender lives as long as the update.
                    let _ = closing.wait_for(|left| *left == 0).await;
                }
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
            let drain = self.drain;
            self.leave(Arc::clone(&self.old), instance, drain, move || {
                let _ = told.send(Report::Stopped);
            });
        }
    }

    fn retire_new(&mut self) {
        self.gates.abort_all();
        let called = self.new.serving();
        for instance in self.new.present() {
            // Whoever never got a call is not drained.
            let drain = if called.iter().any(|called| Arc::ptr_eq(called, &instance)) {
                self.drain
            } else {
                Duration::ZERO
            };
            self.closing.send_modify(|left| *left += 1);
            let closing = self.closing.clone();
            self.leave(Arc::clone(&self.new), instance, drain, move || {
                closing.send_modify(|left| *left -= 1);
            });
        }
    }

    fn leave(
        &mut self,
        revision: Arc<Revision>,
        instance: Arc<Instance>,
        drain: Duration,
        then: impl FnOnce() + Send + 'static,
    ) {
        if !self.server.retire(&revision, &instance) {
            then();
            return;
        }
        let server = Arc::clone(&self.server);
        self.moves.spawn(async move {
            // Its directory goes on to the next one: to a candidate, or after a rollback to its own revision.
            gate::drain(&server, &revision, &instance, drain, Some(true)).await;
            then();
        });
    }
}
