//! The events of one answer: numbered and kept where its client may come back for them.
//!
//! The rules: only streams of a session can be resumed; its first event tells the client where it is, unless the client's
//! revision would take it for a message (2025-11-25 transports, "Sending Messages"; older ones know no empty data).

use std::sync::Arc;

use super::Gateway;
use super::sessions::Session;
use super::sse;

/// The first revision that knows events without data.
const PRIMED: &str = "2025-11-25";

#[derive(Debug)]
pub(crate) struct Track {
    gateway: Arc<Gateway>,
    session: Option<Arc<Session>>,
    stream: Option<u64>,
}

impl Track {
    pub(crate) fn new(gateway: &Arc<Gateway>, session: Option<&Arc<Session>>) -> Self {
        let replays = gateway.manager.gateway.replay_events > 0;
        Self {
            gateway: Arc::clone(gateway),
            session: session.filter(|_| replays).cloned(),
            stream: None,
        }
    }

    /// The stream begins.
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) {
        let Some(session) = &self.session else { return };
        let streams = session.streams(&self.gateway);
        let stream = streams.open(false);
        self.stream = Some(stream);
        if session.version >= PRIMED {
            sse::push_event(out, Some(&format!("{stream}-0")), b"");
        }
    }

    /// The session in which it can be resumed, once it has begun.
    pub(crate) fn resumable(&self) -> Option<&Arc<Session>> {
        self.session.as_ref().filter(|_| self.stream.is_some())
    }

    /// Appends an event.
    pub(crate) fn push(&self, out: &mut Vec<u8>, message: &[u8]) {
        let id = self.keep(message);
        sse::push_event(out, id.as_deref(), message);
    }

    /// Keeps an event for a client that is away; its id.
    pub(crate) fn keep(&self, message: &[u8]) -> Option<String> {
        let streams = self.session.as_ref()?.streams(&self.gateway);
        Some(streams.add(self.stream?, message).to_string())
    }
}

impl Drop for Track {
    fn drop(&mut self) {
        if let (Some(session), Some(stream)) = (&self.session, self.stream) {
            session.streams(&self.gateway).end(stream);
        }
    }
}
