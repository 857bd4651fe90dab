//! How a server is connected, probed and closed.
//!
//! The rule: a server is healthy if all of its instances answer, degraded if some do; closing gives calls in flight
//! their drain time before it takes the instances away.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

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
        let tasks: Vec<_> = revision
            .links()
            .into_iter()
            .map(|link| {
                self.shared
                    .handle
                    .spawn(async move { link.ready(deadline).await.map(|_| ()) })
            })
            .collect();
        let mut failure = None;
        let mut reached = 0;
        for task in tasks {
            match task
                .await
                .unwrap_or_else(|error| Err(Error::internal(format!("{error}; report this"))))
            {
                Ok(()) => reached += 1,
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            None => {
                self.set_state(ServerState::Healthy, None);
                Ok(())
            }
            Some(error) if reached > 0 => {
                self.set_state(ServerState::Degraded, Some(error.message()));
                Ok(())
            }
            Some(error) => {
                self.set_state(ServerState::Unhealthy, Some(error.message()));
                Err(error)
            }
        }
    }

    /// Asks every instance for a sign of life: `server/discover`, or `ping` of the legacy era.
    pub(crate) async fn probe(self: &Arc<Self>, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        let mut alive = 0;
        let mut why = None;
        let links = self.fleet.load().current.links();
        for link in &links {
            match link.probe(deadline).await {
                Ok(()) => alive += 1,
                Err(error) => why = Some(error.message()),
            }
        }
        let state = match alive {
            0 => ServerState::Unhealthy,
            n if n < links.len() => ServerState::Degraded,
            _ => ServerState::Healthy,
        };
        self.set_state(state, why);
    }

    /// Waits up to `drain` for calls in flight, then closes every instance.
    pub(crate) async fn close(&self, drain: Duration) {
        self.draining.store(true, Relaxed);
        self.traffic.close();
        self.drained(drain).await;
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
