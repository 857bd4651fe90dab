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
use crate::upstream::{Outgoing, Owned, Server};

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

impl Flight {
    pub(super) fn start(
        server: &Arc<Server>,
        key: &Key,
        outgoing: Outgoing<'_>,
        spec: Arc<ServerSpec>,
    ) -> Arc<Self> {
        let (told, landed) = watch::channel(None);
        // Whoever joins did not ask for what is said to another, and gives up for nobody else.
        let owned = Owned::new(&outgoing, None);
        Arc::new_cyclic(|flight| {
            let (number, changes) = server.reads.announce(key, flight);
            let (server, key) = (Arc::clone(server), key.clone());
            let behind = Arc::downgrade(&server);
            let handle = server.shared.handle.clone();
            let named = key.clone();
            let task = handle.spawn(async move {
                let outcome = server.call(owned.outgoing()).await;
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
