//! A registered server and its instances: who gets the next call, and what each call's end means.
//!
//! The rule: every call that [`Server::begin`] admits ends in exactly one verdict of its [`Ticket`], also when the
//! caller is dropped; nothing holds a lock across an await.

pub(crate) mod catalog;
pub(crate) mod child;
pub(crate) mod discovery;
pub(crate) mod exchange;
pub(crate) mod http;
pub(crate) mod lease;
mod message;
pub(crate) mod session;
pub(crate) mod slots;
pub(crate) mod stdio;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossfade_core::balancer::Balance;
use crossfade_core::{Balancer, Breaker, BreakerConfig, Mask, P2c, RoundRobin};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::clock::{at_ns, lock, now_ns};
use crate::config::{BalancerKind, ServerSpec};
use crate::error::{Error, Result};
use crate::events::{EventKind, Hub};
use crate::info::{CircuitState, InstanceInfo, ServerInfo, ServerState};
use crate::metrics::{Metrics, ServerCounters};
use catalog::Catalog;
use discovery::Agreed;
use http::HttpLink;
use stdio::StdioLink;

/// What everything under a manager shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) handle: Handle,
    pub(crate) events: Hub,
    pub(crate) metrics: Metrics,
}

/// The way to one instance.
#[derive(Debug)]
pub(crate) enum Link {
    Http(Arc<HttpLink>),
    Stdio(Arc<StdioLink>),
}

/// Who asks, as far as an upstream must know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    /// The caller's client capabilities, JSON.
    pub(crate) capabilities: &'a [u8],
    /// Giving up tells the server (`notifications/cancelled`): always if `None`, else only if this is set by then.
    pub(crate) cancels: Option<&'a AtomicBool>,
}

impl Default for Caller<'_> {
    fn default() -> Self {
        Self {
            capabilities: b"{}",
            cancels: None,
        }
    }
}

/// One request towards a server: `params` is a JSON object whose name is the server's own already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) method: &'a str,
    pub(crate) params: &'a [u8],
    /// `params.name` or `params.uri`, for the header that repeats it.
    pub(crate) name: Option<&'a str>,
    pub(crate) caller: Caller<'a>,
    /// Further header lines for HTTP, each ended by CRLF.
    pub(crate) lines: &'a [u8],
    pub(crate) deadline: Instant,
}

impl Link {
    /// Agrees on an era (once) and returns what was agreed.
    pub(crate) async fn ready(&self, deadline: Instant) -> Result<Arc<Agreed>> {
        match self {
            Self::Http(link) => link.ready(deadline).await,
            Self::Stdio(link) => link.ready(deadline).await,
        }
    }

    /// Sends one request and returns the bytes of `result`.
    pub(crate) async fn call(&self, outgoing: Outgoing<'_>) -> Result<Bytes> {
        match self {
            Self::Http(link) => Box::pin(link.call(outgoing)).await,
            Self::Stdio(link) => link.call(outgoing).await,
        }
    }

    pub(crate) fn agreed(&self) -> Option<Arc<Agreed>> {
        match self {
            Self::Http(link) => link.agreed(),
            Self::Stdio(link) => link.agreed(),
        }
    }

    /// Closes idle connections and whatever is overdue.
    pub(crate) fn tick(&self) {
        if let Self::Http(link) = self {
            link.tick();
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Http(link) => link.close().await,
            Self::Stdio(link) => link.close().await,
        }
    }

    fn connections(&self) -> usize {
        match self {
            Self::Http(link) => link.connections(),
            Self::Stdio(link) => usize::from(link.pid().is_some()),
        }
    }
}

#[derive(Debug)]
struct Policy {
    balancer: Balancer,
    breakers: Vec<Breaker>,
}

/// One registered server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) spec: ServerSpec,
    pub(crate) shared: Arc<Shared>,
    pub(crate) links: Vec<Link>,
    pub(crate) catalog: Catalog,
    policy: Mutex<Policy>,
    state: AtomicU8,
    last_error: Mutex<Option<String>>,
    draining: AtomicBool,
    idle: Notify,
    requests: AtomicU64,
    errors: AtomicU64,
    rejected: AtomicU64,
    in_flight: AtomicU64,
}

const MILLI: u64 = 1_000_000;

impl Server {
    pub(crate) fn new(spec: ServerSpec, shared: Arc<Shared>, seed: u64) -> Arc<Self> {
        let instances = if spec.command.is_some() {
            spec.instances as usize
        } else {
            spec.urls.len()
        };
        let config = BreakerConfig {
            enabled: spec.breaker.enabled,
            window: spec.breaker.window as usize,
            window_ns: spec.breaker.window_ms * MILLI,
            min_calls: spec.breaker.min_calls as usize,
            failure_per_mille: u64::from(spec.breaker.failure_per_mille),
            slow_call_ns: spec.breaker.slow_call_ms * MILLI,
            slow_per_mille: u64::from(spec.breaker.slow_per_mille),
            open_ns: spec.breaker.open_ms * MILLI,
            probes: u64::from(spec.breaker.probes),
        };
        let balancer = match spec.balancer {
            BalancerKind::RoundRobin => Balancer::RoundRobin(RoundRobin::new(instances)),
            BalancerKind::P2c => Balancer::P2c(P2c::new(instances, seed)),
        };
        Arc::new_cyclic(|server| {
            let links = (0..instances)
                .map(|index| {
                    if spec.command.is_some() {
                        Link::Stdio(StdioLink::new(&spec, index, &shared, server.clone()))
                    } else {
                        Link::Http(HttpLink::new(
                            &spec,
                            &spec.urls[index],
                            &shared,
                            server.clone(),
                        ))
                    }
                })
                .collect();
            Self {
                policy: Mutex::new(Policy {
                    balancer,
                    breakers: (0..instances).map(|_| Breaker::new(config)).collect(),
                }),
                links,
                catalog: Catalog::default(),
                state: AtomicU8::new(ServerState::Initializing as u8),
                last_error: Mutex::new(None),
                draining: AtomicBool::new(false),
                idle: Notify::new(),
                requests: AtomicU64::new(0),
                errors: AtomicU64::new(0),
                rejected: AtomicU64::new(0),
                in_flight: AtomicU64::new(0),
                shared,
                spec,
            }
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.spec.name
    }

    /// When a request that starts now must be answered.
    pub(crate) fn deadline(&self, timeout: Option<Duration>) -> Instant {
        let most = Duration::from_millis(self.spec.timeout_ms);
        Instant::now() + timeout.map_or(most, |wanted| wanted.min(Duration::from_secs(86_400)))
    }

    /// Picks an instance (or takes the one wanted) that its breaker admits.
    pub(crate) fn begin(self: &Arc<Self>, wanted: Option<usize>) -> Result<Ticket> {
        let started = Instant::now();
        let now = at_ns(started);
        if self.draining.load(Relaxed) {
            return Err(self.gone());
        }
        let index = {
            let mut policy = lock(&self.policy);
            let Policy { balancer, breakers } = &mut *policy;
            let picked = if breakers.len() == 1 || wanted.is_some() {
                let index = wanted.unwrap_or(0).min(breakers.len() - 1);
                breakers[index].admit(now).then_some(index)
            } else {
                pick(balancer, breakers, now)
            };
            let Some(index) = picked else {
                let wait = breakers
                    .iter()
                    .map(|breaker| breaker.retry_after_ns(now))
                    .min()
                    .unwrap_or(0);
                drop(policy);
                self.rejected.fetch_add(1, Relaxed);
                self.shared.metrics.rejected.fetch_add(1, Relaxed);
                return Err(self.open_circuit(wait));
            };
            balancer.started(index);
            index
        };
        self.in_flight.fetch_add(1, Relaxed);
        Ok(Ticket {
            server: Arc::clone(self),
            index,
            started,
            settled: false,
        })
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

    /// Sends one request to some instance and settles its ticket.
    pub(crate) async fn call(self: &Arc<Self>, outgoing: Outgoing<'_>) -> Result<Bytes> {
        let ticket = self.begin(None)?;
        let outcome = self.links[ticket.index].call(outgoing).await;
        ticket.settle_with(&outcome);
        outcome
    }

    pub(crate) fn state(&self) -> ServerState {
        ServerState::from_u8(self.state.load(Relaxed))
    }

    pub(crate) fn set_state(&self, new: ServerState, why: Option<String>) {
        if let Some(why) = why {
            *lock(&self.last_error) = Some(why);
        } else if new == ServerState::Healthy {
            *lock(&self.last_error) = None;
        }
        let old = ServerState::from_u8(self.state.swap(new as u8, Relaxed));
        if old != new {
            self.shared.events.send(
                EventKind::State,
                self.name(),
                Some(old.as_str()),
                Some(new.as_str()),
            );
        }
    }

    /// An instance said that one of its lists changed.
    pub(crate) fn list_changed(&self, method: &str) {
        self.catalog.invalidate();
        let what = method
            .trim_start_matches("notifications/")
            .trim_end_matches("/list_changed");
        self.shared
            .events
            .send(EventKind::ListChanged, self.name(), None, Some(what));
    }

    /// The agreement of the first instance that has one.
    pub(crate) fn agreed(&self) -> Option<Arc<Agreed>> {
        self.links.iter().find_map(Link::agreed)
    }

    /// Connects every instance, concurrently; the first error if none could be reached.
    pub(crate) async fn connect(self: &Arc<Self>) -> Result<()> {
        let deadline = Instant::now() + Duration::from_millis(self.spec.start_timeout_ms);
        let tasks: Vec<_> = (0..self.links.len())
            .map(|index| {
                let server = Arc::clone(self);
                self.shared
                    .handle
                    .spawn(async move { server.links[index].ready(deadline).await.map(|_| ()) })
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

    /// Waits up to `drain` for calls in flight, then closes every instance.
    pub(crate) async fn close(&self, drain: Duration) {
        self.draining.store(true, Relaxed);
        let _ = tokio::time::timeout(drain, async {
            loop {
                let idle = self.idle.notified();
                if self.in_flight.load(Relaxed) == 0 {
                    return;
                }
                idle.await;
            }
        })
        .await;
        for link in &self.links {
            link.close().await;
        }
        self.set_state(ServerState::Stopped, None);
    }

    pub(crate) fn counters(&self) -> ServerCounters {
        ServerCounters {
            requests: self.requests.load(Relaxed),
            errors: self.errors.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            connections: self.links.iter().map(Link::connections).sum::<usize>() as u64,
        }
    }

    pub(crate) fn info(&self) -> ServerInfo {
        let now = now_ns();
        let agreed = self.agreed();
        let instances = {
            let policy = lock(&self.policy);
            let describe = |(index, link): (usize, &Link)| {
                let circuit = circuit(&policy.breakers[index], now);
                let (pid, url) = match link {
                    Link::Http(http) => (None, Some(http.url().to_owned())),
                    Link::Stdio(stdio) => (stdio.pid(), None),
                };
                InstanceInfo {
                    index,
                    state: match circuit {
                        CircuitState::Open => ServerState::Unhealthy,
                        CircuitState::HalfOpen => ServerState::Degraded,
                        CircuitState::Closed if link.agreed().is_some() => ServerState::Healthy,
                        CircuitState::Closed => self.state(),
                    },
                    circuit,
                    era: link.agreed().map(|agreed| agreed.era),
                    pid,
                    url,
                    connections: link.connections(),
                    in_flight: usize::try_from(policy.balancer.pending(index))
                        .unwrap_or(usize::MAX),
                    ewma_ns: policy.balancer.ewma_ns(index),
                }
            };
            self.links.iter().enumerate().map(describe).collect()
        };
        ServerInfo {
            name: self.name().to_owned(),
            transport: self.spec.transport(),
            state: self.state(),
            era: agreed.as_ref().map(|agreed| agreed.era),
            protocol_version: agreed.as_ref().map(|agreed| agreed.version.clone()),
            server_name: agreed
                .as_ref()
                .and_then(|agreed| agreed.server_name.clone()),
            server_version: agreed
                .as_ref()
                .and_then(|agreed| agreed.server_version.clone()),
            capabilities: agreed
                .as_ref()
                .and_then(|agreed| agreed.capabilities.clone()),
            tags: self.spec.tags.clone(),
            instances,
            last_error: lock(&self.last_error).clone(),
        }
    }
}

fn pick(balancer: &mut Balancer, breakers: &mut [Breaker], now: u64) -> Option<usize> {
    let mut usable = Mask::all(breakers.len());
    loop {
        let index = balancer.pick(now, usable.words())?;
        if breakers[index].admit(now) {
            return Some(index);
        }
        usable.set(index, false);
    }
}

fn circuit(breaker: &Breaker, now: u64) -> CircuitState {
    match breaker.state(now) {
        crossfade_core::CircuitState::Closed => CircuitState::Closed,
        crossfade_core::CircuitState::Open => CircuitState::Open,
        crossfade_core::CircuitState::HalfOpen => CircuitState::HalfOpen,
    }
}

/// One admitted call. Dropping it without a verdict gives everything back and blames nobody.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) server: Arc<Server>,
    pub(crate) index: usize,
    started: Instant,
    settled: bool,
}

impl Ticket {
    pub(crate) fn link(&self) -> &Link {
        &self.server.links[self.index]
    }

    pub(crate) fn settle_with<T>(self, outcome: &Result<T>) {
        match outcome {
            Ok(_) | Err(Error::Remote { .. }) => self.settle(None),
            Err(error) => self.settle(Some(error)),
        }
    }

    /// The call ended: `None` with an answer, else with this error.
    pub(crate) fn settle(mut self, failure: Option<&Error>) {
        if failure.is_some_and(|error| !error.blames_server()) {
            if matches!(failure, Some(Error::PoolTimeout { .. })) {
                self.server.rejected.fetch_add(1, Relaxed);
                self.server.shared.metrics.rejected.fetch_add(1, Relaxed);
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
        let (before, after) = {
            let mut policy = lock(&server.policy);
            policy.balancer.finished(self.index, now, took, ok);
            let breaker = &mut policy.breakers[self.index];
            let before = breaker.state(now);
            breaker.record(now, ok, took);
            (before, breaker.state(now))
        };
        server.requests.fetch_add(1, Relaxed);
        server.shared.metrics.latency.record(took);
        if !ok {
            server.errors.fetch_add(1, Relaxed);
        }
        if before != after || (ok && server.state() != ServerState::Healthy) {
            self.announce(before, after, ok, failure);
        }
        server.left();
    }

    #[cold]
    fn announce(
        &self,
        before: crossfade_core::CircuitState,
        after: crossfade_core::CircuitState,
        ok: bool,
        failure: Option<&Error>,
    ) {
        let server = &*self.server;
        if before != after {
            server.shared.events.send(
                EventKind::Circuit,
                server.name(),
                Some(before.as_str()),
                Some(after.as_str()),
            );
        }
        if server.state() == ServerState::Stopped {
            return;
        }
        let open = {
            let now = now_ns();
            let policy = lock(&server.policy);
            policy
                .breakers
                .iter()
                .filter(|breaker| breaker.state(now) == crossfade_core::CircuitState::Open)
                .count()
        };
        if open == server.links.len() {
            server.set_state(ServerState::Unhealthy, failure.map(Error::message));
        } else if open > 0 {
            server.set_state(ServerState::Degraded, failure.map(Error::message));
        } else if ok {
            server.set_state(ServerState::Healthy, None);
        }
    }
}

impl Server {
    fn left(&self) {
        if self.in_flight.fetch_sub(1, Relaxed) == 1 && self.draining.load(Relaxed) {
            self.idle.notify_waiters();
            self.idle.notify_one();
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
        {
            let mut policy = lock(&self.server.policy);
            policy.balancer.cancelled(self.index);
            policy.breakers[self.index].forget(at_ns(now), took);
        }
        self.server.left();
    }
}
