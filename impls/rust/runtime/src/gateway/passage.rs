//! A request on its way and its answer coming back: the part of the relay that moves bytes.
//!
//! The rules: a long body is passed on while it arrives, both ways, and whoever is slow slows the other; a connection
//! is sent to twice only if it was reused and closed before any byte of an answer (RFC 9112 section 9.3.1); an answer
//! that is short is checked before any of it is sent.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::futures::Notified;

use super::answer::{Answer, reason};
use super::client::{Client, Turn};
use super::dispatch::Who;
use crate::envelope::{self, Span};
use crate::error::Error;
use crate::upstream::Ticket;
use crate::upstream::http::HttpLink;
use crate::upstream::lease::{Conn, Lease};
use crate::upstream::session::UpstreamSession;
use crate::wire::head::{self, Content};
use crate::wire::{Body, PIECE, ResponseHead, buffers, io};

/// How one attempt ended without an answer for the client.
pub(super) enum Stop {
    /// Nothing of an answer came; may be tried again on another connection.
    Untouched(std::io::Error),
    /// The server forgot the session.
    Forgotten,
    Failed(Error),
    /// The client went away or gave up.
    Gone,
    Cancelled,
    /// The answer had begun and cannot be finished.
    Cut(Error),
}

/// A request on its way.
pub(super) struct Job<'a> {
    pub(super) client: &'a mut Client,
    pub(super) link: Arc<HttpLink>,
    pub(super) id: Box<[u8]>,
    pub(super) modern_client: bool,
    pub(super) method: &'static str,
    pub(super) deadline: Instant,
    /// Bytes of the request body that the client still has to send.
    pub(super) unsent: usize,
    pub(super) session: Option<Arc<UpstreamSession>>,
    pub(super) cancelled: Option<Pin<Box<Notified<'a>>>>,
    pub(super) keep_alive: bool,
}

impl Job<'_> {
    /// Sends the request (in `client.output`) and passes the answer on; true if the connection may go on.
    pub(super) async fn exchange(&mut self, who: &Who) -> std::result::Result<bool, Stop> {
        let mut renewed = false;
        let mut closed = None;
        loop {
            let mut lease = match self.link.pool.try_acquire() {
                Some(lease) => lease,
                None => match (Box::pin(self.acquire()).await, closed.take()) {
                    (Ok(lease), _) => lease,
                    // It closed the connection and now refuses new ones: it went down under this call.
                    (Err(Stop::Failed(Error::ServerStart { .. })), Some(why)) => {
                        return Err(Stop::Failed(self.link.crashed(&why)));
                    }
                    (Err(stop), _) => return Err(stop),
                },
            };
            let streamed = self.unsent > 0;
            match self.attempt(&mut lease).await {
                Ok((keep_alive, clean)) => {
                    if clean {
                        lease.park();
                    }
                    return Ok(keep_alive);
                }
                Err(Stop::Untouched(why)) if lease.conn().reused && !streamed => closed = Some(why),
                Err(Stop::Untouched(why)) => return Err(Stop::Failed(self.link.crashed(&why))),
                Err(Stop::Forgotten) if !renewed && !streamed => {
                    drop(lease);
                    renewed = true;
                    Box::pin(self.renew(who)).await?;
                }
                Err(Stop::Forgotten) => {
                    return Err(Stop::Failed(
                        self.link.violation("forgot the session again (HTTP 404)"),
                    ));
                }
                Err(stop) => return Err(stop),
            }
        }
    }

    async fn acquire(&mut self) -> std::result::Result<Lease, Stop> {
        let pool = Arc::clone(&self.link.pool);
        let mut waiting = Box::pin(pool.acquire(self.deadline));
        poll_fn(|cx| {
            if let Poll::Ready(lease) = waiting.as_mut().poll(cx) {
                return Poll::Ready(lease.map_err(Stop::Failed));
            }
            self.poll_stop(cx).map(Err)
        })
        .await
    }

    /// A new upstream session, and the same request in it.
    async fn renew(&mut self, who: &Who) -> std::result::Result<(), Stop> {
        let (Who::Legacy(session), Some(old)) = (who, self.session.clone()) else {
            return Err(Stop::Failed(self.link.violation("answered HTTP 404")));
        };
        let new = session
            .open_upstream(&self.link, Some(&old), self.deadline)
            .await
            .map_err(Stop::Failed)?;
        if let (Some(old), Some(new)) = (&old.id, &new.id) {
            let line = format!("Mcp-Session-Id: {old}\r\n");
            let output = &mut self.client.output;
            if let Some(at) = memchr::memmem::find(output, line.as_bytes()) {
                output.splice(
                    at..at + line.len(),
                    format!("Mcp-Session-Id: {new}\r\n").into_bytes(),
                );
            }
        }
        self.session = Some(new);
        Ok(())
    }

    /// What may end the wait for the server: the deadline, the client's leaving, a cancellation.
    fn poll_stop(&mut self, cx: &mut Context<'_>) -> Poll<Stop> {
        if self.client.poll_late(cx) {
            return Poll::Ready(Stop::Failed(self.link.timeout(self.method)));
        }
        // While a body is on its way, its reader notices that the client left.
        if self.unsent == 0 && self.client.poll_gone(cx) {
            return Poll::Ready(Stop::Gone);
        }
        if let Some(cancelled) = &mut self.cancelled
            && cancelled.as_mut().poll(cx).is_ready()
        {
            self.cancelled = None;
            return Poll::Ready(Stop::Cancelled);
        }
        Poll::Pending
    }

    async fn fill(&mut self, conn: &mut Conn) -> std::result::Result<usize, Stop> {
        poll_fn(
            |cx| match io::poll_fill(&mut conn.stream, &mut conn.buffer, cx) {
                Poll::Ready(Ok(0)) => Poll::Ready(Err(Stop::Untouched(
                    std::io::ErrorKind::UnexpectedEof.into(),
                ))),
                Poll::Ready(Ok(read)) => Poll::Ready(Ok(read)),
                Poll::Ready(Err(error)) => Poll::Ready(Err(Stop::Untouched(error))),
                Poll::Pending => self.poll_stop(cx).map(Err),
            },
        )
        .await
    }

    async fn attempt(&mut self, lease: &mut Lease) -> std::result::Result<(bool, bool), Stop> {
        let conn = lease.conn();
        self.send(conn).await?;
        let early = self.unsent > 0;
        let mut reply = Vec::new();
        buffers::borrow(&mut reply);
        let outcome = self.receive(conn, &mut reply).await;
        buffers::give_back(&mut reply);
        outcome.map(|clean| {
            // An answer before the end of the request: neither side is in step any more.
            let unread = early || self.unsent > 0;
            (self.keep_alive && !unread, clean && !unread)
        })
    }

    /// Writes head and what is there of the body, then passes the rest on.
    async fn send(&mut self, conn: &mut Conn) -> std::result::Result<(), Stop> {
        let mut at = 0;
        poll_fn(
            |cx| match io::poll_write(&mut conn.stream, &self.client.output, &mut at, cx) {
                Poll::Ready(done) => Poll::Ready(done.map_err(Stop::Untouched)),
                Poll::Pending => self.poll_stop(cx).map(Err),
            },
        )
        .await?;
        if self.unsent > 0 {
            self.stream_body(conn).await?;
        }
        Ok(())
    }

    /// Passes the rest of the request body on as it arrives; stops at an early answer.
    async fn stream_body(&mut self, conn: &mut Conn) -> std::result::Result<(), Stop> {
        while self.unsent > 0 {
            if self.client.input.is_empty() {
                if self.client.input.capacity() == 0 {
                    buffers::borrow(&mut self.client.input);
                }
                self.client.input.reserve(self.unsent.min(4 * PIECE));
                let early = poll_fn(|cx| {
                    match io::poll_fill(&mut self.client.stream, &mut self.client.input, cx) {
                        Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Stop::Gone)),
                        Poll::Ready(Ok(_)) => return Poll::Ready(Ok(false)),
                        Poll::Pending => {}
                    }
                    self.poll_early(conn, cx)
                })
                .await?;
                if early {
                    return Ok(());
                }
            }
            let ready = self.client.input.len().min(self.unsent);
            let mut at = 0;
            let early = poll_fn(|cx| {
                match io::poll_write(&mut conn.stream, &self.client.input[..ready], &mut at, cx) {
                    Poll::Ready(done) => {
                        return Poll::Ready(done.map(|()| false).map_err(Stop::Untouched));
                    }
                    Poll::Pending => {}
                }
                self.poll_early(conn, cx)
            })
            .await?;
            if early {
                return Ok(());
            }
            self.unsent -= ready;
            self.client.input.drain(..ready);
        }
        Ok(())
    }

    /// True once the server answers although the request is not complete.
    fn poll_early(
        &mut self,
        conn: &mut Conn,
        cx: &mut Context<'_>,
    ) -> Poll<std::result::Result<bool, Stop>> {
        match io::poll_fill(&mut conn.stream, &mut conn.buffer, cx) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(Stop::Untouched(
                std::io::ErrorKind::UnexpectedEof.into(),
            ))),
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(true)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(Stop::Untouched(error))),
            Poll::Pending => self.poll_stop(cx).map(Err),
        }
    }

    /// Reads the answer and passes it on; true if the connection is clean behind it.
    async fn receive(
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
            .is_some_and(|id| id.of(body) == &*self.id || same_id(id.of(body), &self.id));
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

    fn bad_answer(&self, status: u16, body: &[u8]) -> Error {
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

    /// A long answer or a stream: passed on as it comes.
    async fn long(
        &mut self,
        conn: &mut Conn,
        head: ResponseHead,
        reply: &mut Vec<u8>,
    ) -> std::result::Result<bool, Stop> {
        let mut body = head.body;
        if conn.buffer.is_empty() && !body.is_done() {
            self.first(conn).await?;
        }
        let framing: &[u8] = match body {
            Body::Length(length) => {
                conn.buffer
                    .reserve(usize::try_from(length).unwrap_or(PIECE).min(4 * PIECE));
                reply.extend_from_slice(b"Content-Length: ");
                reply.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
                b"\r\n"
            }
            Body::Chunked(_) => b"Transfer-Encoding: chunked\r\n",
            Body::Done => b"Content-Length: 0\r\n",
            Body::UntilClose => {
                self.keep_alive = false;
                b""
            }
        };
        reply.extend_from_slice(framing);
        reply.extend_from_slice(if self.keep_alive {
            b"\r\n"
        } else {
            b"Connection: close\r\n\r\n"
        });
        let json = head.content == Content::Json;
        let mut seen = 0usize;
        let mut started = false;
        loop {
            let mut suspicious = false;
            let before = seen;
            let used = body
                .advance(&conn.buffer, |part| {
                    if json && seen == before && before == 0 {
                        suspicious = envelope::scan(&part[..part.len().min(GLANCE)])
                            .map_or(true, |found| found.method.is_some());
                    }
                    seen += part.len();
                })
                .map_err(|_| {
                    Self::cut(started, self.link.violation("sent broken chunked framing"))
                })?;
            if suspicious && !started {
                return Err(Stop::Failed(self.bad_answer(200, &conn.buffer)));
            }
            if json && seen > self.link.max_message {
                return Err(Self::cut(started, self.link.too_long()));
            }
            // Straight from the server's buffer, without another copy.
            let front: &[u8] = if started { b"" } else { reply };
            self.write(front, &conn.buffer[..used]).await?;
            started = true;
            conn.buffer.drain(..used);
            if body.is_done() {
                return Ok(head.keep_alive && conn.buffer.is_empty());
            }
            // A stream may be silent for long, as long as it is not the whole time of a request.
            self.client.deadline(
                Instant::now()
                    + self
                        .deadline
                        .saturating_duration_since(Instant::now())
                        .max(IDLE),
            );
            match self.fill(conn).await {
                Ok(_) => {}
                Err(Stop::Untouched(_)) if body == Body::UntilClose => return Ok(false),
                Err(Stop::Untouched(error)) => return Err(Stop::Cut(self.link.crashed(&error))),
                Err(Stop::Failed(error)) => return Err(Stop::Cut(error)),
                Err(other) => return Err(other),
            }
        }
    }

    async fn first(&mut self, conn: &mut Conn) -> std::result::Result<(), Stop> {
        match self.fill(conn).await {
            Err(Stop::Untouched(error)) => Err(Stop::Failed(self.link.crashed(&error))),
            other => other.map(|_| ()),
        }
    }

    fn cut(started: bool, error: Error) -> Stop {
        if started {
            Stop::Cut(error)
        } else {
            Stop::Failed(error)
        }
    }

    /// Writes both parts to the client.
    async fn write(&mut self, front: &[u8], back: &[u8]) -> std::result::Result<(), Stop> {
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

    /// Settles the ticket and answers what was not answered.
    pub(super) async fn finish(
        &mut self,
        outcome: std::result::Result<bool, Stop>,
        ticket: Ticket,
    ) -> Turn {
        match outcome {
            Ok(keep_alive) => {
                ticket.settle(None);
                if keep_alive && !self.client.gateway.is_closing() {
                    Turn::Next
                } else {
                    Turn::Close
                }
            }
            Err(Stop::Gone) => Turn::Close,
            Err(Stop::Cancelled) => {
                drop(ticket);
                self.tell_cancelled();
                // Nothing of JSON-RPC may be sent for a cancelled request.
                self.client
                    .respond(&Answer::accepted(), self.keep_alive && self.unsent == 0)
                    .await
            }
            Err(Stop::Cut(error)) => {
                self.client
                    .gateway
                    .manager
                    .shared
                    .metrics
                    .error(error.code());
                ticket.settle(Some(&error));
                Turn::Close
            }
            Err(stop) => {
                let error = match stop {
                    Stop::Failed(error) => error,
                    Stop::Untouched(why) => self.link.crashed(&why),
                    _ => self.link.violation("forgot the session"),
                };
                self.client
                    .gateway
                    .manager
                    .shared
                    .metrics
                    .error(error.code());
                ticket.settle(Some(&error));
                let answer = Answer::failure(&self.id, &error);
                self.client
                    .respond(&answer, self.keep_alive && self.unsent == 0)
                    .await
            }
        }
    }

    /// A legacy server does not take a closed connection for a cancellation, so it is told.
    fn tell_cancelled(&self) {
        let Some(session) = self.session.clone() else {
            return;
        };
        let mut note = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":".to_vec();
        note.extend_from_slice(&self.id);
        note.extend_from_slice(b"}}");
        self.link.tell(session, note);
    }
}

/// How much of a long answer is looked at: id and beginning of the result come first.
const GLANCE: usize = 1024;

/// The shortest time that a stream may be silent.
const IDLE: std::time::Duration = std::time::Duration::from_secs(30);

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
