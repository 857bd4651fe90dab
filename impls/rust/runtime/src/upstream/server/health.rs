//! The state of a server, drawn from what is known of its instances, and the probes that nobody asks for.
//!
//! The rule: probes of one round run at the same time, and the next round begins when all have ended, so that a server
//! that hangs has one probe in it and never a pile. A round is a verdict on each instance, no more. A lazy server that
//! nobody has used is not started by a probe.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::Server;
use super::instance::Instance;
use super::revision::Revision;
use super::vitality::Heard;
use crate::clock::lock;
use crate::error::Error;
use crate::info::ServerState;

impl Server {
    /// Takes in what was heard of an instance, other than by a call.
    pub(crate) fn hear(
        &self,
        revision: &Revision,
        instance: &Instance,
        heard: Heard,
        why: Option<String>,
    ) {
        if revision.hear(instance, heard) || heard == Heard::Renewed {
            self.look(why);
        }
    }

    /// Draws the server's state from its instances'. `why` is what went wrong last.
    pub(crate) fn look(&self, why: Option<String>) {
        let _one = lock(&self.looking);
        if self.state() == ServerState::Stopped {
            return;
        }
        let states = self.fleet.load().current.states();
        let has = |state| states.contains(&state);
        let new = match states.first() {
            Some(first) if states.iter().all(|state| state == first) => *first,
            Some(_) if has(ServerState::Healthy) => ServerState::Degraded,
            Some(_) if has(ServerState::Unhealthy) => ServerState::Unhealthy,
            _ => ServerState::Initializing,
        };
        let healthy = new == ServerState::Healthy;
        self.set_state(new, why.filter(|_| !healthy));
    }

    /// Probes every `health.intervalMs` from now on, if the specification says so and nobody does already.
    pub(crate) fn watch_health(self: &Arc<Self>) {
        if self.spec().health.interval_ms == 0 || self.probing.swap(true, Relaxed) {
            return;
        }
        let server = Arc::downgrade(self);
        self.shared.handle.spawn(async move {
            loop {
                let Some(pause) = server.upgrade().and_then(|server| server.pause()) else {
                    return;
                };
                tokio::time::sleep(pause).await;
                let Some(server) = server.upgrade() else {
                    return;
                };
                tokio::select! {
                    () = server.probe_all() => {}
                    () = server.ended() => {}
                }
            }
        });
    }

    /// Until the next round; `None` ends the probes.
    fn pause(&self) -> Option<Duration> {
        let interval_ms = self.spec().health.interval_ms;
        if interval_ms == 0 || self.draining.load(Relaxed) {
            self.probing.store(false, Relaxed);
            return None;
        }
        Some(Duration::from_millis(interval_ms))
    }

    /// Resolves when the server begins to close.
    pub(crate) async fn ended(&self) {
        loop {
            let ended = self.end.notified();
            if self.draining.load(Relaxed) {
                return;
            }
            ended.await;
        }
    }

    /// One round.
    async fn probe_all(self: &Arc<Self>) {
        let revision = Arc::clone(&self.fleet.load().current);
        let patience = Duration::from_millis(revision.spec.health.timeout_ms);
        let lazy = revision.spec.lazy;
        let mut round = JoinSet::new();
        for instance in revision.present() {
            if lazy && instance.link.agreed().is_none() {
                continue;
            }
            let (server, revision) = (Arc::clone(self), Arc::clone(&revision));
            round.spawn(async move { server.probe_one(&revision, &instance, patience).await });
        }
        while round.join_next().await.is_some() {}
    }

    async fn probe_one(
        self: &Arc<Self>,
        revision: &Arc<Revision>,
        instance: &Arc<Instance>,
        patience: Duration,
    ) {
        let Some(ticket) = self.seat(revision, instance) else {
            return;
        };
        // The deadline of the request lies behind ours, so that there is one verdict on a silence: this one.
        let probe = instance.link.probe(Instant::now() + 2 * patience);
        if let Ok(outcome) = tokio::time::timeout(patience, probe).await {
            ticket.settle_with(&outcome);
        } else {
            drop(ticket);
            let late = self.silent(patience);
            self.hear(revision, instance, Heard::Failure, Some(late.message()));
        }
    }

    fn silent(&self, patience: Duration) -> Error {
        Error::ServerTimeout {
            message: format!(
                "server '{}' did not answer a probe within {} ms; look at the server, or raise health.timeoutMs",
                self.name(),
                patience.as_millis()
            ),
            server: self.name().to_owned(),
        }
    }

    /// Asks every instance on purpose for a sign of life; the state is that of now.
    pub(crate) async fn probe(self: &Arc<Self>, timeout: Duration) {
        let revision = Arc::clone(&self.fleet.load().current);
        let deadline = Instant::now() + timeout;
        let mut round = JoinSet::new();
        for instance in revision.present() {
            let (server, revision) = (Arc::clone(self), Arc::clone(&revision));
            round.spawn(async move {
                match instance.link.probe(deadline).await {
                    Ok(()) => server.hear(&revision, &instance, Heard::Renewed, None),
                    Err(error) => {
                        server.hear(&revision, &instance, Heard::Down, Some(error.message()));
                    }
                }
            });
        }
        while round.join_next().await.is_some() {}
        self.look(None);
    }
}
