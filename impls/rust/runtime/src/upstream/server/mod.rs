//! A registered server: its instances, its state, and the calls made to it.
//!
//! The rule: nothing holds a lock across an await. Which revision gets a call is decided in `fleet`, which of its
//! instances in `choice` and `policy`, what its end means in `ticket`; `life` connects and closes, `snapshot` describes.

mod arrange;
mod choice;
pub(crate) mod fleet;
#[cfg(test)]
mod hammer;
mod health;
pub(crate) mod instance;
mod life;
mod policy;
pub(crate) mod revision;
mod snapshot;
mod ticket;
mod vitality;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use bytes::Bytes;
use crossfade_core::Histogram;
use tokio::sync::Notify;

use super::catalog::Catalog;
use super::discovery::Agreed;
use super::interest::Interest;
use super::traffic::Traffic;
use super::{Link, Outgoing, Shared};
use crate::config::ServerSpec;
use crate::deploy::{Deployment, DeploymentState};
use crate::envelope::{self, Envelope};
use crate::events::EventKind;
use crate::info::ServerState;
use crate::reads::Reads;
use crate::translate;
pub(crate) use fleet::Wish;
use fleet::{Fleet, Seat};
pub(crate) use instance::Instance;
pub(crate) use revision::Revision;
pub(crate) use ticket::Ticket;

/// One registered server.
#[derive(Debug)]
pub(crate) struct Server {
    name: String,
    pub(crate) shared: Arc<Shared>,
    pub(crate) catalog: Catalog,
    pub(crate) deployment: Deployment,
    pub(crate) reads: Reads,
    pub(crate) interest: Interest,
    seed: u64,
    fleet: ArcSwap<Fleet>,
    arranging: Mutex<()>,
    /// Splits the calls while there are two revisions.
    turn: Arc<AtomicU64>,
    /// The fleet changed: whoever found nobody serving looks again.
    changed: Notify,
    pub(crate) traffic: Traffic,
    state: AtomicU8,
    last_error: ArcSwapOption<String>,
    /// One conclusion at a time.
    looking: Mutex<()>,
    /// It counts among those of `Shared::quick`.
    quick: AtomicBool,
    probing: AtomicBool,
    /// It begins to close.
    end: Notify,
    /// It has waited long enough for its calls.
    pub(crate) cut: Notify,
    draining: AtomicBool,
    idle: Notify,
    pub(crate) latency: Histogram,
    requests: AtomicU64,
    errors: AtomicU64,
    rejected: AtomicU64,
    restarts: AtomicU64,
    in_flight: AtomicU64,
}

const MILLI: u64 = 1_000_000;

impl Server {
    /// Without instances: a deployment starts them, or else [`Server::populate`] adds them.
    pub(crate) fn new(spec: ServerSpec, shared: Arc<Shared>, seed: u64, deploy: bool) -> Arc<Self> {
        let (number, state) = if deploy {
            (0, DeploymentState::Pending)
        } else {
            (1, DeploymentState::Running)
        };
        let spec = Arc::new(spec);
        Arc::new(Self {
            name: spec.name.clone(),
            traffic: Traffic::new(&spec, &shared.shed),
            seed,
            fleet: ArcSwap::from_pointee(Fleet::new(Revision::new(number, spec, seed), None, None)),
            arranging: Mutex::default(),
            turn: Arc::default(),
            changed: Notify::new(),
            catalog: Catalog::default(),
            deployment: Deployment::new(state),
            reads: Reads::default(),
            interest: Interest::default(),
            state: AtomicU8::new(ServerState::Initializing as u8),
            last_error: ArcSwapOption::empty(),
            looking: Mutex::default(),
            quick: AtomicBool::new(false),
            probing: AtomicBool::new(false),
            end: Notify::new(),
            cut: Notify::new(),
            draining: AtomicBool::new(false),
            idle: Notify::new(),
            latency: Histogram::default(),
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            shared,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The revisions as they are now.
    pub(crate) fn fleet(&self) -> Guard<Arc<Fleet>> {
        self.fleet.load()
    }

    /// The specification of the current revision.
    pub(crate) fn spec(&self) -> Arc<ServerSpec> {
        Arc::clone(&self.fleet.load().current.spec)
    }

    /// When a request that starts now must be answered.
    pub(crate) fn deadline(&self, timeout: Option<Duration>) -> Instant {
        let most = Duration::from_millis(self.fleet.load().current.spec.timeout_ms);
        Instant::now() + timeout.map_or(most, |wanted| wanted.min(Duration::from_secs(86_400)))
    }

    /// Whoever looks on gets a copy of what was asked.
    pub(crate) fn copied(&self, outgoing: &Outgoing<'_>, answer: &Bytes) {
        if let Some(watch) = &self.fleet.load().watch {
            watch.copy(self, outgoing, answer);
        }
    }

    pub(crate) fn state(&self) -> ServerState {
        ServerState::from_u8(self.state.load(Relaxed))
    }

    /// Whether calls may be answered without asking it may have changed.
    pub(crate) fn count_quick(&self) {
        let quick = match self.state() {
            ServerState::Stopped => false,
            ServerState::Unhealthy | ServerState::Degraded => true,
            _ => !self.traffic.is_plain(),
        };
        if self.quick.swap(quick, Relaxed) != quick {
            let count = &self.shared.quick;
            if quick {
                count.fetch_add(1, Relaxed);
            } else {
                count.fetch_sub(1, Relaxed);
            }
        }
    }

    pub(crate) fn set_state(&self, new: ServerState, why: Option<String>) {
        if let Some(why) = why {
            self.last_error.store(Some(Arc::new(why)));
        } else if new == ServerState::Healthy {
            self.last_error.store(None);
        }
        let new = self.traffic.shown(new);
        let old = ServerState::from_u8(self.state.swap(new as u8, Relaxed));
        self.count_quick();
        if old != new {
            self.shared.events.send(
                EventKind::State,
                self.name(),
                Some(old.as_str()),
                Some(new.as_str()),
            );
        }
    }

    /// An instance said something of its own accord that concerns everybody.
    pub(crate) fn heard(&self, method: &str, message: &[u8], found: &Envelope) {
        if method.ends_with("/list_changed") {
            self.list_changed(method);
        } else if method == "notifications/resources/updated" {
            let uri = found.members.uri.map(|span| span.of(message));
            match uri.and_then(envelope::text) {
                Some(uri) => self.updated(&uri, found.params.map(|span| span.of(message))),
                None => self.reads.updated(None),
            }
        }
    }

    /// A resource changed; `params` are those of the notification, if there was one.
    pub(crate) fn updated(&self, uri: &str, params: Option<&[u8]>) {
        self.reads.updated(Some(uri));
        let news = &self.shared.events.news;
        news.updated(self.name(), uri, &without_meta(uri, params));
    }

    /// An instance said that one of its lists changed.
    pub(crate) fn list_changed(&self, method: &str) {
        self.catalog.invalidate();
        let what = method
            .trim_start_matches("notifications/")
            .trim_end_matches("/list_changed");
        self.reads.changed(what);
        self.shared
            .events
            .send(EventKind::ListChanged, self.name(), None, Some(what));
    }

    /// The agreement of the first instance that has one.
    pub(crate) fn agreed(&self) -> Option<Arc<Agreed>> {
        let fleet = self.fleet.load();
        let front = fleet.front.as_ref().and_then(Link::agreed);
        front.or_else(|| fleet.links().iter().find_map(Link::agreed))
    }
}

/// The params of a notification about a resource without `_meta`, which belongs to the hop that it came over.
fn without_meta(uri: &str, params: Option<&[u8]>) -> Bytes {
    let mut out = b"{\"uri\":".to_vec();
    translate::push_json_string(&mut out, uri);
    if let Some(params) = params {
        // They were scanned already.
        let _ = envelope::members(params, |key, value| {
            if !matches!(envelope::text(key).as_deref(), Some("uri" | "_meta")) {
                out.push(b',');
                out.extend_from_slice(key);
                out.push(b':');
                out.extend_from_slice(value.of(params));
            }
        });
    }
    out.push(b'}');
    out.into()
}
