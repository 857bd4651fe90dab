//! The manager: what `crossfade-native` drives and the gateway stands on.
//!
//! The rule: gateways and tasks share [`Inner`], which outlives the [`Manager`] only as closed. `life` starts and
//! closes, `calls` carries requests, `serving` opens gateways.

mod calls;
mod deploying;
#[cfg(test)]
mod hammer;
mod life;
mod serving;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::config::{Config, GatewaySpec, ServerSpec};
use crate::error::Result;
use crate::events::Subscription;
use crate::gateway;
use crate::info::{ServerInfo, ServerState};
use crate::logs::LogFeed;
use crate::metrics::MetricsSnapshot;
use crate::principal::Principal;
use crate::registry::{Registry, Wanted};
use crate::storage::StorageInfo;
use crate::translate;
use crate::upstream::interest::Listening;
use crate::upstream::{Caller, Shared};
pub use serving::GatewayHandle;

/// Where a request goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// By what `params` name: `name` (tools, prompts) as exposed, `uri` (resources), or `ref` (completion).
    Auto,
    /// To this server; exposed names in `params` are still shortened to the server's own.
    Server(String),
}

/// What can be listed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ListKind {
    Tools,
    Resources,
    ResourceTemplates,
    Prompts,
}

const NEW: u8 = 0;
const OPEN: u8 = 1;
const CLOSED: u8 = 2;

/// What manager, gateways and tasks share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) gateway: GatewaySpec,
    pub(crate) registry: Registry,
    pub(crate) shared: Arc<Shared>,
    seed: u64,
    phase: AtomicU8,
    /// Ends what is called in process.
    closing: Notify,
    gateways: std::sync::Mutex<Vec<Arc<gateway::Gateway>>>,
}

/// Owns servers, instances and connections. Every method may be called from any tokio task of the given runtime.
#[derive(Debug)]
pub struct Manager {
    inner: Arc<Inner>,
    initial: Vec<ServerSpec>,
}

impl Manager {
    /// Makes a manager that runs on `handle`. Nothing is connected before [`Manager::start`].
    pub fn new(config: Config, handle: Handle) -> Arc<Self> {
        let shared = Shared::new(&config, handle);
        Arc::new(Self {
            inner: Arc::new(Inner {
                gateway: config.gateway,
                registry: Registry::default(),
                shared,
                seed: config.seed.cast_unsigned(),
                phase: AtomicU8::new(NEW),
                closing: Notify::new(),
                gateways: std::sync::Mutex::default(),
            }),
            initial: config.servers,
        })
    }

    /// A snapshot of one server.
    pub fn get(&self, name: &str) -> Result<ServerInfo> {
        Ok(self.inner.registry.get(name)?.info())
    }

    /// Snapshots of the servers that have all that is wanted, in order of registration.
    pub fn servers(&self, wanted: &Wanted<'_>) -> Vec<ServerInfo> {
        let changes = self.inner.shared.events.changes();
        self.inner.registry.describe(wanted, changes)
    }

    /// Sends one request; returns the bytes of the JSON-RPC `result`. `params` is a JSON object (or empty for none).
    /// Dropping the future cancels upstream and frees the slot. `principal` is on whose behalf.
    pub async fn request(
        &self,
        method: &str,
        target: Target,
        params: Bytes,
        timeout: Option<Duration>,
        principal: Option<&str>,
    ) -> Result<Bytes> {
        let caller = Caller {
            principal: Principal::named(principal),
            ..Caller::default()
        };
        self.inner
            .request(method, &target, &params, timeout, caller)
            .await
    }

    /// Whether a request is likely enough to be answered before anything leaves the process that it is worth a try on
    /// the caller's own thread, see [`crate::eagerly`]: reads may be kept, and some server refuses calls, or may.
    pub fn may_know(&self, method: &str) -> bool {
        method != "tools/call" || self.inner.shared.quick.load(Relaxed) > 0
    }

    /// Every page of every server (or of one): a JSON array of `{"server","name","data"}`.
    pub async fn list(&self, kind: ListKind, server: Option<&str>) -> Result<Bytes> {
        let found = self
            .inner
            .while_open(
                self.inner
                    .collect(kind, server, b"{}", Principal::Anonymous),
            )
            .await?;
        let mut out = vec![b'['];
        for item in &found.items {
            if out.len() > 1 {
                out.push(b',');
            }
            out.extend_from_slice(b"{\"server\":");
            translate::push_json_string(&mut out, item.server.name());
            out.extend_from_slice(b",\"name\":");
            translate::push_json_string(&mut out, &item.name);
            out.extend_from_slice(b",\"data\":");
            out.extend_from_slice(&item.data);
            out.push(b'}');
        }
        out.push(b']');
        Ok(out.into())
    }

    /// Takes a server out of routing without closing it, and waits up to `drain` for its calls; or puts it back.
    pub async fn maintenance(&self, name: &str, on: bool, drain: Duration) -> Result<ServerInfo> {
        self.inner.check_open()?;
        let server = self.inner.registry.get(name)?;
        server.maintain(on);
        if on {
            server.drained(drain).await;
        }
        Ok(server.info())
    }

    /// Probes now, updates states, returns them by server name.
    pub async fn health(
        &self,
        server: Option<&str>,
        timeout: Duration,
    ) -> Result<Vec<(String, ServerState)>> {
        self.inner.check_open()?;
        let servers = match server {
            Some(name) => vec![self.inner.registry.get(name)?],
            None => self.inner.registry.load().servers.clone(),
        };
        let probes: Vec<_> = servers
            .iter()
            .map(|server| {
                let server = Arc::clone(server);
                server.forgive();
                self.inner
                    .shared
                    .handle
                    .spawn(async move { server.probe(timeout).await })
            })
            .collect();
        for probe in probes {
            let _ = probe.await;
        }
        Ok(servers
            .iter()
            .map(|server| (server.name().to_owned(), server.state()))
            .collect())
    }

    /// Counters and latency since start.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.inner.metrics()
    }

    /// The configured storage pools.
    pub fn storage(&self) -> Vec<StorageInfo> {
        self.inner.shared.storage.info()
    }

    /// What servers write to stderr, from now on; for one reader.
    pub fn logs(&self) -> LogFeed {
        self.inner.shared.log.subscribe()
    }

    /// Events from now on. Servers are listened to for as long as somebody holds this.
    pub fn subscribe(&self) -> Subscription {
        self.overhear().listening(Listening::new(&self.inner))
    }

    /// Events from now on, of which some come only while others subscribe: a log is no reason to listen to a server.
    pub fn overhear(&self) -> Subscription {
        let subscription = self.inner.shared.events.subscribe();
        if self.inner.phase.load(Relaxed) == CLOSED {
            subscription.close();
        }
        subscription
    }
}

impl Inner {
    pub(crate) fn metrics(&self) -> MetricsSnapshot {
        let metrics = &self.shared.metrics;
        let registered = self.registry.load();
        let servers: std::collections::BTreeMap<_, _> = registered
            .servers
            .iter()
            .map(|server| (server.name().to_owned(), server.counters()))
            .collect();
        let latency_by_server = registered
            .servers
            .iter()
            .map(|server| (server.name().to_owned(), server.latency.summary().into()))
            .collect();
        let (latency, requests) = metrics.total(&self.registry);
        let errors_by_code = metrics.errors_by_code();
        MetricsSnapshot {
            requests,
            // A server's own error is an answer; it is counted under its code alone.
            errors: errors_by_code
                .iter()
                .filter(|(code, _)| *code != "remote")
                .map(|(_, count)| count)
                .sum(),
            rejected: metrics.rejected.load(Relaxed),
            in_flight: servers.values().map(|server| server.in_flight).sum(),
            connections: servers.values().map(|server| server.connections).sum(),
            clients: metrics.clients.load(Relaxed),
            sessions: metrics.sessions.load(Relaxed),
            latency_ns: latency.summary().into(),
            errors_by_code,
            servers,
            latency_by_server,
        }
    }
}
