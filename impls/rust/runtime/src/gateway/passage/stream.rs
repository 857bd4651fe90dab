//! A long answer, or a stream of events: passed on as it comes.
//!
//! The rule: bytes go straight from the server's buffer to the client, and nothing more is read before they are sent.
//! Once the first byte is out the answer can only be finished or cut.

use std::time::Instant;

use super::{Job, Stop};
use crate::envelope;
use crate::error::Error;
use crate::upstream::lease::Conn;
use crate::wire::head::Content;
use crate::wire::{Body, PIECE, ResponseHead};

/// How much of a long answer is looked at: id and beginning of the result come first.
const GLANCE: usize = 1024;

/// The shortest time that a stream may be silent.
pub(super) const IDLE: std::time::Duration = std::time::Duration::from_secs(30);

impl Job<'_> {
    /// A long answer or a stream: passed on as it comes.
    pub(super) async fn long(
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
                Err(Stop::Cancelled) => {
                    // No other answer may follow what has begun.
                    self.tell_cancelled();
                    return Err(Stop::Gone);
                }
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
}
