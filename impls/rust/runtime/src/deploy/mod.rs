//! What is deployed under one name: its revisions by number, its state, and the one change that may be under way.
//!
//! The rule: one change at a time; it runs in a task of its own, and whoever waits for it may go away: then it is undone
//! and ends in one of the states at rest. An update is in `update`, a change of number in `scaling`, the door that every
//! new instance passes in `gate`, copies of reads in `shadow`, the task in `work`.

mod gate;
mod messages;
mod plan;
mod scaling;
mod shadow;
mod state;
pub(crate) mod update;
mod work;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::clock::lock;
use crate::config::{ServerSpec, Strategy};
use crate::error::Result;
use crate::events::EventKind;
use crate::info::ServerState;
use crate::manager::Inner;
use crate::upstream::Server;
pub(crate) use messages::check_replicas;
pub(crate) use plan::strategy_of;
pub(crate) use shadow::Watch;
pub(crate) use state::Progress;
pub use state::{DeploymentInfo, DeploymentState};
use work::{Work, ended};

/// How many revisions `rollback` can go back.
const HISTORY: usize = 10;

#[derive(Debug)]
struct Book {
    state: DeploymentState,
    strategy: Option<Strategy>,
    message: Option<String>,
    /// Revisions that served before, newest last.
    history: VecDeque<(u32, Arc<ServerSpec>)>,
    numbers: u32,
    progress: Option<Progress>,
    work: Option<Work>,
}

/// The deployment of one server.
#[derive(Debug)]
pub(crate) struct Deployment {
    book: Mutex<Book>,
}

impl Deployment {
    pub(crate) fn new(state: DeploymentState) -> Self {
        Self {
            book: Mutex::new(Book {
                state,
                strategy: None,
                message: None,
                history: VecDeque::new(),
                numbers: 1,
                progress: None,
                work: None,
            }),
        }
    }

    fn set_message(&self, message: Option<String>) {
        lock(&self.book).message = message;
    }

    /// Shows how far an update is; `None`: none is under way.
    pub(crate) fn show(&self, progress: Option<Progress>) {
        lock(&self.book).progress = progress;
    }

    /// The revision that `rollback` goes back to.
    pub(crate) fn previous(&self) -> Option<(u32, Arc<ServerSpec>)> {
        lock(&self.book).history.back().cloned()
    }

    fn work(&self) -> Option<Work> {
        lock(&self.book).work.clone()
    }

    /// Undoes what is under way and waits for it; false if nothing is.
    pub(crate) async fn abort(&self) -> bool {
        let Some(work) = self.work() else {
            return false;
        };
        work.abort.send_replace(true);
        ended(work).await;
        true
    }

    /// Waits until nothing is under way.
    pub(crate) async fn settled(&self) {
        if let Some(work) = self.work() {
            ended(work).await;
        }
    }
}

impl Server {
    pub(crate) fn set_deployment(&self, new: DeploymentState) {
        let old = std::mem::replace(&mut lock(&self.deployment.book).state, new);
        if old != new {
            self.shared.events.send(
                EventKind::Deployment,
                self.name(),
                Some(old.as_str()),
                Some(new.as_str()),
            );
        }
    }

    /// Fails while something is under way.
    pub(crate) fn check_idle(&self) -> Result<()> {
        let book = lock(&self.deployment.book);
        match book.work {
            Some(_) => Err(messages::busy(self.name(), book.state)),
            None => Ok(()),
        }
    }

    /// Replaces the current revision; an empty one is a first deployment, and if that fails `manager` forgets the server.
    /// `number` is of an older revision to return to.
    pub(crate) async fn roll_out(
        self: &Arc<Self>,
        spec: Arc<ServerSpec>,
        strategy: Strategy,
        number: Option<u32>,
        manager: Option<Arc<Inner>>,
    ) -> Result<()> {
        let server = Arc::clone(self);
        let abort = self.begin_work(|book| {
            book.strategy = Some(strategy);
            book.message = None;
        })?;
        let first = self.fleet().current.number == 0;
        let state = if first {
            DeploymentState::Starting
        } else {
            DeploymentState::Updating
        };
        let number_of_new = {
            let mut book = lock(&self.deployment.book);
            if number.is_none() && !first {
                book.numbers += 1;
            }
            number.unwrap_or(book.numbers)
        };
        self.set_deployment(state);
        self.conduct(abort, move |abort| async move {
            let old = Arc::clone(&server.fleet().current);
            let new = server.revise(number_of_new, spec);
            let verdict = update::run(&server, &new, strategy, abort).await;
            server.deployment.show(None);
            match verdict {
                Ok(()) => {
                    let mut book = lock(&server.deployment.book);
                    if number.is_some() {
                        book.history.pop_back();
                    } else if !first {
                        if book.history.len() == HISTORY {
                            book.history.pop_front();
                        }
                        book.history.push_back((old.number, old.spec_now()));
                    }
                    drop(book);
                    server.set_state(ServerState::Healthy, None);
                    server.set_deployment(DeploymentState::Running);
                    Ok(())
                }
                Err(error) => {
                    server.deployment.set_message(Some(error.message()));
                    server.set_deployment(if first {
                        DeploymentState::Failed
                    } else {
                        DeploymentState::RolledBack
                    });
                    if let Some(manager) = manager {
                        manager.forget(&server).await;
                    }
                    Err(error)
                }
            }
        })
        .await
    }

    /// Changes the number of instances.
    pub(crate) async fn scale_to(self: &Arc<Self>, count: usize) -> Result<()> {
        let server = Arc::clone(self);
        let abort = self.begin_work(|book| {
            book.strategy = None;
            book.message = None;
        })?;
        self.set_deployment(DeploymentState::Scaling);
        self.conduct(abort, move |mut abort| async move {
            let verdict = scaling::run(&server, count, &mut abort).await;
            let end = match &verdict {
                Ok(()) => DeploymentState::Running,
                Err(error) => {
                    server.deployment.set_message(Some(error.message()));
                    DeploymentState::RolledBack
                }
            };
            server.set_deployment(end);
            verdict
        })
        .await
    }

    /// The server goes: whoever works on it stops, and what it started stays to be closed with the others.
    pub(crate) async fn end_deployment(&self) {
        if let Some(work) = self.deployment.work() {
            if let Some(task) = &work.task {
                task.abort();
            }
            ended(work).await;
        }
        self.set_deployment(DeploymentState::Stopping);
    }

    /// What `Manager::deployments` shows.
    pub(crate) fn deployment_info(&self) -> DeploymentInfo {
        let fleet = self.fleet();
        let book = lock(&self.deployment.book);
        let progress = book.progress.unwrap_or_default();
        DeploymentInfo {
            name: self.name().to_owned(),
            state: book.state,
            revision: fleet.current.number,
            desired: match book.progress {
                Some(progress) => progress.desired,
                None => fleet.current.room(),
            },
            ready: fleet
                .revisions()
                .map(|revision| revision.serving().len())
                .sum(),
            strategy: book.strategy,
            candidate: fleet
                .candidate
                .as_ref()
                .map(|candidate| candidate.revision.number),
            share_percent: progress.share_percent,
            samples: progress.samples,
            failures: progress.failures,
            previous: book.history.back().map(|(number, _)| *number),
            message: book.message.clone(),
        }
    }
}
