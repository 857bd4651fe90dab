//! A request on its way and its answer coming back: the part of the relay that moves bytes.
//!
//! The rules: a long body is passed on while it arrives, both ways, and whoever is slow slows the other; a connection
//! is sent to twice only if it had rested and closed before any byte of an answer (RFC 9112 section 9.3.1); an answer
//! that is short is checked before any of it is sent.

mod again;
mod answer;
mod ending;
mod pump;
mod request;
mod rounds;
mod source;
mod stream;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::futures::Notified;

pub(super) use again::Retold;

use super::client::Client;
use super::dispatch::Who;
use super::sessions::Session;
use crate::envelope::{Fault, Watch};
use crate::error::Error;
use crate::upstream::Server;
use crate::upstream::http::HttpLink;
use crate::upstream::lease::{Conn, Lease};
use crate::upstream::session::UpstreamSession;
use crate::wire::{buffers, io};

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
    /// A modern server wants the same request once more (the result), with the state that it gave.
    OnceMore(Bytes),
    /// What arrived last must not be passed on.
    Refused(Fault),
    /// The answer had begun and cannot be finished.
    Cut(Error),
}

/// A request on its way.
pub(super) struct Job<'a> {
    pub(super) client: &'a mut Client,
    pub(super) link: Arc<HttpLink>,
    pub(super) server: &'a Arc<Server>,
    pub(super) id: &'a [u8],
    /// The client's session.
    pub(super) own: Option<&'a Arc<Session>>,
    pub(super) modern_client: bool,
    pub(super) method: &'static str,
    pub(super) deadline: Instant,
    /// Bytes of the request body that the client still has to send.
    pub(super) unsent: usize,
    /// Looks at these bytes before they are passed on.
    pub(super) watch: Option<Box<Watch>>,
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
                Err(Stop::Untouched(why)) if lease.conn().rested && !streamed => closed = Some(why),
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
        // While a body is on its way, its reader notices that the client left.
        match self.poll_late_or_cancelled(cx) {
            Poll::Pending if self.unsent == 0 && self.client.poll_gone(cx) => {
                Poll::Ready(Stop::Gone)
            }
            stop => stop,
        }
    }

    fn poll_late_or_cancelled(&mut self, cx: &mut Context<'_>) -> Poll<Stop> {
        if self.client.poll_late(cx) {
            return Poll::Ready(Stop::Failed(self.link.timeout(self.method)));
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
}
