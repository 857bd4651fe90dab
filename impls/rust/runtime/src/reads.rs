//! What is answered without asking again: answers that a server declared fresh, and requests under way already.
//!
//! The rules (2026-07-28 server/utilities/caching): an answer is shared by all only if its server said `public`, else
//! it is the principal's own; what was asked in a client's own session, with a progress token or as a further round is
//! nobody else's. A change that the server tells of drops what is kept, and what was asked before it is not kept. One
//! request in flight serves everybody who asks the same: a caller that gives up takes nobody along, the last one takes
//! the request. The mirror of `crossfade.impls.python.reads`.

mod flight;
mod fresh;
mod key;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use bytes::Bytes;
use crossfade_core::{Cache, CacheConfig};

use crate::clock::{lock, now_ns};
use crate::config::{CacheSpec, ServerSpec, TransportKind};
use crate::error::Result;
use crate::info::Era;
use crate::upstream::{Outgoing, Server};
use flight::Flight;
use fresh::Kept;
use key::Key;
pub(crate) use key::is_alone;

const MILLI: u64 = 1_000_000;
/// Bytes that an entry costs besides key and answer, about.
const OVERHEAD: u64 = 256;

/// The reads of one server.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    state: Mutex<State>,
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) coalesced: AtomicU64,
}

#[derive(Debug)]
struct State {
    /// What `cache` was made for; another one starts with nothing kept.
    spec: Weak<ServerSpec>,
    cache: Cache<Key, Arc<Kept>>,
    /// A flight that nobody waits for any more is gone, whatever still stands here.
    flights: HashMap<Key, (u64, Weak<Flight>)>,
    next: u64,
    changes: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            spec: Weak::new(),
            cache: Cache::new(CacheConfig::default()),
            flights: HashMap::new(),
            next: 0,
            changes: 0,
        }
    }
}

impl State {
    fn adopt(&mut self, spec: &Arc<ServerSpec>) {
        if std::ptr::eq(self.spec.as_ptr(), Arc::as_ptr(spec)) {
            return;
        }
        let cache = &spec.cache;
        self.spec = Arc::downgrade(spec);
        self.cache = Cache::new(CacheConfig {
            max_entries: cache.max_entries as usize,
            max_bytes: cache.max_bytes,
            max_ttl_ns: cache.max_ttl_ms * MILLI,
        });
        self.flights.clear(); // they serve those who wait, and nobody new
        self.changes += 1;
    }
}

/// Whether answers to `method` may be kept or shared at all.
pub(crate) fn is_read(method: &str) -> bool {
    key::of_method(method).is_some()
}

impl Server {
    /// Answers one request that was let in: from what is kept, from a request under way, or by [`Server::call`].
    pub(crate) async fn answer(self: &Arc<Self>, outgoing: Outgoing<'_>) -> Result<Bytes> {
        if !self.shares_reads(&outgoing) {
            return self.call(outgoing).await;
        }
        let spec = self.spec();
        match Key::new(&outgoing) {
            Some(key) => Box::pin(self.read(key, outgoing, &spec)).await,
            None => self.call(outgoing).await,
        }
    }

    fn shares_reads(&self, outgoing: &Outgoing<'_>) -> bool {
        if !is_read(outgoing.method) {
            return false;
        }
        let fleet = self.fleet();
        let spec = &fleet.current.spec;
        let legacy = || {
            self.agreed()
                .is_some_and(|agreed| agreed.era == Era::Legacy)
        };
        // Who can be asked, or hears what is logged meanwhile, asks for nobody else.
        let caller = &outgoing.caller;
        let talks = caller.alone || caller.session.is_some_and(|session| session.talks());
        let modern = || {
            self.agreed()
                .is_some_and(|agreed| agreed.era == Era::Modern)
        };
        if talks && !spec.stateless && !modern() {
            return false;
        }
        let own = outgoing.caller.session.is_some() && !spec.stateless;
        (spec.cache.enabled || spec.cache.coalesce)
            // While two revisions answer, both are to be seen at it.
            && fleet.candidate.is_none()
            && !(own && spec.transport() == TransportKind::Http && legacy())
    }

    async fn read(
        self: &Arc<Self>,
        key: Key,
        outgoing: Outgoing<'_>,
        spec: &Arc<ServerSpec>,
    ) -> Result<Bytes> {
        let reads = &self.reads;
        if let Some(kept) = reads.kept(&key, spec) {
            reads.hits.fetch_add(1, Relaxed);
            return Ok(kept.aged(now_ns()));
        }
        if let Some(flight) = reads.joined(&key, &spec.cache, outgoing.deadline) {
            reads.coalesced.fetch_add(1, Relaxed);
            let landed = flight.wait(self.name(), outgoing).await?;
            if !landed.own {
                return landed.outcome;
            }
        }
        reads.misses.fetch_add(1, Relaxed);
        if !spec.cache.coalesce {
            let changes = lock(&reads.state).changes;
            let outcome = self.call(outgoing).await;
            reads.keep(&key, &outcome, &spec.cache, changes);
            return outcome;
        }
        let flight = Flight::start(self, &key, outgoing, Arc::clone(spec));
        flight.wait(self.name(), outgoing).await?.outcome
    }
}

impl Reads {
    fn kept(&self, key: &Key, spec: &Arc<ServerSpec>) -> Option<Arc<Kept>> {
        let mut state = lock(&self.state);
        state.adopt(spec);
        if !spec.cache.enabled {
            return None;
        }
        let now = now_ns();
        if let Some(kept) = state.cache.get(now, &key.public()) {
            return Some(Arc::clone(kept));
        }
        state.cache.get(now, key).map(Arc::clone)
    }

    /// A request under way that this caller may wait for. One that is nearly over would fail callers that have time
    /// left.
    fn joined(&self, key: &Key, spec: &CacheSpec, deadline: Instant) -> Option<Arc<Flight>> {
        if !spec.coalesce {
            return None;
        }
        let flight = {
            let state = lock(&self.state);
            state
                .flights
                .get(key)
                .and_then(|(_, flight)| flight.upgrade())
        }?;
        let now = Instant::now();
        let left = flight.deadline.saturating_duration_since(now);
        (left * 2 >= deadline.saturating_duration_since(now)).then_some(flight)
    }

    /// Lets others join from now on. Returns the flight's number and the changes that it has seen.
    fn announce(&self, key: &Key, flight: &Weak<Flight>) -> (u64, u64) {
        let mut state = lock(&self.state);
        state.next += 1;
        let number = state.next;
        let _ = state
            .flights
            .insert(key.clone(), (number, Weak::clone(flight)));
        (number, state.changes)
    }

    /// Nobody can join any more.
    fn land(&self, key: &Key, number: u64) {
        let mut state = lock(&self.state);
        if state
            .flights
            .get(key)
            .is_some_and(|(found, _)| *found == number)
        {
            state.flights.remove(key);
        }
    }

    /// Keeps an answer for as long as its server allows. False if it is the first caller's own: a further round.
    fn keep(&self, key: &Key, outcome: &Result<Bytes>, spec: &CacheSpec, changes: u64) -> bool {
        let Ok(raw) = outcome else { return true };
        let found = fresh::hints(raw);
        if !found.complete {
            return false;
        }
        let default = if key.method == "prompts/get" {
            0
        } else {
            spec.default_ttl_ms
        };
        let ttl_ms = found.ttl_ms.unwrap_or(default);
        if !spec.enabled || ttl_ms == 0 {
            return true;
        }
        let now = now_ns();
        let key = if found.public {
            key.public()
        } else {
            key.clone()
        };
        let size = (raw.len() + key.params.len()) as u64 + OVERHEAD;
        let kept = Arc::new(Kept::new(raw.clone(), &found, now));
        let mut state = lock(&self.state);
        if state.changes == changes {
            let fresh_ns = ttl_ms.saturating_mul(MILLI);
            state.cache.put(now, key, kept, size, fresh_ns);
        }
        true
    }

    /// A list changed: `tools`, `prompts` or `resources`.
    pub(crate) fn changed(&self, what: &str) {
        self.drop_all(|key| {
            matches!(
                (what, key.method),
                ("tools", "tools/list")
                    | ("prompts", "prompts/list" | "prompts/get")
                    | (
                        "resources",
                        "resources/list" | "resources/templates/list" | "resources/read"
                    )
            )
        });
    }

    /// The content of a resource changed; `None`: of some resource.
    pub(crate) fn updated(&self, uri: Option<&str>) {
        let token = uri.map(key::token);
        self.drop_all(|key| {
            key.method == "resources/read"
                && token
                    .as_deref()
                    .is_none_or(|token| memchr::memmem::find(&key.params, token).is_some())
        });
    }

    fn drop_all(&self, which: impl Fn(&Key) -> bool) {
        let mut state = lock(&self.state);
        state.changes += 1;
        for key in state.cache.keys() {
            if which(&key) {
                state.cache.remove(&key);
            }
        }
        state.flights.retain(|key, _| !which(key));
    }
}

/// Whether answers of this specification are kept or shared, so that a request is worth the long way.
pub(crate) fn is_on(spec: &ServerSpec) -> bool {
    spec.cache.enabled || spec.cache.coalesce
}
