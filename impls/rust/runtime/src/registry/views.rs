//! Servers by tag, by state and by what they announced.
//!
//! The rule: a reader waits for no change of the registry, and pays for the servers in its view, not for all there are; a
//! change costs the first reader behind it one walk over the registry.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Registry, Snapshot};
use crate::envelope;
use crate::info::ServerInfo;
use crate::upstream::Server;

/// What servers must have; `None` asks for nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    pub tag: Option<&'a str>,
    pub state: Option<&'a str>,
    pub capability: Option<&'a str>,
}

/// Places in the snapshot that they were built from, in order.
#[derive(Debug)]
pub(super) struct Views {
    snapshot: Arc<Snapshot>,
    /// The changes that it has seen.
    changes: u64,
    by_tag: HashMap<String, Vec<usize>>,
    by_state: HashMap<&'static str, Vec<usize>>,
    by_capability: HashMap<String, Vec<usize>>,
}

impl Views {
    fn new(snapshot: &Arc<Snapshot>, changes: u64) -> Self {
        let mut views = Self {
            changes,
            by_tag: HashMap::new(),
            by_state: HashMap::new(),
            by_capability: HashMap::new(),
            snapshot: Arc::clone(snapshot),
        };
        for (place, server) in snapshot.servers.iter().enumerate() {
            for tag in &server.spec().tags {
                views.by_tag.entry(tag.clone()).or_default().push(place);
            }
            views
                .by_state
                .entry(server.state().as_str())
                .or_default()
                .push(place);
            for capability in announced(server) {
                views
                    .by_capability
                    .entry(capability)
                    .or_default()
                    .push(place);
            }
        }
        views
    }

    fn select(&self, wanted: &Wanted<'_>) -> Vec<&Arc<Server>> {
        // `None` was not asked for; what nobody has is an empty view.
        let asked = [
            wanted.tag.map(|tag| self.by_tag.get(tag)),
            wanted.state.map(|state| self.by_state.get(state)),
            wanted
                .capability
                .map(|capability| self.by_capability.get(capability)),
        ];
        let mut lists: Vec<&[usize]> = asked
            .into_iter()
            .flatten()
            .map(|found| found.map_or(&[][..], Vec::as_slice))
            .collect();
        lists.sort_by_key(|list| list.len());
        let Some((shortest, others)) = lists.split_first() else {
            return self.snapshot.servers.iter().collect();
        };
        shortest
            .iter()
            .filter(|place| others.iter().all(|list| list.binary_search(place).is_ok()))
            .map(|&place| &self.snapshot.servers[place])
            .collect()
    }
}

fn announced(server: &Server) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(raw) = server
        .agreed()
        .and_then(|agreed| agreed.capabilities.clone())
    {
        let _ = envelope::members(raw.get().as_bytes(), |key, _| {
            found.extend(envelope::text(key).map(std::borrow::Cow::into_owned));
        });
    }
    found
}

impl Registry {
    /// Descriptions of the servers that have all that is wanted, in order of registration. `changes` counts what may
    /// have moved a server from one view to another.
    pub(crate) fn describe(&self, wanted: &Wanted<'_>, changes: u64) -> Vec<ServerInfo> {
        let snapshot = self.snapshot.load_full();
        if wanted.tag.is_none() && wanted.state.is_none() && wanted.capability.is_none() {
            return snapshot
                .servers
                .iter()
                .map(|server| server.info())
                .collect();
        }
        let known = self.views.load_full();
        let views = known
            .filter(|views| views.changes == changes && Arc::ptr_eq(&views.snapshot, &snapshot))
            .unwrap_or_else(|| {
                let views = Arc::new(Views::new(&snapshot, changes));
                self.views.store(Some(Arc::clone(&views)));
                views
            });
        let state = |info: &ServerInfo| {
            wanted
                .state
                .is_none_or(|state| info.state.as_str() == state)
        };
        views
            .select(wanted)
            .into_iter()
            .map(|server| server.info())
            .filter(state) // it may have changed since the view was built
            .collect()
    }
}
