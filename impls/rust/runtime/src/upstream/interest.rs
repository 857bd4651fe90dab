//! Who wants to hear of changes at a server: how many listen to its lists, and to which of its resources.
//!
//! The rule: interest is held by guards, so it ends on every way out; the server is told of a resource once, however many
//! want it, and told to forget it when the last one left. `watch` does what is wanted here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use tokio::sync::Notify;

use super::{Server, watch};
use crate::clock::lock;
use crate::error::{Error, Result};
use crate::manager::{Inner, ListKind};

/// How the server stands to a resource.
#[derive(Clone, Debug)]
enum Standing {
    /// It has to be told.
    Asked,
    /// It tells of its changes.
    Held,
    Refused(Error),
}

#[derive(Debug)]
struct Entry {
    count: usize,
    standing: Standing,
}

#[derive(Debug, Default)]
struct State {
    resources: HashMap<Arc<str>, Entry>,
    watched: bool,
    /// A kind that the server was missing in when it was listed last.
    missing: Option<ListKind>,
}

/// What is wanted of one server.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    state: Mutex<State>,
    /// Something is wanted, or stands, otherwise than before.
    changed: Notify,
}

/// Who listens to the lists of all servers of a manager.
#[derive(Debug, Default)]
pub(crate) struct Audience {
    count: AtomicUsize,
}

/// Listens to the lists of all servers until it is dropped.
#[derive(Debug)]
pub(crate) struct Listening {
    manager: Weak<Inner>,
}

impl Listening {
    pub(crate) fn new(manager: &Arc<Inner>) -> Self {
        if manager.shared.audience.count.fetch_add(1, Relaxed) == 0 {
            for server in &manager.registry.load().servers {
                server.attend();
            }
        }
        Self {
            manager: Arc::downgrade(manager),
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(manager) = self.manager.upgrade()
            && manager.shared.audience.count.fetch_sub(1, Relaxed) == 1
        {
            for server in &manager.registry.load().servers {
                server.interest.poke();
            }
        }
    }
}

/// Wants to hear of one resource until it is dropped.
#[derive(Debug)]
pub(crate) struct Wanting {
    pub(crate) server: Arc<Server>,
    pub(crate) uri: Arc<str>,
}

impl Wanting {
    pub(crate) fn new(server: &Arc<Server>, uri: &str) -> Self {
        let uri: Arc<str> = uri.into();
        {
            let mut state = lock(&server.interest.state);
            let entry = state.resources.entry(Arc::clone(&uri)).or_insert(Entry {
                count: 0,
                standing: Standing::Asked,
            });
            entry.count += 1;
            if matches!(entry.standing, Standing::Refused(_)) {
                entry.standing = Standing::Asked; // somebody else tries again
            }
        }
        server.interest.poke();
        server.attend();
        Self {
            server: Arc::clone(server),
            uri,
        }
    }

    /// Waits until the server has taken or refused it; `Ok(false)` if neither is so by then.
    pub(crate) async fn settled(&self, deadline: Instant) -> Result<bool> {
        loop {
            let changed = self.server.interest.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let standing = {
                let state = lock(&self.server.interest.state);
                state
                    .resources
                    .get(&self.uri)
                    .map(|entry| entry.standing.clone())
            };
            match standing {
                Some(Standing::Held) => return Ok(true),
                Some(Standing::Refused(error)) => return Err(error),
                _ => {}
            }
            if tokio::time::timeout_at(deadline.into(), changed)
                .await
                .is_err()
            {
                return Ok(false);
            }
        }
    }
}

impl Drop for Wanting {
    fn drop(&mut self) {
        let last = {
            let mut state = lock(&self.server.interest.state);
            let Some(entry) = state.resources.get_mut(&self.uri) else {
                return;
            };
            entry.count -= 1;
            let last = entry.count == 0;
            if last && !matches!(entry.standing, Standing::Held) {
                state.resources.remove(&self.uri);
            }
            last
        };
        if last {
            self.server.interest.poke();
        }
    }
}

impl Interest {
    /// Resolves at the next change; make it (and enable it) before you look.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Whoever waits looks again.
    pub(crate) fn poke(&self) {
        self.changed.notify_waiters();
    }

    /// Whether somebody wants any resource.
    pub(crate) fn wants_resources(&self) -> bool {
        lock(&self.state)
            .resources
            .values()
            .any(|entry| entry.count > 0)
    }

    /// The resources that somebody wants, in a stable order.
    pub(crate) fn wanted(&self) -> Vec<Arc<str>> {
        self.those(|entry| entry.count > 0)
    }

    /// The resources that the server has to be told of.
    pub(crate) fn to_tell(&self) -> Vec<Arc<str>> {
        self.those(|entry| entry.count > 0 && matches!(entry.standing, Standing::Asked))
    }

    fn those(&self, which: impl Fn(&Entry) -> bool) -> Vec<Arc<str>> {
        let state = lock(&self.state);
        let found = state.resources.iter().filter(|(_, entry)| which(entry));
        let mut found: Vec<_> = found.map(|(uri, _)| Arc::clone(uri)).collect();
        found.sort_unstable();
        found
    }

    /// What the server was told of and nobody wants any more; it is forgotten here.
    pub(crate) fn to_forget(&self) -> Vec<Arc<str>> {
        let left = self.those(|entry| entry.count == 0);
        let mut state = lock(&self.state);
        state.resources.retain(|_, entry| entry.count > 0);
        left
    }

    /// Whether the server has to be told that a resource is wanted no more.
    pub(crate) fn leaves(&self) -> bool {
        lock(&self.state)
            .resources
            .values()
            .any(|entry| entry.count == 0)
    }

    /// The server has taken it, or refused.
    pub(crate) fn settle(&self, uri: &str, outcome: Result<()>) {
        if let Some(entry) = lock(&self.state).resources.get_mut(uri) {
            entry.standing = outcome.map_or_else(Standing::Refused, |()| Standing::Held);
        }
        self.poke();
    }

    /// The server may have forgotten all of it.
    pub(crate) fn unsettle(&self) {
        let mut state = lock(&self.state);
        state.resources.retain(|_, entry| entry.count > 0);
        for entry in state.resources.values_mut() {
            entry.standing = Standing::Asked;
        }
    }

    /// It is missing in a list that somebody got.
    pub(crate) fn missed(&self, kind: ListKind) {
        lock(&self.state).missing = Some(kind);
        self.poke();
    }

    pub(crate) fn missing(&self) -> Option<ListKind> {
        lock(&self.state).missing
    }

    pub(crate) fn found(&self) {
        lock(&self.state).missing = None;
    }
}

impl Server {
    /// Whether anybody wants to hear anything of it.
    pub(crate) fn is_wanted(&self) -> bool {
        self.shared.audience.count.load(Relaxed) > 0 || self.interest.wants_resources()
    }

    /// Sees to it that somebody watches the server, if anybody wants that.
    pub(crate) fn attend(self: &Arc<Self>) {
        if !self.is_wanted() || std::mem::replace(&mut lock(&self.interest.state).watched, true) {
            return;
        }
        let server = Arc::clone(self);
        self.shared.handle.spawn(async move {
            watch::run(&server).await;
            lock(&server.interest.state).watched = false;
            // Somebody may have come since it was decided to stop.
            if !server.is_closing() {
                server.attend();
            }
        });
    }
}
