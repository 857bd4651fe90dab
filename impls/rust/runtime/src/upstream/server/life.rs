//! How a server is connected and closed.
//!
//! The rule: closing gives calls in flight their drain time before it takes the instances away.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::vitality::Heard;
use super::{Server, Wish};
use crate::error::{Error, Result};
use crate::info::ServerState;
use crate::upstream::Link;
use crate::upstream::discovery::Agreed;

impl Server {
    /// Connects every instance, concurrently; the first error if none could be reached.
    pub(crate) async fn connect(self: &Arc<Self>) -> Result<()> {
        let revision = Arc::clone(&self.fleet.load().current);
        let deadline = Instant::now() + Duration::from_millis(revision.spec.start_timeout_ms);
        let mut tasks = JoinSet::new();
        for instance in revision.present() {
            tasks.spawn_on(
                async move {
                    let ready = instance.link.ready(deadline).await;
                    (instance, ready.map(|_| ()))
                },
                &self.shared.handle,
            );
        }
        let mut failure = None;
        let mut reached = 0;
        while let Some(done) = tasks.join_next().await {
            match done {
                Ok((instance, Ok(()))) => {
                    reached += 1;
                    self.hear(&revision, &instance, Heard::Renewed, None);
                }
                Ok((instance, Err(error))) => {
                    self.hear(&revision, &instance, Heard::Down, Some(error.message()));
                    failure = Some(error);
                }
                Err(error) => failure = Some(Error::internal(format!("{error}; report this"))),
            }
        }
        match failure {
            Some(error) if reached == 0 => Err(error),
            _ => Ok(()),
        }
    }

    /// Waits up to `drain` for calls in flight, then closes every instance.
    pub(crate) async fn close(&self, drain: Duration) {
        self.draining.store(true, Relaxed);
        self.end.notify_waiters();
        self.traffic.close();
        self.drained(drain).await;
        self.cut.notify_waiters();
        let all: Vec<_> = self
            .fleet
            .load()
            .revisions()
            .flat_map(|revision| revision.everybody())
            .collect();
        for instance in &all {
            instance.link.close().await;
        }
        self.set_state(ServerState::Stopped, None);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Waits up to `within` until no call is in flight.
    pub(crate) async fn drained(&self, within: Duration) {
        let _ = tokio::time::timeout(within, async {
            loop {
                let idle = self.idle.notified();
                if self.in_flight.load(Relaxed) == 0 {
                    return;
                }
                idle.await;
            }
        })
        .await;
    }

    /// The agreement of some instance; asks for one if there is none yet.
    pub(crate) async fn ready(self: &Arc<Self>, deadline: Instant) -> Result<Arc<Agreed>> {
        let ticket = self.admit(Wish::default(), deadline).await?;
        let ready = ticket.link().ready(deadline).await;
        if ready.is_err() {
            ticket.settle_with(&ready);
        }
        ready
    }

    pub(crate) fn tick(&self) {
        for revision in self.fleet.load().revisions() {
            revision.links().iter().for_each(Link::tick);
        }
    }
}
