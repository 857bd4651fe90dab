//! The answer's head, and an answer that is here as a whole.
//!
//! The rule: what is short is checked before any of it is sent, so a wrong answer becomes an error of the gateway's own;
//! a connection counts as clean only if nothing lies behind the answer.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use super::rounds::wanted;
use super::{Job, Stop};
use crate::envelope::{self, Span};
use crate::error::Error;
use crate::gateway::answer::reason;

use crate::upstream::lease::Conn;
use crate::wire::head::{self, Content};
use crate::wire::{Body, PIECE, ResponseHead, io};

impl Job<'_> {
    /// Reads the answer and passes it on; true if the connection is clean behind it.
    pub(super) async fn receive(
        &mut self,
        conn: &mut Conn,
        reply: &mut Vec<u8>,
    ) -> std::result::Result<bool, Stop> {
        let crash = |job: &Self, stop: Stop| match stop {
            Stop::Untouched(error) => Stop::Failed(job.link.crashed(&error)),
            other => other,
        };
        let head = loop {
            let fresh = conn.buffer.is_empty();
            if !fresh && let Some(head) = self.read_head(conn, reply)? {
                break head;
            }
            self.fill(conn)
                .await
                .map_err(|stop| if fresh { stop } else { crash(self, stop) })?;
        };
        if head.status == 404
            && self
                .session
                .as_ref()
                .is_some_and(|session| session.id.is_some())
        {
            return Err(Stop::Forgotten);
        }
        if let Body::Length(length) = head.body
            && head.content != Content::Events
            && length > self.link.max_message as u64
        {
            return Err(Stop::Failed(self.link.too_long()));
        }
        match head.body {
            Body::Length(length) if length <= PIECE as u64 && head.content != Content::Events => {
                let length = usize::try_from(length).unwrap_or(PIECE);
                while conn.buffer.len() < length {
                    let more = self.fill(conn).await;
                    more.map_err(|stop| crash(self, stop))?;
                }
                self.short(conn, &head, length, reply).await
            }
            _ if head.status == 200 && head.content == Content::Events => {
                match self.own.map(Arc::clone) {
                    Some(own) => Box::pin(self.pump(conn, head, &own)).await,
                    None => Box::pin(self.long(conn, head, reply)).await,
                }
            }
            _ if head.status == 200 && head.content != Content::Other => {
                Box::pin(self.long(conn, head, reply)).await
            }
            _ => Err(Stop::Failed(self.link.violation(&format!(
                "answered HTTP {} without a JSON-RPC response",
                head.status
            )))),
        }
    }

    /// Parses the head; end-to-end headers go into `reply` behind the status line.
    fn read_head(
        &self,
        conn: &mut Conn,
        reply: &mut Vec<u8>,
    ) -> std::result::Result<Option<ResponseHead>, Stop> {
        loop {
            reply.clear();
            reply.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
            let found = head::response(&conn.buffer, |name, value| {
                reply.extend_from_slice(name.as_bytes());
                reply.extend_from_slice(b": ");
                reply.extend_from_slice(value);
                reply.extend_from_slice(b"\r\n");
            });
            match found {
                Ok(Some(head)) => {
                    conn.buffer.drain(..head.len);
                    if head.status >= 200 {
                        return Ok(Some(head));
                    }
                }
                Ok(None) if conn.buffer.len() <= crate::wire::MAX_HEAD => return Ok(None),
                Ok(None) => {
                    return Err(Stop::Failed(
                        self.link
                            .violation("sent a response head of more than 16 KiB"),
                    ));
                }
                Err(fault) => {
                    return Err(Stop::Failed(
                        self.link
                            .violation(&format!("sent a broken response ({})", fault.why)),
                    ));
                }
            }
        }
    }

    /// An answer that is here as a whole: checked, then sent in one piece.
    async fn short(
        &mut self,
        conn: &mut Conn,
        head: &ResponseHead,
        length: usize,
        reply: &mut Vec<u8>,
    ) -> std::result::Result<bool, Stop> {
        let body = &conn.buffer[..length];
        let Some(code) = self.check(body) else {
            return Err(Stop::Failed(self.bad_answer(head.status, body)));
        };
        if self.own.is_some()
            && self.session.is_none()
            && let Some(result) = wanted(body)
        {
            let result = bytes::Bytes::copy_from_slice(result);
            conn.buffer.clear();
            return Err(Stop::OnceMore(result));
        }
        let status = self.status(code);
        if status != 200 {
            let line = format!("HTTP/1.1 {status} {}\r\n", reason(status));
            reply.splice(..b"HTTP/1.1 200 OK\r\n".len(), line.into_bytes());
        }
        reply.extend_from_slice(b"Content-Length: ");
        reply.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        reply.extend_from_slice(if self.keep_alive {
            b"\r\n\r\n"
        } else {
            b"\r\nConnection: close\r\n\r\n"
        });
        reply.extend_from_slice(body);
        let clean = head.keep_alive && conn.buffer.len() == length;
        conn.buffer.clear();
        self.write(reply, b"").await?;
        Ok(clean)
    }

    /// `Some(0)` for a result, `Some(code)` for an error object; `None` if it is no response to this request.
    fn check(&self, body: &[u8]) -> Option<i64> {
        let found = envelope::scan(body)
            .ok()
            .filter(|found| found.complete && found.method.is_none())?;
        let ours = found
            .id
            .is_some_and(|id| id.of(body) == &*self.id || same_id(id.of(body), self.id));
        match (found.result, found.error) {
            (Some(_), None) if ours => Some(0),
            // An error may have no id: the server could not read ours.
            (None, Some(error)) if ours || found.id.is_none_or(|id| id.of(body) == b"null") => {
                Some(error_code(error.of(body)))
            }
            _ => None,
        }
    }

    /// Which HTTP status an error keeps: those that the modern revision fixes.
    fn status(&self, code: i64) -> u16 {
        match code {
            -32022..=-32020 if self.modern_client => 400,
            -32601 if self.modern_client => 404,
            _ => 200,
        }
    }

    pub(super) fn bad_answer(&self, status: u16, body: &[u8]) -> Error {
        if status == 200 {
            let start = String::from_utf8_lossy(&body[..body.len().min(80)]);
            self.link.violation(&format!(
                "answered what is no JSON-RPC response to this request: {start:?}"
            ))
        } else {
            self.link.violation(&format!(
                "answered HTTP {status} without a JSON-RPC response"
            ))
        }
    }

    /// Writes both parts to the client.
    pub(super) async fn write(
        &mut self,
        front: &[u8],
        back: &[u8],
    ) -> std::result::Result<(), Stop> {
        let mut at = 0;
        let client = &mut *self.client;
        poll_fn(
            |cx| match io::poll_write_both(&mut client.stream, front, back, &mut at, cx) {
                Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
                Poll::Ready(Err(_)) => Poll::Ready(Err(Stop::Gone)),
                Poll::Pending if client.poll_late(cx) => Poll::Ready(Err(Stop::Gone)),
                Poll::Pending => Poll::Pending,
            },
        )
        .await
    }
}

/// The same id in another spelling (escapes of a string).
#[cold]
fn same_id(theirs: &[u8], ours: &[u8]) -> bool {
    match (envelope::text(theirs), envelope::text(ours)) {
        (Some(theirs), Some(ours)) => theirs == ours,
        _ => false,
    }
}

fn error_code(error: &[u8]) -> i64 {
    let mut code = None;
    let _ = envelope::members(error, |key, value: Span| {
        if key == b"\"code\"" {
            code = std::str::from_utf8(value.of(error))
                .ok()
                .and_then(|text| text.parse().ok());
        }
    });
    code.unwrap_or(-32603)
}
