//! The manager: what `crossfade-native` drives and the gateway stands on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;

use crate::annotations;
use crate::config::{Config, GatewaySpec, ServerSpec};
use crate::error::{Error, Result};
use crate::events::{EventKind, Hub, Subscription};
use crate::gateway;
use crate::info::{ServerInfo, ServerState};
use crate::listing;
use crate::metrics::{Metrics, MetricsSnapshot};
use crate::registry::Registry;
use crate::route;
use crate::translate;
use crate::upstream::catalog::Index;
use crate::upstream::{Caller, Outgoing, Server, Shared};

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
        let shared = Arc::new(Shared {
            handle,
            events: Hub::default(),
            metrics: Metrics::default(),
        });
        Arc::new(Self {
            inner: Arc::new(Inner {
                gateway: config.gateway,
                registry: Registry::default(),
                shared,
                seed: config.seed.cast_unsigned(),
                phase: AtomicU8::new(NEW),
                gateways: std::sync::Mutex::default(),
            }),
            initial: config.servers,
        })
    }

    /// Connects to every server that is not lazy, concurrently; a server that fails is `unhealthy`, not an error.
    pub async fn start(&self) -> Result<()> {
        if self
            .inner
            .phase
            .compare_exchange(NEW, OPEN, Relaxed, Relaxed)
            .is_err()
        {
            return Err(closed());
        }
        let weak = Arc::downgrade(&self.inner);
        self.inner.shared.handle.spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_millis(200));
            beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                beat.tick().await;
                let Some(inner) = weak.upgrade() else { return };
                inner.tick();
            }
        });
        let mut starting = Vec::new();
        for spec in &self.initial {
            let server = self.inner.make(spec.clone());
            self.inner.registry.add(Arc::clone(&server))?;
            self.inner
                .shared
                .events
                .send(EventKind::Registered, server.name(), None, None);
            if !spec.lazy {
                starting.push(
                    self.inner
                        .shared
                        .handle
                        .spawn(async move { server.connect().await }),
                );
            }
        }
        for task in starting {
            // A server that cannot be reached is `unhealthy` now and tried again on use.
            let _ = task.await;
        }
        Ok(())
    }

    /// Drains for `drain`, then closes and reaps everything. A second call returns at once.
    pub async fn close(&self, drain: Duration) {
        if self.inner.phase.swap(CLOSED, Relaxed) == CLOSED {
            return;
        }
        let gateways = std::mem::take(&mut *crate::clock::lock(&self.inner.gateways));
        for gateway in gateways {
            gateway.close(drain).await;
        }
        let closing: Vec<_> = self
            .inner
            .registry
            .clear()
            .into_iter()
            .map(|server| {
                self.inner
                    .shared
                    .handle
                    .spawn(async move { server.close(drain).await })
            })
            .collect();
        for task in closing {
            let _ = task.await;
        }
        self.inner.shared.events.close();
    }

    /// Adds a server and, unless it is lazy, connects. On failure nothing is kept.
    pub async fn register(&self, spec: ServerSpec) -> Result<ServerInfo> {
        self.inner.check_open()?;
        if self.inner.registry.load().get(&spec.name).is_some() {
            return Err(crate::registry::exists(&spec.name));
        }
        if !self.inner.gateway.prefix && !self.inner.registry.load().servers.is_empty() {
            return Err(Error::Config {
                message: format!(
                    "server '{}': gateway.prefix is false, so names of a second server would collide; set prefix to true",
                    spec.name
                ),
            });
        }
        let lazy = spec.lazy;
        let server = self.inner.make(spec);
        if !lazy && let Err(error) = server.connect().await {
            server.close(Duration::ZERO).await;
            return Err(error);
        }
        if let Err(error) = self.inner.registry.add(Arc::clone(&server)) {
            server.close(Duration::ZERO).await;
            return Err(error);
        }
        self.inner
            .shared
            .events
            .send(EventKind::Registered, server.name(), None, None);
        Ok(server.info())
    }

    /// Stops routing to it, waits up to `drain` for calls in flight, closes.
    pub async fn unregister(&self, name: &str, drain: Duration) -> Result<()> {
        self.inner.check_open()?;
        let server = self.inner.registry.remove(name)?;
        server.close(drain).await;
        self.inner
            .shared
            .events
            .send(EventKind::Unregistered, name, None, None);
        Ok(())
    }

    /// A snapshot of one server.
    pub fn get(&self, name: &str) -> Result<ServerInfo> {
        Ok(self.inner.registry.get(name)?.info())
    }

    /// Snapshots in order of registration.
    pub fn servers(&self) -> Vec<ServerInfo> {
        self.inner
            .registry
            .load()
            .servers
            .iter()
            .map(|server| server.info())
            .collect()
    }

    /// Sends one request; returns the bytes of the JSON-RPC `result`. `params` is a JSON object (or empty for none).
    /// Dropping the future cancels upstream and frees the slot.
    pub async fn request(
        &self,
        method: &str,
        target: Target,
        params: Bytes,
        timeout: Option<Duration>,
    ) -> Result<Bytes> {
        self.inner
            .request(method, &target, &params, timeout, Caller::default())
            .await
    }

    /// Every page of every server (or of one): a JSON array of `{"server","name","data"}`.
    pub async fn list(&self, kind: ListKind, server: Option<&str>) -> Result<Bytes> {
        let items = self.inner.collect(kind, server, b"{}").await?;
        let mut out = vec![b'['];
        for item in &items {
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

    /// Events from now on.
    pub fn subscribe(&self) -> Subscription {
        let subscription = self.inner.shared.events.subscribe();
        if self.inner.phase.load(Relaxed) == CLOSED {
            subscription.close();
        }
        subscription
    }

    /// Serves MCP clients on `host:port` (`host` may be a name or an address; port 0 picks one).
    pub async fn serve(&self, host: &str, port: u16) -> Result<GatewayHandle> {
        self.inner.check_open()?;
        let gateway = gateway::Gateway::start(Arc::clone(&self.inner), host, port).await?;
        crate::clock::lock(&self.inner.gateways).push(Arc::clone(&gateway));
        Ok(GatewayHandle { gateway })
    }

    /// Serves one client on stdin and stdout until it closes stdin.
    pub async fn serve_stdio(&self) -> Result<()> {
        self.inner.check_open()?;
        gateway::pipe::serve(Arc::clone(&self.inner)).await
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.inner.phase.store(CLOSED, Relaxed);
        self.inner.shared.events.close();
    }
}

fn closed() -> Error {
    Error::ManagerClosed {
        message: "the manager is closed or was not started; use it inside `async with`".to_owned(),
    }
}

impl Inner {
    fn make(&self, spec: ServerSpec) -> Arc<Server> {
        // Every server gets its own stream of random numbers, the same in every run with the same seed.
        let seed = spec.name.bytes().fold(self.seed, |seed, byte| {
            seed.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
        Server::new(spec, Arc::clone(&self.shared), seed)
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.phase.load(Relaxed) == OPEN {
            Ok(())
        } else {
            Err(closed())
        }
    }

    fn tick(&self) {
        for server in &self.registry.load().servers {
            server.links.iter().for_each(crate::upstream::Link::tick);
        }
        for gateway in crate::clock::lock(&self.gateways).iter() {
            gateway.tick();
        }
    }

    pub(crate) async fn request(
        &self,
        method: &str,
        target: &Target,
        params: &[u8],
        timeout: Option<Duration>,
        caller: Caller<'_>,
    ) -> Result<Bytes> {
        let outcome = self.send(method, target, params, timeout, caller).await;
        if let Err(error) = &outcome {
            self.shared.metrics.error(error.code());
        }
        outcome
    }

    async fn send(
        &self,
        method: &str,
        target: &Target,
        params: &[u8],
        timeout: Option<Duration>,
        caller: Caller<'_>,
    ) -> Result<Bytes> {
        self.check_open()?;
        let routed = match route::quick(self, method, target, params)? {
            Some(routed) => routed,
            None => Box::pin(route::search(self, method, target, params)).await?,
        };
        let mut body = Vec::new();
        let params = match &routed.edit {
            Some(edit) => {
                translate::splice(params, std::slice::from_ref(edit), &mut body);
                &body
            }
            None => params,
        };
        let outgoing = Outgoing {
            method,
            params,
            name: routed.name.as_deref(),
            caller,
            lines: b"",
            deadline: routed.server.deadline(timeout),
        };
        self.ask(&routed.server, outgoing).await
    }

    /// Calls a server, with the headers that it wants of a tool's arguments. They are learnt when it first misses them
    /// (streamable-http, "Client Behavior").
    pub(crate) async fn ask(&self, server: &Arc<Server>, outgoing: Outgoing<'_>) -> Result<Bytes> {
        let known = server
            .catalog
            .get()
            .and_then(|index| lines_for(&index, &outgoing));
        let first = Outgoing {
            lines: known.as_deref().unwrap_or_default(),
            ..outgoing
        };
        let outcome = server.call(first).await;
        match &outcome {
            Err(Error::Remote { fault, .. })
                if fault.code == -32020 && known.is_none() && outgoing.method == "tools/call" =>
            {
                let index = Box::pin(listing::index(server, self.gateway.prefix)).await;
                match lines_for(&index, &outgoing) {
                    Some(lines) => {
                        server
                            .call(Outgoing {
                                lines: &lines,
                                ..outgoing
                            })
                            .await
                    }
                    None => outcome,
                }
            }
            _ => outcome,
        }
    }

    /// Items of one kind; a failing server is left out unless it was named.
    pub(crate) async fn collect(
        &self,
        kind: ListKind,
        server: Option<&str>,
        capabilities: &[u8],
    ) -> Result<Vec<listing::Item>> {
        self.check_open()?;
        let prefix = self.gateway.prefix;
        if let Some(name) = server {
            let server = self.registry.get(name)?;
            let caller = Caller {
                capabilities,
                cancels: None,
            };
            return listing::read(&server, kind, prefix, caller, server.deadline(None))
                .await
                .inspect_err(|error| {
                    self.shared.metrics.error(error.code());
                });
        }
        let servers = self.registry.load().servers.clone();
        Ok(listing::read_all(&servers, kind, prefix, &capabilities.into()).await)
    }

    pub(crate) fn metrics(&self) -> MetricsSnapshot {
        let metrics = &self.shared.metrics;
        let servers: std::collections::BTreeMap<_, _> = self
            .registry
            .load()
            .servers
            .iter()
            .map(|server| (server.name().to_owned(), server.counters()))
            .collect();
        let latency = metrics.latency.summary();
        let errors_by_code = metrics.errors_by_code();
        MetricsSnapshot {
            requests: latency.count,
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
            latency_ns: latency,
            errors_by_code,
            servers,
        }
    }
}

/// The `Mcp-Param-*` lines of a tool call, if its tool has annotations.
fn lines_for(index: &Index, outgoing: &Outgoing<'_>) -> Option<Vec<u8>> {
    if index.annotated.is_empty() || outgoing.method != "tools/call" {
        return None;
    }
    let annotations = index.annotated.get(outgoing.name?)?;
    Some(annotations::lines(annotations, outgoing.params))
}

/// A running gateway face.
#[derive(Debug)]
pub struct GatewayHandle {
    gateway: Arc<gateway::Gateway>,
}

impl GatewayHandle {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.gateway.addr()
    }

    /// Stops accepting, lets requests in flight finish for `drain`, then closes what is left.
    pub async fn close(&self, drain: Duration) {
        self.gateway.close(drain).await;
    }
}
