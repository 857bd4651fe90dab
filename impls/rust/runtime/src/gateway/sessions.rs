//! Sessions of legacy clients: a few hundred bytes each, ended by DELETE or by time, and everything of theirs with them.
//!
//! The rules: one belongs to who opened it, and to others it is unknown; there is a bounded number of them, so that for
//! one more the longest idle goes, and one that is in use never does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Gateway;
use super::asking::Book;
use super::hears::Hears;
use super::home::Home;
use super::replay::Streams;
use super::suspended::random;
use crate::clock::{lock, now_ns};
use crate::config::GatewaySpec;
use crate::error::Result;
use crate::metrics::Metrics;
use crate::principal::Principal;
use crate::upstream::StdioLink;
use crate::upstream::beside;
use crate::upstream::dedicated::{Guise, OwnChild};
use crate::upstream::http::HttpLink;
use crate::upstream::session::UpstreamSession;

/// Whoever has no stream open for so long listens no more.
const AWAY_NS: u64 = 60_000_000_000;

/// A request of a session that is being answered.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    pub(crate) cancelled: AtomicBool,
    pub(crate) wake: Notify,
}

/// A link and the session that this client has there.
type Upstream = (Arc<HttpLink>, Arc<UpstreamSession>);

/// Who opens a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guest<'a> {
    pub(crate) principal: Principal<'a>,
    /// The revision that was agreed on.
    pub(crate) version: &'static str,
    /// What it can do, JSON.
    pub(crate) capabilities: &'a [u8],
    /// `clientInfo`, JSON.
    pub(crate) info: Option<&'a [u8]>,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    /// Who opened it, if they said who they are.
    owner: Option<[u8; 16]>,
    /// The caller's client capabilities, JSON.
    pub(crate) capabilities: Box<[u8]>,
    /// The revision that was agreed on.
    pub(crate) version: &'static str,
    /// `clientInfo`, JSON.
    info: Option<Box<[u8]>>,
    can_be_asked: bool,
    level: Mutex<Option<Arc<str>>>,
    has_level: AtomicBool,
    used_ns: AtomicU64,
    busy: AtomicU64,
    upstream: Mutex<Vec<Upstream>>,
    /// Children of its own.
    pub(super) children: Mutex<Vec<(Arc<StdioLink>, Arc<OwnChild>)>>,
    pub(super) opening: tokio::sync::Mutex<()>,
    /// What its servers asked and it has not answered yet.
    pub(crate) asked: Book,
    in_flight: Mutex<HashMap<Box<[u8]>, Arc<InFlight>>>,
    /// Connections that listen to it.
    pub(crate) streaming: AtomicUsize,
    streams: OnceLock<Box<Streams>>,
    pub(super) home: Home,
    hears: OnceLock<Box<Hears>>,
    pub(crate) ended: AtomicBool,
    pub(crate) end: Notify,
}

impl Session {
    /// The upstream session of this client, if it has one.
    pub(crate) fn upstream(&self, link: &Arc<HttpLink>) -> Option<Arc<UpstreamSession>> {
        let upstream = lock(&self.upstream);
        upstream
            .iter()
            .find(|(known, _)| Arc::ptr_eq(known, link))
            .map(|(_, session)| Arc::clone(session))
    }

    /// The upstream session of this client, opened now if it has none, or anew if it has only `gone`.
    pub(crate) async fn open_upstream(
        self: &Arc<Self>,
        link: &Arc<HttpLink>,
        gone: Option<&Arc<UpstreamSession>>,
        deadline: Instant,
    ) -> Result<Arc<UpstreamSession>> {
        let _one = self.opening.lock().await;
        if let Some(found) = self
            .upstream(link)
            .filter(|found| gone.is_none_or(|gone| !Arc::ptr_eq(gone, found)))
        {
            return Ok(found);
        }
        let (session, _) = UpstreamSession::open(link, self.guise(), deadline).await?;
        if let Some(level) = self.level() {
            session.set_level(link, &level, deadline).await;
        }
        let session = Arc::new(session);
        link.host(&session);
        if self.can_be_asked {
            Box::pin(beside::listen(link, &session, Some(self))).await;
        }
        let mut upstream = lock(&self.upstream);
        upstream.retain(|(known, _)| !Arc::ptr_eq(known, link) && !known.is_closed());
        upstream.push((Arc::clone(link), Arc::clone(&session)));
        if self.ended.load(Relaxed) {
            session.beside.end();
        }
        Ok(session)
    }

    /// As whom its sessions with servers are opened.
    pub(crate) fn guise(&self) -> Guise<'_> {
        Guise {
            capabilities: &self.capabilities,
            info: self.info.as_deref(),
        }
    }

    /// Whether servers may have something to say to it in the middle of a request, and not only to answer.
    pub(crate) fn talks(&self) -> bool {
        self.can_be_asked || self.has_level.load(Relaxed)
    }

    /// The least level of log messages that it wants, if it has said so.
    pub(crate) fn level(&self) -> Option<Arc<str>> {
        lock(&self.level).clone()
    }

    pub(super) fn wants(&self, level: &str) {
        *lock(&self.level) = Some(level.into());
        self.has_level.store(true, Relaxed);
    }

    /// Marks a request as being answered until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>, id: &[u8]) -> Entered {
        let flight = Arc::new(InFlight::default());
        lock(&self.in_flight).insert(id.into(), Arc::clone(&flight));
        self.busy.fetch_add(1, Relaxed);
        Entered {
            session: Arc::clone(self),
            id: id.into(),
            flight,
        }
    }

    pub(crate) fn find(&self, id: &[u8]) -> Option<Arc<InFlight>> {
        lock(&self.in_flight).get(id).cloned()
    }

    /// What is sent to this client beside answers.
    pub(crate) fn streams(&self, gateway: &Gateway) -> &Streams {
        self.streams
            .get_or_init(|| Box::new(Streams::new(gateway.manager.gateway.replay_events)))
    }

    /// The stream that shows what belongs to no request, if the client has it open.
    pub(super) fn general(&self) -> Option<(&Streams, u64)> {
        let streams = self.streams.get()?;
        Some((streams, streams.general()?))
    }

    /// What this client hears of changes.
    pub(crate) fn hears(&self, gateway: &Gateway) -> &Hears {
        self.hears
            .get_or_init(|| Box::new(Hears::new(&gateway.manager)))
    }

    /// Whether no request of it is in flight, and nobody listens.
    fn is_idle(&self) -> bool {
        self.busy.load(Relaxed) == 0 && self.streaming.load(Relaxed) == 0
    }

    pub(crate) fn touch(&self) {
        self.used_ns.store(now_ns(), Relaxed);
    }

    /// Links where this client has a session, with it.
    pub(crate) fn upstreams(&self) -> Vec<Upstream> {
        lock(&self.upstream).clone()
    }
}

/// A request in flight; dropping it forgets it.
#[derive(Debug)]
pub(crate) struct Entered {
    pub(crate) session: Arc<Session>,
    id: Box<[u8]>,
    pub(crate) flight: Arc<InFlight>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut in_flight = lock(&self.session.in_flight);
        if in_flight
            .get(&self.id)
            .is_some_and(|known| Arc::ptr_eq(known, &self.flight))
        {
            in_flight.remove(&self.id);
        }
        self.session.busy.fetch_sub(1, Relaxed);
        self.session.touch();
    }
}

#[derive(Debug)]
pub(crate) struct Sessions {
    by_id: Mutex<HashMap<String, Arc<Session>>>,
    most: usize,
    idle_ns: u64,
    input_limit: Duration,
}

impl Sessions {
    pub(crate) fn new(spec: &GatewaySpec) -> Self {
        Self {
            by_id: Mutex::default(),
            most: spec.max_sessions,
            idle_ns: spec.session_idle_ms * 1_000_000,
            input_limit: Duration::from_millis(spec.input_timeout_ms),
        }
    }

    /// A new session, `None` if all are in use; and who made room for it, the longest idle, removed already.
    pub(crate) fn create(
        &self,
        guest: &Guest<'_>,
        metrics: &Metrics,
    ) -> (Option<Arc<Session>>, Option<Arc<Session>>) {
        let session = Arc::new(Session {
            id: random_id(),
            owner: guest.principal.digest(),
            capabilities: guest.capabilities.into(),
            version: guest.version,
            info: guest.info.map(Into::into),
            can_be_asked: super::asking::is_asked(guest.capabilities),
            level: Mutex::default(),
            has_level: AtomicBool::new(false),
            used_ns: AtomicU64::new(now_ns()),
            busy: AtomicU64::new(0),
            upstream: Mutex::default(),
            children: Mutex::default(),
            opening: tokio::sync::Mutex::new(()),
            asked: Book::default(),
            in_flight: Mutex::default(),
            streaming: AtomicUsize::new(0),
            streams: OnceLock::new(),
            home: Home::new(self.input_limit),
            hears: OnceLock::new(),
            ended: AtomicBool::new(false),
            end: Notify::new(),
        });
        let mut by_id = lock(&self.by_id);
        let mut crowded_out = None;
        if by_id.len() >= self.most {
            let idle = by_id.values().filter(|session| session.is_idle());
            let longest = idle.min_by_key(|session| session.used_ns.load(Relaxed));
            let Some(longest) = longest.cloned() else {
                return (None, None);
            };
            by_id.remove(&longest.id);
            finish(&longest, metrics);
            crowded_out = Some(longest);
        }
        by_id.insert(session.id.clone(), Arc::clone(&session));
        metrics.sessions.fetch_add(1, Relaxed);
        (Some(session), crowded_out)
    }

    /// The session that this caller opened, and a new lease of life for it. To others it is none at all.
    pub(crate) fn get(&self, id: &[u8], caller: Principal<'_>) -> Option<Arc<Session>> {
        let id = std::str::from_utf8(id).ok()?;
        let session = lock(&self.by_id).get(id).cloned()?;
        if session.owner != caller.digest() {
            return None;
        }
        session.touch();
        Some(session)
    }

    pub(crate) fn remove(&self, id: &[u8], metrics: &Metrics) -> Option<Arc<Session>> {
        let id = std::str::from_utf8(id).ok()?;
        let session = lock(&self.by_id).remove(id)?;
        finish(&session, metrics);
        Some(session)
    }

    /// Removes the sessions that nobody used for too long; one with a request in flight or an open stream is in use.
    pub(crate) fn expire(&self, metrics: &Metrics) -> Vec<Arc<Session>> {
        let now = now_ns();
        let mut by_id = lock(&self.by_id);
        let idle = |session: &Session| {
            session.is_idle() && now.saturating_sub(session.used_ns.load(Relaxed)) >= self.idle_ns
        };
        for session in by_id.values() {
            if let Some(hears) = session.hears.get()
                && session.streaming.load(Relaxed) == 0
                && now.saturating_sub(session.used_ns.load(Relaxed)) >= AWAY_NS
            {
                hears.pause();
            }
        }
        let over: Vec<_> = by_id
            .values()
            .filter(|session| idle(session))
            .cloned()
            .collect();
        for session in &over {
            by_id.remove(&session.id);
            finish(session, metrics);
        }
        over
    }

    pub(crate) fn clear(&self, metrics: &Metrics) -> Vec<Arc<Session>> {
        let all: Vec<_> = lock(&self.by_id)
            .drain()
            .map(|(_, session)| session)
            .collect();
        for session in &all {
            finish(session, metrics);
        }
        all
    }
}

fn finish(session: &Session, metrics: &Metrics) {
    session.ended.store(true, Relaxed);
    session.end_children();
    for (_, upstream) in session.upstreams() {
        upstream.beside.end();
    }
    session.end.notify_waiters();
    metrics.sessions.fetch_sub(1, Relaxed);
}

/// 128 bits of the system's randomness, so that a session cannot be guessed.
fn random_id() -> String {
    let bytes: [u8; 16] = random();
    bytes
        .iter()
        .fold(String::with_capacity(32), |mut text, byte| {
            use std::fmt::Write;
            let _ = write!(text, "{byte:02x}");
            text
        })
}
