//! Requests in flight at a child, and the messages that it sends of its own.
//!
//! The rule: ids are mapped, so callers may use the same ones; a request is forgotten on every way out, and whoever
//! gives up frees the slot at once.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Instant;

use bytes::Bytes;
use crossfade_core::RejectReason;
use tokio::sync::oneshot;

use super::Child;
use crate::clock::lock;
use crate::envelope::{self, Envelope};
use crate::error::{Error, RemoteFault, Result};
use crate::gateway::voice::Voice;
use crate::translate::progress;
use crate::upstream::hearing::Asker;
use crate::upstream::message::{request_body, with_token};
use crate::upstream::slots::Slot;
use crate::upstream::{Caller, Outgoing, discovery};

pub(super) type Reply = Result<Result<Bytes, RemoteFault>>;

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) struct Pending {
    sender: oneshot::Sender<Reply>,
    /// Who hears what the child says meanwhile.
    voice: Option<Arc<Voice>>,
}

impl Child {
    pub(super) fn ask(
        &self,
        method: &str,
        params: &[u8],
        caller: &Caller<'_>,
    ) -> Result<(u64, oneshot::Receiver<Reply>)> {
        let id = self.next_id.fetch_add(1, Relaxed);
        let (sender, receiver) = oneshot::channel();
        {
            // `dead` is set under this lock before the map is emptied, so nothing is left behind.
            let mut pending = lock(&self.pending);
            if self.is_dead() {
                drop(pending);
                return Err(self.crashed("is not running"));
            }
            let voice = caller.voice.cloned();
            pending.insert(id, Pending { sender, voice });
        }
        let params = with_token(params, id, caller);
        self.send_line(&request_body(id, method, &params));
        Ok((id, receiver))
    }

    /// A request of the handshake: no slot, no cancellation.
    pub(crate) async fn request(&self, method: &str, params: &[u8]) -> Reply {
        let (_, receiver) = self.ask(method, params, &Caller::default())?;
        receiver
            .await
            .unwrap_or_else(|_| Err(self.crashed("ended")))
    }

    /// One call. Giving up (timeout, dropped future) frees the slot and, if the caller wants, tells the child.
    pub(crate) async fn call(&self, outgoing: Outgoing<'_>, params: &[u8]) -> Result<Bytes> {
        let _slot = self.slot(outgoing.deadline).await?;
        let (id, receiver) = self.ask(outgoing.method, params, &outgoing.caller)?;
        let mut flight = Flight {
            child: self,
            id,
            cancels: outgoing.caller.cancels,
            over: false,
        };
        let reply = if let Some(voice) = outgoing.caller.voice {
            voice.within(outgoing.deadline, receiver).await
        } else {
            let until = outgoing.deadline.into();
            tokio::time::timeout_at(until, receiver).await.ok()
        };
        let Some(reply) = reply else {
            flight.cancels = None;
            return Err(Error::ServerTimeout {
                message: format!(
                    "server '{}' (pid {}) did not answer {} in time; check the server, or raise timeoutMs",
                    self.server, self.pid, outgoing.method
                ),
                server: self.server.clone(),
            });
        };
        flight.over = true;
        reply
            .unwrap_or_else(|_| Err(self.crashed("ended")))?
            .map_err(|fault| Error::Remote {
                fault: Box::new(fault),
                server: self.server.clone(),
            })
    }

    async fn slot(&self, deadline: Instant) -> Result<Slot<'_>> {
        let since = Instant::now();
        let until = deadline.min(since + self.acquire_timeout);
        let slot = self.slots.acquire(until).await;
        self.shed.waited(since);
        slot.map_err(|reason| match reason {
            RejectReason::Draining => self.crashed("ended while callers waited for it"),
            _ => Error::PoolTimeout {
                message: format!(
                    "server '{}': all places of its pipe are taken ({} callers wait); slow down, or raise pool.stdioStreams",
                    self.server,
                    self.slots.waiting()
                ),
                server: self.server.clone(),
            },
        })
    }

    pub(super) fn fail_all(&self, error: &Error) {
        let waiting: Vec<_> = {
            let mut pending = lock(&self.pending);
            pending.drain().collect()
        };
        for (_, waiting) in waiting {
            let _ = waiting.sender.send(Err(error.clone()));
        }
    }

    /// False if the line is no message.
    pub(super) fn take_line(&self, line: &Bytes) -> bool {
        if line.trim_ascii().is_empty() {
            return true;
        }
        let Ok(found) = envelope::scan(line) else {
            return false;
        };
        if !found.complete {
            return false;
        }
        if found.method.is_some() {
            self.take_request(line, &found);
            return true;
        }
        let reply = match (found.result, found.error) {
            (Some(result), None) => Ok(line.slice(result.start..result.end)),
            (None, Some(error)) => Err(discovery::fault(line.slice(error.start..error.end))),
            _ => return false,
        };
        let id = found
            .id
            .and_then(|span| std::str::from_utf8(span.of(line)).ok()?.parse::<u64>().ok());
        if let Some(id) = id {
            self.answered.store(true, Relaxed);
            let waiting = lock(&self.pending).remove(&id);
            if let Some(waiting) = waiting {
                // A receiver that is gone gave up meanwhile.
                let _ = waiting.sender.send(Ok(reply));
            }
        }
        true
    }

    /// What the server asks or tells.
    fn take_request(&self, line: &Bytes, found: &Envelope) {
        if found.id.is_some() {
            let voice = self.speaker();
            Asker::Child(Weak::clone(&self.own)).asked(line, found, voice.as_ref());
            return;
        }
        let method = found.method.map(|span| span.of(line));
        match method {
            Some(b"\"notifications/progress\"") => {
                if let Some((id, voice)) = self.told_progress(line, found) {
                    voice.hear(line, found, id);
                }
            }
            Some(b"\"notifications/message\"" | b"\"notifications/cancelled\"") => {
                if let Some(voice) = self.speaker() {
                    voice.hear(line, found, 0);
                }
            }
            _ => {
                if let (Some(server), Some(method)) =
                    (self.owner.upgrade(), method.and_then(envelope::text))
                    && !self.acknowledged(&method, line, found)
                {
                    server.heard(&method, line, found);
                }
            }
        }
    }

    /// Log messages go to this voice until the guard is dropped; see `stdio::own`.
    pub(crate) fn heard_by(&self, voice: &Arc<Voice>) -> Heard<'_> {
        *lock(&self.logged) = Arc::downgrade(voice);
        Heard(self)
    }

    /// Whose request a progress message is about: its id stands for the client's token.
    fn told_progress(&self, line: &[u8], found: &Envelope) -> Option<(u64, Arc<Voice>)> {
        let token = progress::token_in(line, found)?;
        let id = std::str::from_utf8(token).ok()?.parse().ok()?;
        let voice = lock(&self.pending).get(&id)?.voice.clone()?;
        Some((id, voice))
    }

    /// Who hears what names no request: the one client that this child is for.
    fn speaker(&self) -> Option<Arc<Voice>> {
        if !self.is_own() {
            return lock(&self.logged).upgrade();
        }
        let pending = lock(&self.pending);
        let newest = pending.iter().max_by_key(|(id, _)| **id);
        newest.and_then(|(_, waiting)| waiting.voice.clone())
    }
}

/// One caller hears the log messages of a shared child.
pub(crate) struct Heard<'a>(&'a Child);

impl Drop for Heard<'_> {
    fn drop(&mut self) {
        *lock(&self.0.logged) = Weak::new();
    }
}

/// A request in flight: forgotten on every way out, and cancelled if it was not answered.
struct Flight<'a> {
    child: &'a Child,
    id: u64,
    cancels: Option<&'a AtomicBool>,
    over: bool,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        lock(&self.child.pending).remove(&self.id);
        if self.cancels.is_none_or(|asked| asked.load(Relaxed)) {
            self.child.send_line(
                format!(
                    "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{},\"reason\":\"the caller gave up\"}}}}",
                    self.id
                )
                .as_bytes(),
            );
        }
    }
}
