//! One request and its whole answer over one connection: what calls of the manager's own, and everything that is no
//! relay, are made of.
//!
//! The rule for sending twice: only when a connection that had rested closed before any byte of an answer came (RFC 9110 section
//! 9.2.2 and RFC 9112 section 9.3.1).

use std::sync::Arc;
use std::time::Instant;

use super::hearing::Ear;
use super::http::{Head, HttpLink};
use super::lease::Lease;
use super::resuming::Point;
use crate::envelope;
use crate::error::{Error, Result};
use crate::wire::head::{self, Content};
use crate::wire::sse::Events;
use crate::wire::{MAX_HEAD, ResponseHead, io};

/// A buffered answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) session: Option<String>,
    pub(crate) body: Vec<u8>,
    /// The stream ended before it; where, if it can be gone on with.
    cut: Option<Point>,
}

impl HttpLink {
    /// Sends a whole request and reads the whole answer. Dropping the future closes the connection.
    pub(crate) async fn exchange(
        self: &Arc<Self>,
        head: &Head<'_>,
        body: &[u8],
        ear: Option<Ear<'_>>,
        deadline: Instant,
    ) -> Result<Answer> {
        let mut request = Vec::with_capacity(self.fixed.len() + 256 + body.len());
        self.write_head(&mut request, head, body.len());
        request.extend_from_slice(body);
        self.send(
            &request,
            ear,
            deadline,
            head.method.unwrap_or("the request"),
        )
        .await
    }

    pub(crate) async fn send(
        self: &Arc<Self>,
        request: &[u8],
        ear: Option<Ear<'_>>,
        deadline: Instant,
        method: &str,
    ) -> Result<Answer> {
        let work = async {
            let mut closed = None;
            loop {
                let mut lease = match (self.pool.acquire(deadline).await, closed.take()) {
                    (Ok(lease), _) => lease,
                    // It closed the connection and now refuses new ones: it went down under this call.
                    (Err(Error::ServerStart { .. }), Some(why)) => return Err(self.crashed(&why)),
                    (Err(error), _) => return Err(error),
                };
                match self.attempt(&mut lease, request, ear).await {
                    Ok((mut answer, end)) => {
                        match end {
                            End::Clean => lease.park(),
                            End::Open => drop(lease),
                        }
                        if let (Some(point), Some(ear)) = (answer.cut.take(), ear) {
                            answer.body = Box::pin(self.resume(point, ear)).await?;
                        }
                        return Ok(answer);
                    }
                    Err(Attempt::Untouched(why)) if lease.conn().rested => closed = Some(why),
                    Err(Attempt::Untouched(why)) => return Err(self.crashed(&why)),
                    Err(Attempt::Failed(error)) => return Err(error),
                }
            }
        };
        let done = match ear.and_then(|ear| ear.voice) {
            Some(voice) => voice.within(deadline, work).await,
            None => tokio::time::timeout_at(deadline.into(), work).await.ok(),
        };
        done.unwrap_or_else(|| Err(self.timeout(method)))
    }

    pub(super) async fn attempt(
        self: &Arc<Self>,
        lease: &mut Lease,
        request: &[u8],
        ear: Option<Ear<'_>>,
    ) -> std::result::Result<(Answer, End), Attempt> {
        let conn = lease.conn();
        io::write(&mut conn.stream, request)
            .await
            .map_err(Attempt::Untouched)?;
        let mut first = true;
        let (head, session) = loop {
            let read = io::fill(&mut conn.stream, &mut conn.buffer).await;
            match read {
                Ok(0) if first => {
                    return Err(Attempt::Untouched(std::io::ErrorKind::UnexpectedEof.into()));
                }
                Err(error) if first => return Err(Attempt::Untouched(error)),
                Ok(0) => {
                    return Err(Attempt::Failed(
                        self.crashed(&std::io::ErrorKind::UnexpectedEof.into()),
                    ));
                }
                Err(error) => return Err(Attempt::Failed(self.crashed(&error))),
                Ok(_) => first = false,
            }
            if let Some(head) = self.final_head(&mut conn.buffer).map_err(Attempt::Failed)? {
                let session = head
                    .session
                    .map(|span| String::from_utf8_lossy(span.of(&conn.buffer)).into_owned());
                conn.buffer.drain(..head.len);
                break (head, session);
            }
        };
        let mut reader = AnswerReader {
            head,
            ear,
            events: Events::new(self.max_message),
            body: Vec::new(),
        };
        let mut answered = reader
            .take(self, &mut conn.buffer)
            .map_err(Attempt::Failed)?;
        while !reader.head.body.is_done() && !answered {
            if let Some(voice) = ear.and_then(|ear| ear.voice) {
                voice.room().await; // a slow client slows its server
            }
            match io::fill(&mut conn.stream, &mut conn.buffer).await {
                Ok(0) if reader.head.body == crate::wire::Body::UntilClose => break,
                Ok(0) | Err(_) if reader.point().is_some() => break,
                Ok(0) => {
                    return Err(Attempt::Failed(
                        self.crashed(&std::io::ErrorKind::UnexpectedEof.into()),
                    ));
                }
                Err(error) => return Err(Attempt::Failed(self.crashed(&error))),
                Ok(_) => {
                    answered = reader
                        .take(self, &mut conn.buffer)
                        .map_err(Attempt::Failed)?;
                }
            }
        }
        let clean = reader.head.body.is_done() && head.keep_alive;
        let answer = Answer {
            status: head.status,
            session,
            cut: reader.point().filter(|_| !answered),
            body: reader.body,
        };
        Ok((answer, if clean { End::Clean } else { End::Open }))
    }

    /// Parses a response head, stepping over interim (1xx) ones.
    pub(crate) fn final_head(&self, buffer: &mut Vec<u8>) -> Result<Option<ResponseHead>> {
        loop {
            match head::response(buffer, |_, _| {}) {
                Ok(Some(head)) if head.status < 200 => {
                    buffer.drain(..head.len);
                }
                Ok(Some(head)) => return Ok(Some(head)),
                Ok(None) if buffer.len() > MAX_HEAD => {
                    return Err(self.violation("sent a response head of more than 16 KiB"));
                }
                Ok(None) => return Ok(None),
                Err(fault) => {
                    return Err(self.violation(&format!("sent a broken response ({})", fault.why)));
                }
            }
        }
    }
}

/// Whether the connection can be used again.
pub(super) enum End {
    Clean,
    Open,
}

pub(super) enum Attempt {
    /// Not one byte of an answer came.
    Untouched(std::io::Error),
    Failed(Error),
}

struct AnswerReader<'a> {
    head: ResponseHead,
    ear: Option<Ear<'a>>,
    events: Events,
    body: Vec<u8>,
}

impl AnswerReader<'_> {
    /// Where a stream can be gone on with: only those of a session can.
    fn point(&self) -> Option<Point> {
        self.ear?.session?;
        Point::of(&self.events)
    }

    /// Consumes what is buffered; true once an event stream brought the response.
    fn take(&mut self, link: &Arc<HttpLink>, buffer: &mut Vec<u8>) -> Result<bool> {
        let Self {
            head,
            ear,
            events,
            body,
        } = self;
        let mut answered = false;
        let mut too_long = false;
        let stream = head.content == Content::Events;
        let used = head
            .body
            .advance(buffer, |payload| {
                if !stream {
                    too_long |= body.len() + payload.len() > link.max_message;
                    if !too_long {
                        body.extend_from_slice(payload);
                    }
                    return;
                }
                let fed = events.feed(payload, |data| {
                    let Ok(found) = envelope::scan(data) else {
                        return;
                    };
                    let ours = ear.is_none_or(|ear| {
                        found.id.is_some_and(|span| {
                            span.of(data) == itoa::Buffer::new().format(ear.id).as_bytes()
                        })
                    });
                    if found.complete && found.method.is_none() && ours && !answered {
                        body.clear();
                        body.extend_from_slice(data);
                        answered = true;
                    } else if let (Some(_), Some(ear)) = (found.method, &ear) {
                        ear.hear(link, data, &found);
                    }
                });
                too_long |= fed.is_err();
            })
            .map_err(|_| link.violation("sent broken chunked framing"))?;
        buffer.drain(..used);
        if too_long {
            Err(link.too_long())
        } else {
            Ok(answered)
        }
    }
}
