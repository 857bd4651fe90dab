//! The way of one request through a server: a place, attempts, and a second copy of one that is late.
//!
//! The rule: a request has one place however many attempts it becomes, and ends by its one deadline. An attempt goes to
//! an instance that its breaker admits, and on to another one if that could not be reached, because then nothing was
//! sent. More than that gets only what is safe to repeat.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;

use super::hedging::Hedging;
use super::race::{is_answer, race};
use super::repeating::may_go_elsewhere;
use super::{Place, Rules};
use crate::clock::lock;
use crate::eager;
use crate::error::{Error, Result};
use crate::upstream::{Link, Outgoing, Server, Ticket, Wish};

/// One request, as each of its attempts sends it.
struct Carried<'a> {
    server: &'a Arc<Server>,
    outgoing: Outgoing<'a>,
    /// What affinity goes by.
    key: u64,
    tried: Mutex<Vec<Link>>,
}

impl Server {
    /// A place with this server, if it has a bulkhead. Waits until `deadline` at most.
    pub(crate) async fn place(&self, deadline: Instant) -> Result<Option<Place>> {
        match self.traffic.rules().places.clone() {
            None => Ok(None),
            Some(places) => {
                let (shed, since) = (&self.shared.shed, Instant::now());
                let entered = places.enter(deadline, &self.traffic.counts.queued).await;
                shed.waited(since);
                entered.map(Some).inspect_err(|error| {
                    if matches!(error, Error::BulkheadFull { .. }) {
                        self.rejected();
                    }
                })
            }
        }
    }

    /// Sends one request that was let in.
    pub(crate) async fn call(self: &Arc<Self>, outgoing: Outgoing<'_>) -> Result<Bytes> {
        let rules = self.traffic.rules();
        let caller = &outgoing.caller;
        let carried = Carried {
            key: self
                .traffic
                .key(caller.session, caller.principal, outgoing.name),
            server: self,
            outgoing,
            tried: Mutex::default(),
        };
        let plain =
            self.traffic.is_plain() && !rules.repeating.allows(outgoing.method, outgoing.name);
        let outcome = if plain {
            carried.attempt().await
        } else {
            let _place = self.place(outgoing.deadline).await?;
            Box::pin(carried.attempts(&rules)).await
        };
        if let Ok(answer) = &outcome {
            self.copied(&outgoing, answer);
        }
        outcome
    }
}

impl Carried<'_> {
    /// One attempt after another, as long as it is safe and the budget lasts.
    async fn attempts(&self, rules: &Rules) -> Result<Bytes> {
        let Outgoing {
            method,
            name,
            deadline,
            ..
        } = self.outgoing;
        let repeating = &rules.repeating;
        if !repeating.allows(method, name) {
            return self.copies(rules).await;
        }
        repeating.asked();
        let mut made = 0;
        loop {
            let outcome = self.copies(rules).await;
            made += 1;
            let Err(error) = &outcome else { return outcome };
            let Some(delay) = repeating.delay(error, made, deadline) else {
                return outcome;
            };
            self.server.traffic.retried();
            tokio::time::sleep(delay).await;
        }
    }

    /// One attempt, and a second copy of it beside it if it is slow and may have one.
    async fn copies(&self, rules: &Rules) -> Result<Bytes> {
        let Outgoing { method, name, .. } = self.outgoing;
        match &rules.hedging {
            Some(hedging)
                if hedging.covers(method, name)
                    && self.server.fleet().current.serving().len() > 1 =>
            {
                self.hedged(hedging).await
            }
            _ => self.attempt().await,
        }
    }

    async fn hedged(&self, hedging: &Hedging) -> Result<Bytes> {
        let counts = &self.server.traffic.counts;
        let Some(delay) = hedging.asked() else {
            // Nothing is known of its latency yet.
            let started = Instant::now();
            let outcome = self.attempt().await;
            if is_answer(&outcome) {
                hedging.took(started.elapsed());
            }
            return outcome;
        };
        let second = || {
            hedging.may_start().then(|| {
                counts.hedges.fetch_add(1, Relaxed);
                self.elsewhere()
            })
        };
        let won = race(self.attempt(), delay, second).await;
        if is_answer(&won.outcome) {
            hedging.took(won.took);
            counts.hedged_wins.fetch_add(u64::from(won.second), Relaxed);
        }
        won.outcome
    }

    fn wish<'a>(&self, tried: &'a [Link], pinned: Option<&'a Pinned<'a>>) -> Wish<'a> {
        Wish {
            pinned,
            tried,
            key: self.key,
            ..Wish::default()
        }
    }

    /// Sends it, and on to another instance while none can be reached.
    async fn attempt(&self) -> Result<Bytes> {
        let pinned = |link: &Link| self.outgoing.caller.is_bound(link);
        let pinned: Option<&Pinned<'_>> = self.outgoing.caller.session.map(|_| &pinned as _);
        let tried = lock(&self.tried).clone();
        let wish = self.wish(&tried, pinned);
        let mut ticket = self.server.admit(wish, self.outgoing.deadline).await?;
        let mut unreachable = Vec::new();
        loop {
            let (link, outcome) = self.send(ticket).await;
            match &outcome {
                Err(error) if may_go_elsewhere(error) => {}
                _ => return outcome,
            }
            unreachable.push(link);
            match self.server.elsewhere(self.wish(&unreachable, pinned)) {
                Some(next) => ticket = next,
                None => return outcome,
            }
        }
    }

    /// The second copy: to an instance that has not got the first.
    async fn elsewhere(&self) -> Result<Bytes> {
        let tried = lock(&self.tried).clone();
        match self.server.elsewhere(self.wish(&tried, None)) {
            Some(ticket) => self.send(ticket).await.1,
            None => Err(Error::ServerStart {
                message: format!(
                    "server '{}' has no second instance to ask; add one",
                    self.server.name()
                ),
                server: self.server.name().to_owned(),
            }),
        }
    }

    async fn send(&self, ticket: Ticket) -> (Link, Result<Bytes>) {
        let link = ticket.link().clone();
        lock(&self.tried).push(link.clone());
        eager::leaving().await;
        let cut = self.server.cut.notified();
        let outcome = tokio::select! {
            biased;
            outcome = link.call(self.outgoing) => outcome,
            () = cut => Err(Error::ServerNotFound {
                message: format!(
                    "server '{}' was removed while this call was in flight; call another one",
                    self.server.name()
                ),
                server: self.server.name().to_owned(),
            }),
        };
        ticket.settle_with(&outcome);
        (link, outcome)
    }
}

type Pinned<'a> = dyn Fn(&Link) -> bool + Sync + 'a;
