//! The servers behind the manager, and what everything on the way to one shares.
//!
//! The rule: a [`Link`] is all that the rest knows of a transport; a [`Server`] chooses among its links.

pub(crate) mod beside;
pub(crate) mod catalog;
pub(crate) mod child;
pub(crate) mod dedicated;
pub(crate) mod discovery;
mod exchange;
mod hearing;
pub(crate) mod http;
pub(crate) mod interest;
pub(crate) mod lease;
mod message;
mod owned;
mod queue;
mod resuming;
mod server;
pub(crate) mod session;
mod slots;
mod stdio;
pub(crate) mod stream;
mod traffic;
mod watch;

use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Weak};
use std::time::Instant;

use bytes::Bytes;
use tokio::runtime::Handle;

use crate::config::{Config, ServerSpec};
use crate::error::{Error, Result};
use crate::events::Hub;
use crate::gateway::sessions::Session;
use crate::gateway::voice::Voice;
use crate::info::Era;
use crate::logs::Log;
use crate::metrics::Metrics;
use crate::principal::Principal;
use crate::storage::Storage;
use dedicated::Guise;
use discovery::Agreed;
pub(crate) use discovery::fault;
pub(crate) use hearing::Asker;
use http::HttpLink;
use interest::Audience;
pub(crate) use owned::Owned;
pub(crate) use resuming::Point;
pub(crate) use server::{Instance, Revision, Server, Ticket, Wish};
pub(crate) use stdio::StdioLink;
pub(crate) use traffic::{Pass, Place, Shed, may_go_elsewhere, may_go_on};

/// What everything under a manager shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) handle: Handle,
    pub(crate) events: Hub,
    pub(crate) audience: Audience,
    pub(crate) metrics: Metrics,
    pub(crate) shed: Arc<Shed>,
    /// Servers that may answer a call at once: by a policy, or because they are not well.
    pub(crate) quick: AtomicUsize,
    pub(crate) storage: Storage,
    pub(crate) log: Log,
}

impl Shared {
    pub(crate) fn new(config: &Config, handle: Handle) -> Arc<Self> {
        Arc::new(Self {
            handle,
            events: Hub::default(),
            audience: Audience::default(),
            log: Log::default(),
            storage: Storage::new(&config.storage),
            metrics: Metrics::new(config.telemetry.metrics),
            shed: Shed::new(&config.shed),
            quick: AtomicUsize::new(0),
        })
    }
}

/// The way to one instance.
#[derive(Clone, Debug)]
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
    /// On whose behalf.
    pub(crate) principal: Principal<'a>,
    /// The caller's own sessions with legacy servers; the manager's own if `None`.
    pub(crate) session: Option<&'a Arc<Session>>,
    /// A session of its own for this call, if the server is a legacy one: it can be asked, or wants log messages.
    pub(crate) alone: bool,
    /// `clientInfo`, JSON.
    pub(crate) info: Option<&'a [u8]>,
    /// The least level of log messages that it wants.
    pub(crate) level: Option<&'a str>,
    /// Where goes what the server says before its answer; nowhere if `None`.
    pub(crate) voice: Option<&'a Arc<Voice>>,
}

impl Caller<'_> {
    /// Whether an instance keeps something of the caller's own.
    pub(crate) fn is_bound(&self, link: &Link) -> bool {
        match (self.session, link) {
            (Some(session), Link::Http(link)) => session.upstream(link).is_some(),
            (Some(session), Link::Stdio(link)) => session.child(link).is_some(),
            _ => false,
        }
    }

    fn guise(&self) -> Guise<'_> {
        Guise {
            capabilities: self.capabilities,
            info: self.info,
        }
    }
}

impl Default for Caller<'_> {
    fn default() -> Self {
        Self {
            capabilities: b"{}",
            cancels: None,
            principal: Principal::Manager,
            session: None,
            alone: false,
            info: None,
            level: None,
            voice: None,
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
    /// The way to instance `index` of `spec`; nothing is started yet.
    fn new(
        spec: &ServerSpec,
        index: usize,
        shared: &Arc<Shared>,
        server: Weak<Server>,
        directory: Option<&str>,
    ) -> Self {
        match spec.urls.get(index) {
            Some(url) => Self::Http(HttpLink::new(spec, url, shared, server)),
            None => Self::Stdio(StdioLink::new(spec, index, directory, shared, server)),
        }
    }

    /// Whether both lead to the same instance.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Http(one), Self::Http(other)) => Arc::ptr_eq(one, other),
            (Self::Stdio(one), Self::Stdio(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// Agrees on an era (once) and returns what was agreed.
    pub(crate) async fn ready(&self, deadline: Instant) -> Result<Arc<Agreed>> {
        match self {
            Self::Http(link) => link.ready(deadline).await,
            Self::Stdio(link) => link.ready(deadline).await,
        }
    }

    /// Asks for a sign of life: `server/discover`, or `ping` of the legacy era.
    pub(crate) async fn probe(&self, deadline: Instant) -> Result<()> {
        let modern = self.ready(deadline).await?.era == Era::Modern;
        let outgoing = Outgoing {
            method: if modern { "server/discover" } else { "ping" },
            params: b"{}",
            name: None,
            caller: Caller::default(),
            lines: b"",
            deadline,
        };
        match self.call(outgoing).await {
            // An error object is a sign of life, too: some servers do not know ping.
            Ok(_) | Err(Error::Remote { .. }) => Ok(()),
            Err(error) => Err(error),
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

    /// Tells the conversation that the manager has with it now from those before.
    fn conversation(&self) -> Option<usize> {
        match self {
            Self::Http(link) => link.conversation(),
            Self::Stdio(link) => link.pid().map(|pid| pid as usize),
        }
    }

    /// Its process ended by itself, or did not start, and is not back.
    pub(crate) fn is_down(&self) -> bool {
        matches!(self, Self::Stdio(link) if link.is_down())
    }

    /// Somebody wants it now: what made it stay down is forgotten.
    pub(crate) fn forgive(&self) {
        if let Self::Stdio(link) = self {
            link.forgive();
        }
    }

    /// How often its process came back.
    pub(crate) fn restarts(&self) -> u64 {
        match self {
            Self::Http(_) => 0,
            Self::Stdio(link) => link.restarts(),
        }
    }

    /// Closes idle connections and whatever is overdue.
    pub(crate) fn tick(&self) {
        match self {
            Self::Http(link) => link.tick(),
            Self::Stdio(link) => link.dedicated.tick(),
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
