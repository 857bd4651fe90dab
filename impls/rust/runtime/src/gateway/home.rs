//! Where a legacy client is reached beside its requests: its line if it speaks over stdio, else its general stream.
//!
//! The rule: a client that listens nowhere is not at home, and whoever wants it must ask in the course of a request.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::mpsc::{Sender, WeakSender};

use super::sessions::Session;
use super::voice::{Manner, Voice};

#[derive(Debug)]
pub(crate) struct Home {
    /// It must not keep the face open.
    line: OnceLock<WeakSender<Vec<u8>>>,
    /// How long the client may take to answer.
    limit: Duration,
}

impl Home {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            line: OnceLock::new(),
            limit,
        }
    }

    /// It speaks over stdio.
    pub(super) fn on(&self, line: &Sender<Vec<u8>>) {
        let _ = self.line.set(line.downgrade()); // a client has one line
    }
}

impl Session {
    pub(crate) fn is_at_home(&self) -> bool {
        self.home.line.get().is_some() || self.general().is_some()
    }

    /// The voice of what belongs to no request.
    pub(crate) fn home_voice(self: &Arc<Self>) -> Arc<Voice> {
        let manner = Manner::Session(Arc::clone(self));
        Voice::new(None, true, manner, self.home.limit)
    }

    /// Sends a message that belongs to no request. One that is away meanwhile finds it when it comes back, or never.
    pub(crate) async fn say_at_home(&self, message: Vec<u8>) {
        if let Some(line) = self.home.line.get() {
            if let Some(line) = line.upgrade() {
                let _ = line.send(message).await; // a face that closes sends nothing more
            }
        } else if let Some((streams, number)) = self.general() {
            streams.add(number, &message);
        }
    }
}
