//! A change under way: a task of its own, that whoever waits for it may leave.
//!
//! The rule: a change that nobody waits for any more is undone; its entry stands in the server's book until it is over.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;

use super::{Book, messages};
use crate::clock::lock;
use crate::error::{Error, Result};
use crate::upstream::Server;

/// A change under way: how to have it undone, how to end it at once, and how to know that it is over.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) abort: Arc<watch::Sender<bool>>,
    pub(super) task: Option<tokio::task::AbortHandle>,
    over: watch::Receiver<()>,
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

pub(super) async fn ended(mut work: Work) {
    // The sender is dropped when the work is over; nothing is ever sent.
    while work.over.changed().await.is_ok() {}
}

impl Server {
    pub(super) fn begin_work(
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
    pub(super) async fn conduct<F>(
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
}
