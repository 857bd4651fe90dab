//! One request under way for all who ask the same.
//!
//! The rule: it runs in a task of its own and lives as long as somebody waits for it; with the last of them it is given
//! up, and the server is told.

use std::sync::{Arc, Weak};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::key::Key;
use crate::config::ServerSpec;
use crate::error::{Error, Result};
use crate::gateway::sessions::Session;
use crate::principal::Principal;
use crate::upstream::{Caller, Outgoing, Server};

/// What came of it. `own`: it is for the first caller only.
#[derive(Clone, Debug)]
pub(super) struct Landed {
    pub(super) outcome: Result<Bytes>,
    pub(super) own: bool,
}

#[derive(Debug)]
pub(super) struct Flight {
    pub(super) deadline: Instant,
    number: u64,
    key: Key,
    server: Weak<Server>,
    landed: watch::Receiver<Option<Landed>>,
    task: AbortHandle,
}

/// A request that borrows nothing.
struct Owned {
    method: &'static str,
    params: Box<[u8]>,
    name: Option<String>,
    capabilities: Box<[u8]>,
    principal: Option<String>,
    session: Option<Arc<Session>>,
    lines: Box<[u8]>,
    deadline: Instant,
}

impl Owned {
    fn new(method: &'static str, outgoing: &Outgoing<'_>) -> Self {
        let caller = &outgoing.caller;
        let manager = matches!(caller.principal, Principal::Manager);
        Self {
            method,
            params: outgoing.params.into(),
            name: outgoing.name.map(str::to_owned),
            capabilities: caller.capabilities.into(),
            principal: (!manager).then(|| caller.principal.text().into_owned()),
            session: caller.session.cloned(),
            lines: outgoing.lines.into(),
            deadline: outgoing.deadline,
        }
    }

    async fn call(&self, server: &Arc<Server>) -> Result<Bytes> {
        let caller = Caller {
            capabilities: &self.capabilities,
            cancels: None,
            principal: self
                .principal
                .as_deref()
                .map_or(Principal::Manager, Principal::Named),
            session: self.session.as_ref(),
            voice: None, // whoever joins did not ask for what is said to another
        };
        let outgoing = Outgoing {
            method: self.method,
            params: &self.params,
            name: self.name.as_deref(),
            caller,
            lines: &self.lines,
            deadline: self.deadline,
        };
        server.call(outgoing).await
    }
}

impl Flight {
    pub(super) fn start(
        server: &Arc<Server>,
        key: &Key,
        outgoing: Outgoing<'_>,
        spec: Arc<ServerSpec>,
    ) -> Arc<Self> {
        let (told, landed) = watch::channel(None);
        let owned = Owned::new(key.method, &outgoing);
        Arc::new_cyclic(|flight| {
            let (number, changes) = server.reads.announce(key, flight);
            let (server, key) = (Arc::clone(server), key.clone());
            let behind = Arc::downgrade(&server);
            let handle = server.shared.handle.clone();
            let named = key.clone();
            let task = handle.spawn(async move {
                let outcome = owned.call(&server).await;
                server.reads.land(&named, number);
                let own = !server.reads.keep(&named, &outcome, &spec.cache, changes);
                let _ = told.send(Some(Landed { outcome, own }));
            });
            Self {
                deadline: outgoing.deadline,
                number,
                key,
                server: behind,
                landed,
                task: task.abort_handle(),
            }
        })
    }

    /// Waits until it has landed, or for as long as this caller may.
    pub(super) async fn wait(self: Arc<Self>, server: &str, mine: Outgoing<'_>) -> Result<Landed> {
        let mut landed = self.landed.clone();
        let waiting = landed.wait_for(Option::is_some);
        let found = if mine.deadline < self.deadline {
            match tokio::time::timeout_at(mine.deadline.into(), waiting).await {
                Ok(found) => found,
                Err(_) => return Err(late(server, mine.method)),
            }
        } else {
            waiting.await
        };
        match found.ok().and_then(|found| found.clone()) {
            Some(landed) => Ok(landed),
            None => Err(Error::internal(format!(
                "a read of server '{server}' ended without an answer; report this"
            ))),
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(server) = self.server.upgrade() {
            server.reads.land(&self.key, self.number);
        }
    }
}

fn late(server: &str, method: &str) -> Error {
    Error::ServerTimeout {
        message: format!(
            "server '{server}' did not answer {method} in time; look at it, or raise the timeout"
        ),
        server: server.to_owned(),
    }
}
