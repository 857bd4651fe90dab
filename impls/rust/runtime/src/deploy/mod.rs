//! What is deployed under one name: its revisions by number, its state, and the one change that may be under way.
//!
//! The rule: one change at a time; it runs in a task of its own, and whoever waits for it may go away: then it is undone
//! and ends in one of the states at rest. An update is in `update`, a change of number in `scaling`, the door that every
//! new instance passes in `gate`, copies of reads in `shadow`.

mod gate;
mod messages;
pub(crate) mod scaling;
mod shadow;
pub(crate) mod update;

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex};

use serde::Serialize;
use tokio::sync::watch;

use crate::clock::lock;
use crate::config::{ServerSpec, Strategy};
use crate::error::{Error, Result};
use crate::events::EventKind;
use crate::info::ServerState;
use crate::manager::Inner;
use crate::upstream::Server;
pub(crate) use messages::check_replicas;
pub(crate) use shadow::Watch;
pub(crate) use update::strategy_of;

/// How many revisions `rollback` can go back.
const HISTORY: usize = 10;

/// Where the deployment of a server stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentState {
    Pending,
    Starting,
    Running,
    Updating,
    Scaling,
    Stopping,
    Stopped,
    Failed,
    RolledBack,
}

impl DeploymentState {
    /// The name in events and Python.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Updating => "updating",
            Self::Scaling => "scaling",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
        }
    }
}

/// A snapshot of one server's deployment, as `crossfade.impls.snapshots.DeploymentInfo`.
#[derive(Clone, Debug, Serialize)]
pub struct DeploymentInfo {
    pub name: String,
    pub state: DeploymentState,
    pub revision: u32,
    pub desired: usize,
    pub ready: usize,
    pub strategy: Option<Strategy>,
    pub candidate: Option<u32>,
    pub share_percent: u8,
    pub samples: u64,
    pub failures: u64,
    pub previous: Option<u32>,
    pub message: Option<String>,
}

/// How far the update under way has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) desired: usize,
    pub(crate) share_percent: u8,
    pub(crate) samples: u64,
    pub(crate) failures: u64,
}

/// A change under way: how to have it undone, how to end it at once, and how to know that it is over.
#[derive(Clone, Debug)]
struct Work {
    abort: Arc<watch::Sender<bool>>,
    task: Option<tokio::task::AbortHandle>,
    over: watch::Receiver<()>,
}

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

/// Aborts the change when whoever waits for it goes away.
struct Waiting(Arc<watch::Sender<bool>>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

/// The entry of the change in its server's book, for as long as the change runs; its sender tells the end.
struct Entry(
    Arc<Server>,
    #[allow(dead_code, reason = "dropped last, which tells")] watch::Sender<()>,
);

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.0.deployment.book).work = None;
    }
}

/// Waits until somebody wants a change undone; for ever if nobody can any more.
pub(crate) async fn aborted(abort: &mut watch::Receiver<bool>) {
    if abort.wait_for(|asked| *asked).await.is_err() {
        std::future::pending::<()>().await;
    }
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

async fn ended(mut work: Work) {
    // The sender is dropped when the work is over; nothing is ever sent.
    while work.over.changed().await.is_ok() {}
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

    fn begin_work(
        &self,
        note: impl FnOnce(&mut Book),
    ) -> Result<(watch::Receiver<bool>, watch::Sender<()>)> {
        let mut book = lock(&self.deployment.book);
        if book.work.is_some() {
            return Err(messages::busy(self.name(), book.state));
        }
        note(&mut book);
        let (abort, asked) = watch::channel(false);
        let (ending, over) = watch::channel(());
        book.work = Some(Work {
            abort: Arc::new(abort),
            task: None,
            over,
        });
        Ok((asked, ending))
    }

    /// Waits for a change that runs on its own.
    async fn conduct<F>(
        self: &Arc<Self>,
        (asked, ending): (watch::Receiver<bool>, watch::Sender<()>),
        change: impl FnOnce(watch::Receiver<bool>) -> F,
    ) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let Some(work) = self.deployment.work() else {
            return Err(Error::internal("a change without its entry; report this"));
        };
        let change = change(asked);
        let server = Arc::clone(self);
        // Also if it is ended at once, the entry goes, and after that whoever waits for its end is told.
        let entry = Entry(server, ending);
        let task = self.shared.handle.spawn(async move {
            let outcome = change.await;
            drop(entry);
            outcome
        });
        if let Some(work) = &mut lock(&self.deployment.book).work {
            work.task = Some(task.abort_handle());
        }
        let _waiting = Waiting(work.abort);
        task.await
            .unwrap_or_else(|error| Err(Error::internal(format!("{error}; report this"))))
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
