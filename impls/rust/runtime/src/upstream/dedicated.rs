//! Sessions with a legacy server that one client has for itself, leased for one call at a time.
//!
//! The rules: a session is opened as the client that it is for, and no other principal ever gets it; there are never
//! more than `dedicated.max` at once, in use or resting; one whose call did not end well is ended, and so is one that
//! rested for too long.

use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::child::Child;
use super::http::HttpLink;
use super::session::UpstreamSession;
use super::{Caller, Shared};
use crate::clock::lock;
use crate::config::ServerSpec;
use crate::error::{Error, Result};
use crate::translate::{self, NAME, VERSION};

/// As whom a session is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guise<'a> {
    /// Client capabilities, JSON.
    pub(crate) capabilities: &'a [u8],
    /// `clientInfo`, JSON; the gateway's own if `None`.
    pub(crate) info: Option<&'a [u8]>,
}

/// The manager's own: it can be asked nothing.
pub(crate) const PLAIN: Guise<'static> = Guise {
    capabilities: b"{}",
    info: None,
};

impl Guise<'_> {
    /// `params` of `initialize`.
    pub(crate) fn params(&self) -> Vec<u8> {
        let mut out = format!(
            "{{\"protocolVersion\":\"{}\",\"capabilities\":",
            translate::LEGACY[0]
        )
        .into_bytes();
        out.extend_from_slice(self.capabilities);
        out.extend_from_slice(b",\"clientInfo\":");
        let own = format!("{{\"name\":\"{NAME}\",\"version\":\"{VERSION}\"}}");
        out.extend_from_slice(self.info.unwrap_or(own.as_bytes()));
        out.push(b'}');
        out
    }
}

/// The log level that a session was given last.
#[derive(Debug, Default)]
pub(crate) struct Level(Mutex<Option<Box<str>>>);

impl Level {
    /// Whether `wanted` is another one.
    pub(crate) fn differs(&self, wanted: &str) -> bool {
        lock(&self.0).as_deref() != Some(wanted)
    }

    pub(crate) fn is(&self, level: &str) {
        *lock(&self.0) = Some(level.into());
    }
}

/// `params` of `logging/setLevel`.
pub(crate) fn level_params(level: &str) -> Vec<u8> {
    let mut params = b"{\"level\":".to_vec();
    translate::push_json_string(&mut params, level);
    params.push(b'}');
    params
}

/// A child of one client; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct OwnChild {
    pub(crate) child: Arc<Child>,
    pub(crate) level: Level,
    /// Its place among those of its server, if no lease holds it.
    _place: Option<OwnedSemaphorePermit>,
}

impl OwnChild {
    pub(crate) fn new(child: Arc<Child>, place: Option<OwnedSemaphorePermit>) -> Arc<Self> {
        Arc::new(Self {
            child,
            level: Level::default(),
            _place: place,
        })
    }
}

impl Drop for OwnChild {
    fn drop(&mut self) {
        self.child.kill();
    }
}

/// One session, whatever it runs on.
#[derive(Clone, Debug)]
pub(crate) enum Line {
    Http(Weak<HttpLink>, Arc<UpstreamSession>),
    Child(Arc<OwnChild>),
}

impl Line {
    fn is_dead(&self) -> bool {
        matches!(self, Self::Child(own) if own.child.is_dead())
    }

    /// Ends it without waiting.
    fn end(self, shared: &Shared) {
        if let Self::Http(link, session) = self
            && let Some(link) = link.upgrade()
        {
            shared.handle.spawn(async move { session.end(&link).await });
        }
    }
}

#[derive(Debug)]
struct Resting {
    key: Box<[u8]>,
    line: Line,
    since: Instant,
}

/// The dedicated sessions of one instance.
#[derive(Debug)]
pub(crate) struct Dedicated {
    server: String,
    shared: Arc<Shared>,
    max: usize,
    idle: Duration,
    patience: Duration,
    places: Arc<Semaphore>,
    resting: Mutex<Vec<Resting>>,
}

/// A session for one call. It goes back to rest only if [`Leased::clean`] says so, else it ends.
#[derive(Debug)]
pub(crate) struct Leased {
    pool: Arc<Dedicated>,
    key: Box<[u8]>,
    pub(crate) line: Option<Line>,
    clean: bool,
    _place: OwnedSemaphorePermit,
}

impl Leased {
    /// The call was answered: the next one may have the session.
    pub(crate) fn clean(mut self) {
        self.clean = true;
    }

    /// It is over: another one takes its place.
    pub(crate) fn replace(&mut self, line: Line) {
        if let Some(old) = self.line.replace(line) {
            old.end(&self.pool.shared);
        }
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        let Some(line) = self.line.take() else { return };
        if self.clean && !line.is_dead() && !self.places_closed() {
            let resting = Resting {
                key: std::mem::take(&mut self.key),
                line,
                since: Instant::now(),
            };
            lock(&self.pool.resting).push(resting);
        } else {
            line.end(&self.pool.shared);
        }
    }
}

impl Leased {
    fn places_closed(&self) -> bool {
        self.pool.places.is_closed()
    }
}

impl Dedicated {
    pub(crate) fn new(spec: &ServerSpec, shared: &Arc<Shared>) -> Arc<Self> {
        let max = spec.dedicated.max.clamp(1, 65_536);
        Arc::new(Self {
            server: spec.name.clone(),
            shared: Arc::clone(shared),
            max,
            idle: Duration::from_millis(spec.dedicated.idle_ms),
            patience: Duration::from_millis(spec.pool.acquire_timeout_ms),
            places: Arc::new(Semaphore::new(max)),
            resting: Mutex::default(),
        })
    }

    /// One more place, now or when one is free. What rests makes way.
    pub(crate) async fn place(&self, deadline: Instant) -> Result<OwnedSemaphorePermit> {
        let until = deadline.min(Instant::now() + self.patience);
        let places = Arc::clone(&self.places);
        match tokio::time::timeout_at(until.into(), places.acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(Error::ManagerClosed {
                message: format!(
                    "server '{}' is being removed; call another one",
                    self.server
                ),
            }),
            Err(_) => Err(Error::PoolTimeout {
                message: format!(
                    "server '{}': all {} sessions for single clients are taken; call again later, or raise dedicated.max",
                    self.server, self.max
                ),
                server: self.server.clone(),
            }),
        }
    }

    /// Ends what rests beyond what there may be.
    pub(crate) fn make_way(&self) {
        let too_many: Vec<_> = {
            let mut resting = lock(&self.resting);
            let most = self.places.available_permits();
            let surplus = resting.len().saturating_sub(most);
            resting.drain(..surplus).collect()
        };
        for over in too_many {
            over.line.end(&self.shared);
        }
    }

    /// A session for this caller alone; without a line if none rests that is its own.
    pub(crate) async fn lease(
        self: &Arc<Self>,
        caller: &Caller<'_>,
        deadline: Instant,
    ) -> Result<Leased> {
        let place = self.place(deadline).await?;
        let mut key = caller.principal.text().into_owned().into_bytes();
        key.push(0);
        key.extend_from_slice(caller.capabilities);
        let found = {
            let mut resting = lock(&self.resting);
            resting.retain(|one| !one.line.is_dead());
            let at = resting.iter().rposition(|one| *one.key == *key);
            at.map(|at| resting.remove(at).line)
        };
        self.make_way();
        Ok(Leased {
            pool: Arc::clone(self),
            key: key.into(),
            line: found,
            clean: false,
            _place: place,
        })
    }

    /// Ends what rested for too long.
    pub(crate) fn tick(&self) {
        let now = Instant::now();
        let over: Vec<_> = {
            let mut resting = lock(&self.resting);
            if resting.is_empty() {
                return;
            }
            resting
                .extract_if(.., |one| {
                    one.line.is_dead() || now.duration_since(one.since) >= self.idle
                })
                .collect()
        };
        for one in over {
            one.line.end(&self.shared);
        }
    }

    /// Gives out nothing any more; returns what rested.
    pub(crate) fn close(&self) -> Vec<Line> {
        self.places.close();
        let mut resting = lock(&self.resting);
        resting.drain(..).map(|one| one.line).collect()
    }
}
