//! The gateways that stand on a manager: HTTP faces that can be closed one by one, and the stdio face.
//!
//! The rule: the manager keeps every gateway that it started, so that closing it closes them too.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Manager;
use crate::clock::lock;
use crate::error::Result;
use crate::gateway;

impl Manager {
    /// Serves MCP clients on `host:port` (`host` may be a name or an address; port 0 picks one).
    pub async fn serve(&self, host: &str, port: u16) -> Result<GatewayHandle> {
        self.inner.check_open()?;
        let gateway = gateway::Gateway::start(Arc::clone(&self.inner), host, port).await?;
        lock(&self.inner.gateways).push(Arc::clone(&gateway));
        Ok(GatewayHandle { gateway })
    }

    /// Serves one client on stdin and stdout until it closes stdin.
    pub async fn serve_stdio(&self) -> Result<()> {
        self.inner.check_open()?;
        gateway::pipe::serve(Arc::clone(&self.inner)).await
    }
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
