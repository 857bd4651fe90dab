//! Calls of the manager's own to one URL, and the notifications around them.
//!
//! The rule: after a 404 told that the session is gone, a call goes once into a new one, and never in a loop; a call
//! that is given up is cancelled at a legacy server, if its caller wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use bytes::Bytes;

use super::{Head, HttpLink};
use crate::envelope::{self, Envelope};
use crate::error::{Error, RemoteFault, Result};
use crate::info::Era;
use crate::upstream::Outgoing;
use crate::upstream::dedicated::Leased;
use crate::upstream::exchange::Answer;
use crate::upstream::hearing::Ear;
use crate::upstream::message::{hop_params, read_message, request_body, with_token};
use crate::upstream::session::UpstreamSession;

/// Set in ids that stand beside those of a client; no client counts that far.
const FOREIGN: u64 = 1 << 52;

impl HttpLink {
    /// Sends `method` with an id of the manager's own.
    pub(crate) async fn roundtrip(
        self: &Arc<Self>,
        head: &Head<'_>,
        method: &str,
        params: &[u8],
        deadline: Instant,
    ) -> Result<(Answer, u64)> {
        let id = self.next_id();
        let ear = Ear {
            id,
            voice: None,
            session: None,
            own: false,
        };
        Ok((self.ask(ear, head, method, params, deadline).await?, id))
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Relaxed)
    }

    async fn ask(
        self: &Arc<Self>,
        ear: Ear<'_>,
        head: &Head<'_>,
        method: &str,
        params: &[u8],
        deadline: Instant,
    ) -> Result<Answer> {
        let body = request_body(ear.id, method, params);
        let mut request = Vec::with_capacity(self.fixed.len() + 256 + body.len());
        self.write_head(&mut request, head, body.len());
        request.extend_from_slice(&body);
        self.send(&request, Some(ear), deadline, method).await
    }

    /// One call; see [`crate::upstream::Link::call`].
    pub(crate) async fn call(self: &Arc<Self>, outgoing: Outgoing<'_>) -> Result<Bytes> {
        let agreed = self.ready(outgoing.deadline).await?;
        if self.is_pipe() {
            return Box::pin(self.call_pipe(outgoing)).await;
        }
        let modern = agreed.era == Era::Modern;
        let params = hop_params(outgoing.params, modern, &outgoing.caller)?;
        // The caller's own session, unless the server is said to keep none.
        let own = outgoing
            .caller
            .session
            .filter(|_| !modern && !self.stateless);
        let mut leased = if outgoing.caller.alone && own.is_none() && !modern && !self.stateless {
            Some(Box::pin(self.lease(&outgoing.caller, outgoing.deadline)).await?)
        } else {
            None
        };
        let alone = own.is_some() || leased.is_some();
        let mut renewed = false;
        let mut gone = None;
        loop {
            let session = match (own, &leased) {
                (Some(own), _) => {
                    let opened = own.open_upstream(self, gone.as_ref(), outgoing.deadline);
                    Some(Box::pin(opened).await?)
                }
                (None, Some(leased)) => leased.session(),
                (None, None) => self.session.load_full().filter(|_| !modern),
            };
            let head = Head {
                version: Some(&agreed.version),
                session: session.as_ref().and_then(|session| session.id.as_deref()),
                method: modern.then_some(outgoing.method),
                name: outgoing.name.filter(|_| modern),
                lines: outgoing.lines,
            };
            // In a session of a client's own, its ids are there, too.
            let id = self.next_id() | if own.is_some() { FOREIGN } else { 0 };
            let mut given_up = GivenUp {
                link: self,
                session: session.clone(),
                id,
                leased: leased.take(),
                cancels: outgoing.caller.cancels,
                over: modern,
            };
            let ear = Ear {
                id,
                voice: outgoing.caller.voice,
                session: session.as_ref(),
                own: alone,
            };
            let params = with_token(&params, id, &outgoing.caller);
            let mine = session.as_ref().filter(|_| alone);
            let calling = mine.and_then(|session| session.beside.calling(outgoing.caller.voice));
            let answer = self
                .ask(ear, &head, outgoing.method, &params, outgoing.deadline)
                .await;
            given_up.over |= !matches!(answer, Err(Error::ServerTimeout { .. }));
            leased = given_up.leased.take().filter(|_| given_up.over);
            drop(given_up);
            drop(calling);
            let answer = answer?;
            if answer.status == 404 && head.session.is_some() && !renewed {
                // The session is gone; once anew, and never in a loop (2025-11-25 transports, "Session Management" 4).
                renewed = true;
                if own.is_some() {
                    gone = session;
                } else if let Some(leased) = &mut leased {
                    let anew = self.renew_lease(leased, &outgoing.caller, outgoing.deadline);
                    Box::pin(anew).await?;
                } else {
                    self.renew(session.as_deref(), outgoing.deadline).await?;
                }
                continue;
            }
            let read = self.read(&answer)?;
            if let Some(leased) = leased {
                leased.clean();
            }
            return match read {
                Ok(result) => Ok(result),
                Err(fault) => Err(Error::Remote {
                    fault: Box::new(fault),
                    server: self.name.clone(),
                }),
            };
        }
    }

    /// The result or error object of a JSON-RPC answer.
    pub(crate) fn read(&self, answer: &Answer) -> Result<Result<Bytes, RemoteFault>> {
        let Ok(found) = envelope::scan(&answer.body) else {
            return Err(self.no_answer(answer));
        };
        read_message(&answer.body, &found).ok_or_else(|| self.no_answer(answer))
    }

    fn no_answer(&self, answer: &Answer) -> Error {
        let what = match (answer.status, answer.body.is_empty()) {
            (200, true) => "ended its answer without a JSON-RPC response".to_owned(),
            (200, false) => format!(
                "answered what is no JSON-RPC response: {:?}",
                String::from_utf8_lossy(&answer.body[..answer.body.len().min(80)])
            ),
            (status, _) => format!("answered HTTP {status} without a JSON-RPC response"),
        };
        self.violation(&what)
    }

    pub(crate) fn handle(&self) -> &tokio::runtime::Handle {
        &self.shared.handle
    }

    pub(crate) fn notice(&self, message: &[u8], found: &Envelope) {
        let Some(method) = found
            .method
            .and_then(|span| envelope::text(span.of(message)))
        else {
            return;
        };
        if let Some(server) = self.server.upgrade() {
            server.heard(&method, message, found);
        }
    }
}

/// Tells a legacy server that nobody waits any more: to it a closed connection is no cancellation.
struct GivenUp<'a> {
    link: &'a Arc<HttpLink>,
    session: Option<Arc<UpstreamSession>>,
    id: u64,
    leased: Option<Leased>,
    cancels: Option<&'a AtomicBool>,
    over: bool,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take().filter(|_| !self.over)
            && self.cancels.is_none_or(|asked| asked.load(Relaxed))
        {
            self.link.give_up(session, self.id, self.leased.take());
        }
    }
}
