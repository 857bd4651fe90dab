//! One URL of a Streamable HTTP server: its connections, its state, and how its failures are named.
//!
//! The rule: every error names the server and its URL and ends with what to do next. Requests are built in `head`, era
//! and session are settled in `agreement`, `calls` are the manager's own; the gateway's streaming relay shares the rest.

mod agreement;
mod calls;
mod head;
mod leasing;
mod pipe;

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::dedicated::{Dedicated, Line};
use super::discovery::Agreed;
use super::lease::Connections;
use super::session::UpstreamSession;
use super::{Server, Shared};
use crate::clock::lock;
use crate::config::{EraSpec, ServerSpec};
use crate::error::Error;
use crate::info::Era;
pub(crate) use head::Head;
use pipe::Pipe;

#[derive(Debug)]
pub(crate) struct HttpLink {
    name: String,
    url: String,
    pub(super) fixed: Vec<u8>,
    pub(crate) pool: Arc<Connections>,
    era: EraSpec,
    stateless: bool,
    start_timeout: Duration,
    pub(crate) max_message: usize,
    shared: Arc<Shared>,
    server: Weak<Server>,
    agreed: ArcSwapOption<Agreed>,
    /// The manager's own session with a legacy server.
    session: ArcSwapOption<UpstreamSession>,
    /// Sessions that clients of the gateway have here.
    guests: Mutex<Vec<Weak<UpstreamSession>>>,
    /// Sessions for one call at a time.
    dedicated: Arc<Dedicated>,
    is_pipe: AtomicBool,
    pipe: Mutex<Option<Arc<Pipe>>>,
    /// With which status it refused the handshake last; 0: with none.
    refusal: AtomicU16,
    closed: AtomicBool,
    preparing: tokio::sync::Mutex<()>,
    ids: AtomicU64,
}

impl HttpLink {
    pub(crate) fn new(
        spec: &ServerSpec,
        url: &str,
        shared: &Arc<Shared>,
        server: Weak<Server>,
    ) -> Arc<Self> {
        // A URL that cannot be parsed fails at connect, with its text in the message.
        let (host, port, path, authority) = head::parse_url(url)
            .unwrap_or_else(|| (url.to_owned(), 80, "/".to_owned(), String::new()));
        Arc::new(Self {
            name: spec.name.clone(),
            url: url.to_owned(),
            fixed: head::fixed_head(spec, &path, &authority),
            pool: Connections::new(spec, url, (host, port), shared),
            era: spec.era,
            stateless: spec.stateless,
            start_timeout: Duration::from_millis(spec.start_timeout_ms),
            max_message: spec.max_message_bytes,
            shared: Arc::clone(shared),
            server,
            agreed: ArcSwapOption::empty(),
            session: ArcSwapOption::empty(),
            guests: Mutex::default(),
            dedicated: Dedicated::new(spec, shared),
            is_pipe: AtomicBool::new(false),
            pipe: Mutex::default(),
            refusal: AtomicU16::new(0),
            closed: AtomicBool::new(false),
            preparing: tokio::sync::Mutex::new(()),
            ids: AtomicU64::new(1),
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn agreed(&self) -> Option<Arc<Agreed>> {
        self.agreed.load_full()
    }

    /// The agreed era, if there is one already; cheaper than [`HttpLink::agreed`].
    pub(crate) fn era(&self) -> Option<Era> {
        self.agreed.load().as_ref().map(|agreed| agreed.era)
    }

    /// True if the manager's own conversation has a session id, which makes ids shared.
    pub(crate) fn shared_session(&self) -> Option<Arc<UpstreamSession>> {
        self.session.load_full()
    }

    /// Whether it speaks the transport of 2024-11-05, where all answers come on one stream.
    pub(crate) fn is_pipe(&self) -> bool {
        self.is_pipe.load(Relaxed)
    }

    /// The stream that everything comes on, if there is one and it is open.
    fn pipe(&self) -> Option<Arc<Pipe>> {
        lock(&self.pipe).clone().filter(|pipe| !pipe.is_dead())
    }

    /// Tells the manager's conversation with it from those before; `None` while there is none.
    pub(crate) fn conversation(&self) -> Option<usize> {
        if self.is_pipe() {
            return self.pipe().map(|pipe| Arc::as_ptr(&pipe).addr());
        }
        let session = self.session.load();
        session.as_ref().map(|session| Arc::as_ptr(session).addr())
    }

    pub(crate) fn connections(&self) -> usize {
        self.pool.open()
    }

    pub(crate) fn tick(&self) {
        self.pool.tick();
        self.dedicated.tick();
    }

    /// It is closed for good: whoever has a session here needs another instance.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// A client's session, which ends with this instance at the latest.
    pub(crate) fn host(&self, session: &Arc<UpstreamSession>) {
        let mut guests = lock(&self.guests);
        guests.retain(|guest| guest.strong_count() > 0);
        guests.push(Arc::downgrade(session));
    }

    pub(crate) async fn close(&self) {
        self.closed.store(true, Relaxed);
        if let Some(pipe) = lock(&self.pipe).take() {
            pipe.close();
        }
        let guests = std::mem::take(&mut *lock(&self.guests));
        let own = self.session.swap(None);
        let resting = self.dedicated.close().into_iter();
        let resting = resting.filter_map(|line| match line {
            Line::Http(_, session) => Some(session),
            Line::Child(_) => None,
        });
        let guests = guests.iter().filter_map(Weak::upgrade);
        let sessions: Vec<_> = guests.chain(own).chain(resting).collect();
        for session in &sessions {
            session.beside.end();
        }
        let _ = tokio::time::timeout(Duration::from_secs(1), async {
            for session in &sessions {
                session.end(self).await;
            }
        })
        .await;
        self.pool.drain();
    }

    // -- errors

    pub(crate) fn crashed(&self, why: &std::io::Error) -> Error {
        Error::ServerCrashed {
            message: format!(
                "server '{}' at {} closed the connection during the call ({why}); check its log, then call again",
                self.name, self.url
            ),
            server: self.name.clone(),
        }
    }

    pub(crate) fn violation(&self, what: &str) -> Error {
        Error::ProtocolViolation {
            message: format!(
                "server '{}' at {} {what}; check the server and its url",
                self.name, self.url
            ),
            server: self.name.clone(),
        }
    }

    pub(crate) fn too_long(&self) -> Error {
        Error::ProtocolViolation {
            message: format!(
                "server '{}' at {} sent a message of more than {} bytes; raise maxMessageBytes if that is intended",
                self.name, self.url, self.max_message
            ),
            server: self.name.clone(),
        }
    }

    pub(crate) fn timeout(&self, method: &str) -> Error {
        Error::ServerTimeout {
            message: format!(
                "server '{}' at {} did not answer {method} in time; check the server, or raise timeoutMs",
                self.name, self.url
            ),
            server: self.name.clone(),
        }
    }
}
