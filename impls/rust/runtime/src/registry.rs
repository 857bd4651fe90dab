//! Which servers there are, and which of them a request is for.
//!
//! The rule: readers take a snapshot and never wait for a writer. A name is taken from the moment that its registration
//! begins. Views by tag, state and capability are built by the first reader after a change.

mod views;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};

use crate::clock::lock;
use crate::error::{Error, Result};
use crate::upstream::Server;
use views::Views;
pub use views::Wanted;

/// The servers at one moment, in order of registration.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) servers: Vec<Arc<Server>>,
    by_name: HashMap<String, usize>,
}

impl Snapshot {
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Server>> {
        if let [only] = self.servers.as_slice() {
            return (only.name() == name).then_some(only);
        }
        self.by_name.get(name).map(|&index| &self.servers[index])
    }

    /// The only server, where names pass through without prefix.
    pub(crate) fn only(&self) -> Option<&Arc<Server>> {
        match self.servers.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Registry {
    snapshot: ArcSwap<Snapshot>,
    views: ArcSwapOption<Views>,
    writing: Mutex<()>,
    coming: Mutex<HashSet<String>>,
}

/// A name that is kept for a server until it is added, or given up with this.
#[derive(Debug)]
pub(crate) struct Reserved<'a> {
    registry: &'a Registry,
    name: String,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        lock(&self.registry.coming).remove(&self.name);
    }
}

impl Registry {
    pub(crate) fn load(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    pub(crate) fn get(&self, name: &str) -> Result<Arc<Server>> {
        self.load()
            .get(name)
            .cloned()
            .ok_or_else(|| not_found(name))
    }

    /// Keeps a name for a server that is being started; an error if it is taken.
    pub(crate) fn reserve(&self, name: &str) -> Result<Reserved<'_>> {
        let mut coming = lock(&self.coming);
        if self.load().get(name).is_some() || !coming.insert(name.to_owned()) {
            return Err(exists(name));
        }
        Ok(Reserved {
            registry: self,
            name: name.to_owned(),
        })
    }

    pub(crate) fn add(&self, server: Arc<Server>) -> Result<()> {
        self.change(|servers| {
            if servers.iter().any(|known| known.name() == server.name()) {
                return Err(exists(server.name()));
            }
            servers.push(server);
            Ok(())
        })
    }

    pub(crate) fn remove(&self, name: &str) -> Result<Arc<Server>> {
        self.change(|servers| {
            let index = servers
                .iter()
                .position(|server| server.name() == name)
                .ok_or_else(|| not_found(name))?;
            Ok(servers.remove(index))
        })
    }

    pub(crate) fn clear(&self) -> Vec<Arc<Server>> {
        self.change(|servers| Ok(std::mem::take(servers)))
            .unwrap_or_default()
    }

    fn change<T>(&self, edit: impl FnOnce(&mut Vec<Arc<Server>>) -> Result<T>) -> Result<T> {
        let _one = lock(&self.writing);
        let mut servers = self.load().servers.clone();
        let done = edit(&mut servers)?;
        let by_name = servers
            .iter()
            .enumerate()
            .map(|(index, server)| (server.name().to_owned(), index))
            .collect();
        self.snapshot.store(Arc::new(Snapshot { servers, by_name }));
        Ok(done)
    }
}

pub(crate) fn not_found(name: &str) -> Error {
    Error::ServerNotFound {
        message: format!("no server '{name}' is registered; check the name, servers() lists them"),
        server: name.to_owned(),
    }
}

pub(crate) fn exists(name: &str) -> Error {
    Error::ServerExists {
        message: format!(
            "server '{name}' is registered already; unregister it first, or choose another name"
        ),
        server: name.to_owned(),
    }
}
