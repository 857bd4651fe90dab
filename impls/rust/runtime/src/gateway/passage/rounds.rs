//! A modern server that answers a relayed request of a legacy client with `input_required`.
//!
//! The rule: such a client declared nothing, because who could be asked does not come this way; so a round that asks for
//! input ends in -32021, and one that only gives a state is gone round, with the request as it was sent.

use std::future::pending;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::Job;
use crate::envelope;
use crate::error::{Error, Result};
use crate::gateway::answer::{Answer, push_result};
use crate::gateway::client::{Attended, Turn};
use crate::gateway::sessions::Session;
use crate::gateway::voice::{Manner, Voice};
use crate::gateway::{Gateway, inputs};
use crate::translate::rounds;
use crate::upstream::{Caller, Outgoing, Server};

/// The result that a response holds, if it wants another round.
pub(super) fn wanted(body: &[u8]) -> Option<&[u8]> {
    memchr::memmem::find(body, b"input_required")?;
    let result = envelope::scan(body).ok()?.result?.of(body);
    rounds::is_input_required(result).then_some(result)
}

/// A relayed request, as it was sent.
pub(super) struct Sent {
    gateway: Arc<Gateway>,
    server: Arc<Server>,
    session: Arc<Session>,
    method: &'static str,
    deadline: Instant,
    /// Head and body.
    bytes: Vec<u8>,
}

impl Sent {
    /// Goes on from `result` to the end.
    pub(super) async fn go_on(&self, result: Bytes) -> Result<Bytes> {
        let at = memchr::memmem::find(&self.bytes, b"\r\n\r\n");
        let body = &self.bytes[at.map_or(self.bytes.len(), |at| at + 4)..];
        let read = |env: envelope::Envelope| Some((env.members, env.params?.of(body)));
        let Some((members, params)) = envelope::scan(body).ok().and_then(read) else {
            return Err(Error::internal(
                "a relayed request cannot be read; report this",
            ));
        };
        let named = members.name.or(members.uri);
        let name = named.and_then(|span| envelope::text(span.of(body)));
        let manner = Manner::Session(Arc::clone(&self.session));
        let voice = Voice::new(None, false, manner, self.gateway.input_limit());
        let outgoing = Outgoing {
            method: self.method,
            params,
            name: name.as_deref(),
            caller: Caller {
                capabilities: &self.session.capabilities,
                session: Some(&self.session),
                voice: Some(&voice),
                ..Caller::default()
            },
            lines: b"",
            deadline: self.deadline,
        };
        inputs::go_on(&self.gateway, &self.server, outgoing, &self.session, result).await
    }
}

impl Job<'_> {
    /// What was sent, while it stands in the client's buffer; none for a client or a server that knows of no rounds.
    pub(super) fn sent(&mut self) -> Option<Sent> {
        let session = self.own.filter(|_| self.session.is_none())?;
        Some(Sent {
            gateway: Arc::clone(&self.client.gateway),
            server: Arc::clone(self.server),
            session: Arc::clone(session),
            method: self.method,
            deadline: self.deadline,
            bytes: std::mem::take(&mut self.client.output),
        })
    }

    /// Goes on from `result` to the end, and answers.
    pub(super) async fn go_round(&mut self, result: Bytes) -> Turn {
        let Some(sent) = self.sent() else {
            return Turn::Close;
        };
        let cancelled = self.cancelled.take();
        let cancelled = async {
            match cancelled {
                Some(cancelled) => cancelled.await,
                None => pending().await,
            }
        };
        let attended = tokio::select! {
            attended = self.client.attend(Box::pin(sent.go_on(result)), None) => attended,
            () = cancelled => Attended::Cancelled,
        };
        let answer = match attended {
            Attended::Gone => return Turn::Close,
            Attended::Cancelled => Answer::accepted(),
            Attended::Done(outcome) => Answer::new(200, self.concluded(outcome)),
        };
        self.client.respond(&answer, self.keep_alive).await
    }

    /// The response that tells how it went.
    pub(super) fn concluded(&self, outcome: Result<Bytes>) -> Vec<u8> {
        match outcome {
            Ok(result) => {
                let mut out = Vec::with_capacity(result.len() + 96);
                push_result(&mut out, self.id, &result);
                out
            }
            Err(error) => {
                let metrics = &self.client.gateway.manager.shared.metrics;
                metrics.error(error.code());
                Answer::failure(self.id, &error).body
            }
        }
    }
}
