//! The face towards MCP clients.

pub(crate) mod pipe;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::manager::Inner;

#[derive(Debug)]
pub(crate) struct Gateway {
    addr: SocketAddr,
}

impl Gateway {
    pub(crate) async fn start(_manager: Arc<Inner>, _host: &str, _port: u16) -> Result<Arc<Self>> {
        Err(Error::internal(
            "the gateway is not wired yet; update crossfade-native",
        ))
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) async fn close(&self, _drain: Duration) {}

    pub(crate) fn tick(&self) {}
}
