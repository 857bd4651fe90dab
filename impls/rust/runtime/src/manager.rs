//! The manager: what `crossfade-native` drives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;

use crate::config::{Config, ServerSpec};
use crate::error::{Error, Result};
use crate::events::{Hub, Subscription};
use crate::info::{ServerInfo, ServerState};
use crate::metrics::MetricsSnapshot;

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

/// Owns servers, instances and connections. Every method may be called from any tokio task of the given runtime.
#[derive(Debug)]
pub struct Manager {
    events: Hub,
}

impl Manager {
    /// Makes a manager that runs on `handle`. Nothing is connected before [`Manager::start`].
    pub fn new(_config: Config, _handle: Handle) -> Arc<Self> {
        Arc::new(Self {
            events: Hub::default(),
        })
    }

    /// Connects to every server that is not lazy, concurrently; a server that fails is `unhealthy`, not an error.
    pub async fn start(&self) -> Result<()> {
        Err(pending())
    }

    /// Drains for `drain`, then closes and reaps everything. A second call returns at once.
    pub async fn close(&self, _drain: Duration) {
        self.events.close();
    }

    /// Adds a server and, unless it is lazy, connects. On failure nothing is kept.
    pub async fn register(&self, _spec: ServerSpec) -> Result<ServerInfo> {
        Err(pending())
    }

    /// Stops routing to it, waits up to `drain` for calls in flight, closes.
    pub async fn unregister(&self, _name: &str, _drain: Duration) -> Result<()> {
        Err(pending())
    }

    /// A snapshot of one server.
    pub fn get(&self, _name: &str) -> Result<ServerInfo> {
        Err(pending())
    }

    /// Snapshots in order of registration.
    pub fn servers(&self) -> Vec<ServerInfo> {
        Vec::new()
    }

    /// Sends one request; returns the bytes of the JSON-RPC `result`. `params` is a JSON object (or empty for none).
    /// Dropping the future cancels upstream and frees the slot.
    pub async fn request(
        &self,
        _method: &str,
        _target: Target,
        _params: Bytes,
        _timeout: Option<Duration>,
    ) -> Result<Bytes> {
        Err(pending())
    }

    /// Every page of every server (or of one): a JSON array of `{"server","name","data"}`.
    pub async fn list(&self, _kind: ListKind, _server: Option<&str>) -> Result<Bytes> {
        Err(pending())
    }

    /// Probes now, updates states, returns them by server name.
    pub async fn health(
        &self,
        _server: Option<&str>,
        _timeout: Duration,
    ) -> Result<Vec<(String, ServerState)>> {
        Err(pending())
    }

    /// Counters and latency since start.
    pub fn metrics(&self) -> MetricsSnapshot {
        MetricsSnapshot::default()
    }

    /// Events from now on.
    pub fn subscribe(&self) -> Subscription {
        self.events.subscribe()
    }

    /// Serves MCP clients on `host:port` (`host` may be a name or an address; port 0 picks one).
    pub async fn serve(&self, _host: &str, _port: u16) -> Result<GatewayHandle> {
        Err(pending())
    }

    /// Serves one client on stdin and stdout until it closes stdin.
    pub async fn serve_stdio(&self) -> Result<()> {
        Err(pending())
    }
}

/// A running gateway face.
#[derive(Debug)]
pub struct GatewayHandle {
    addr: SocketAddr,
}

impl GatewayHandle {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops accepting, lets requests in flight finish for `drain`, then closes what is left.
    pub async fn close(&self, _drain: Duration) {}
}

fn pending() -> Error {
    Error::internal("the runtime is not wired yet; update crossfade-native")
}
