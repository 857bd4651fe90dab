//! One admitted call, from the choice of its instance to its verdict.
//!
//! The rule: every call that [`Server::admit`] admits ends in exactly one verdict of its [`Ticket`], also when the
//! caller is dropped.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::fleet::{Seat, Wish};
use super::instance::Instance;
use super::policy::Change;
use super::revision::{Refusal, Revision};
use super::{MILLI, Server};
use crate::clock::at_ns;
use crate::error::{Error, Result};
use crate::events::EventKind;
use crate::upstream::{Link, may_go_elsewhere};

/// One admitted call. Dropping it without a verdict gives everything back and blames nobody.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) server: Arc<Server>,
    pub(crate) seat: Seat,
    started: Instant,
    settled: bool,
}

/// Why a call was not admitted.
#[derive(Debug)]
enum Denied {
    /// No revision serves just now.
    Paused,
    Failed(Error),
}

impl Server {
    /// Picks an instance that its breaker admits; waits until `deadline` while none serves.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        wish: Wish<'_>,
        deadline: Instant,
    ) -> Result<Ticket> {
        match self.begin(wish) {
            Ok(ticket) => Ok(ticket),
            Err(Denied::Failed(error)) => Err(error),
            Err(Denied::Paused) => Box::pin(self.wait(wish, deadline)).await,
        }
    }

    async fn wait(self: &Arc<Self>, wish: Wish<'_>, deadline: Instant) -> Result<Ticket> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Armed before the look, so that no change is missed in between.
            changed.as_mut().enable();
            match self.begin(wish) {
                Ok(ticket) => return Ok(ticket),
                Err(Denied::Failed(error)) => return Err(error),
                Err(Denied::Paused) => {}
            }
            if tokio::time::timeout_at(deadline.into(), changed)
                .await
                .is_err()
            {
                return Err(self.paused());
            }
        }
    }

    fn begin(self: &Arc<Self>, wish: Wish<'_>) -> Result<Ticket, Denied> {
        let started = Instant::now();
        if self.draining.load(Relaxed) {
            return Err(Denied::Failed(self.gone()));
        }
        match self.fleet.load().choose(&wish, at_ns(started)) {
            Ok(seat) => Ok(self.seated(seat, started)),
            Err(Refusal::Paused) => Err(Denied::Paused),
            Err(Refusal::Open(wait_ns)) => {
                self.rejected();
                Err(Denied::Failed(self.open_circuit(wait_ns)))
            }
        }
    }

    /// An instance that was not tried yet, if there is one that takes calls.
    pub(crate) fn elsewhere(self: &Arc<Self>, wish: Wish<'_>) -> Option<Ticket> {
        let started = Instant::now();
        let wish = Wish {
            only_others: true,
            ..wish
        };
        let seat = self.fleet.load().choose(&wish, at_ns(started)).ok()?;
        Some(self.seated(seat, started))
    }

    /// A call for this very instance; `None` if it has left.
    pub(super) fn seat(
        self: &Arc<Self>,
        revision: &Arc<Revision>,
        instance: &Arc<Instance>,
    ) -> Option<Ticket> {
        let started = Instant::now();
        Some(self.seated(revision.enter(instance)?, started))
    }

    fn seated(self: &Arc<Self>, seat: Seat, started: Instant) -> Ticket {
        self.in_flight.fetch_add(1, Relaxed);
        Ticket {
            server: Arc::clone(self),
            seat,
            started,
            settled: false,
        }
    }

    fn paused(&self) -> Error {
        Error::ServerTimeout {
            message: format!(
                "server '{}' is being updated and no instance took calls in time; call again, or raise timeoutMs",
                self.name()
            ),
            server: self.name().to_owned(),
        }
    }

    fn gone(&self) -> Error {
        Error::ServerNotFound {
            message: format!(
                "server '{}' is being removed; call another one",
                self.name()
            ),
            server: self.name().to_owned(),
        }
    }

    fn open_circuit(&self, wait_ns: u64) -> Error {
        Error::CircuitOpen {
            message: format!(
                "server '{}' failed too often, its breaker is open; try again in {} ms",
                self.name(),
                wait_ns.div_ceil(MILLI)
            ),
            server: self.name().to_owned(),
        }
    }

    /// One more was refused before it was sent.
    pub(crate) fn rejected(&self) {
        self.rejected.fetch_add(1, Relaxed);
        self.shared.metrics.rejected.fetch_add(1, Relaxed);
    }

    fn left(&self) {
        if self.in_flight.fetch_sub(1, Relaxed) == 1
            && (self.draining.load(Relaxed) || self.traffic.in_maintenance())
        {
            self.idle.notify_waiters();
            self.idle.notify_one();
        }
    }
}

impl Ticket {
    pub(crate) fn link(&self) -> &Link {
        &self.seat.instance.link
    }

    pub(crate) fn settle_with<T>(self, outcome: &Result<T>) {
        if let Some(watch) = &self.server.fleet.load().watch {
            watch.answered(&self.seat.revision, outcome);
        }
        match outcome {
            Ok(_) | Err(Error::Remote { .. }) => self.settle(None),
            Err(error) => self.settle(Some(error)),
        }
    }

    /// The call ended: `None` with an answer, else with this error.
    pub(crate) fn settle(mut self, failure: Option<&Error>) {
        if failure.is_some_and(|error| !error.blames_server()) {
            if matches!(failure, Some(Error::PoolTimeout { .. })) {
                self.server.rejected();
            }
            return; // Drop forgets it
        }
        self.settled = true;
        let now = Instant::now();
        let took = u64::try_from(now.saturating_duration_since(self.started).as_nanos())
            .unwrap_or(u64::MAX);
        let now = at_ns(now);
        let ok = failure.is_none();
        let server = &*self.server;
        let seat = &self.seat;
        let fact = failure.is_some_and(may_go_elsewhere);
        let change = seat.revision.finished(&seat.instance, now, took, ok, fact);
        server.requests.fetch_add(1, Relaxed);
        if server.shared.metrics.enabled {
            server.latency.record(took);
        }
        if !ok {
            server.errors.fetch_add(1, Relaxed);
        }
        if change.turned || change.before != change.after {
            self.announce(change, failure);
        }
        server.left();
    }

    #[cold]
    fn announce(&self, change: Change, failure: Option<&Error>) {
        let server = &*self.server;
        let Change { before, after, .. } = change;
        if before != after {
            server.shared.events.send(
                EventKind::Circuit,
                server.name(),
                Some(before.as_str()),
                Some(after.as_str()),
            );
        }
        if change.turned {
            server.look(failure.map(Error::message));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let now = Instant::now();
        let took = u64::try_from(now.saturating_duration_since(self.started).as_nanos())
            .unwrap_or(u64::MAX);
        let seat = &self.seat;
        seat.revision.cancelled(&seat.instance, at_ns(now), took);
        self.server.left();
    }
}
