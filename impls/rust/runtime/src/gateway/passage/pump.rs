//! A stream of events between a legacy client and a legacy server: passed on event by event.
//!
//! The rules: messages stay the bytes that they were, except for ids of requests, which are the gateway's; event ids are
//! the gateway's, too, because the client comes back to it; once begun, the stream outlives the client's connection.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::stream::IDLE;
use super::{Job, Stop};
use crate::envelope;
use crate::gateway::sessions::Session;
use crate::gateway::sse;
use crate::gateway::track::Track;
use crate::gateway::voice::{Manner, Voice};
use crate::upstream::Asker;
use crate::upstream::lease::Conn;
use crate::upstream::session::UpstreamSession;
use crate::wire::sse::Events;
use crate::wire::{Body, ResponseHead, io};

/// What is known of one stream.
struct Pump {
    events: Events,
    asker: Asker,
    voice: Arc<Voice>,
    answered: bool,
}

impl Pump {
    /// The messages of a piece of the stream, for the client.
    fn take(&mut self, piece: &[u8], out: &mut Vec<Vec<u8>>) -> bool {
        let Self {
            events,
            asker,
            voice,
            answered,
        } = self;
        let fed = events.feed(piece, |data| {
            let Ok(found) = envelope::scan(data) else {
                return;
            };
            if found.method.is_some() && found.id.is_some() {
                asker.clone().asked(data, &found, Some(voice));
                let mut cx = Context::from_waker(Waker::noop());
                while let Poll::Ready(said) = voice.poll_said(&mut cx) {
                    out.push(said);
                }
            } else if found.complete {
                *answered |= found.method.is_none();
                out.push(data.to_vec());
            }
        });
        fed.is_ok()
    }
}

impl Job<'_> {
    /// Passes a stream on; true if the connection is clean behind it.
    pub(super) async fn pump(
        &mut self,
        conn: &mut Conn,
        head: ResponseHead,
        session: &Arc<Session>,
        upstream: Arc<UpstreamSession>,
    ) -> Result<bool, Stop> {
        let limit = self.client.gateway.input_limit();
        let mut track = Track::new(&self.client.gateway, Some(session));
        let mut pump = Pump {
            events: Events::new(self.link.max_message),
            asker: Asker::Http(Arc::clone(&self.link), upstream),
            voice: Voice::new(None, true, Manner::Session(Arc::clone(session)), limit),
            answered: false,
        };
        let mut body = head.body;
        self.client.begin_stream(self.keep_alive);
        track.begin(&mut self.client.output);
        let mut here = true;
        loop {
            let (mut messages, mut short) = (Vec::new(), true);
            let used = body
                .advance(&conn.buffer, |piece| {
                    short &= pump.take(piece, &mut messages)
                })
                .map_err(|_| Stop::Cut(self.link.violation("sent broken chunked framing")))?;
            conn.buffer.drain(..used);
            if !short {
                return Err(Stop::Cut(self.link.too_long()));
            }
            for message in messages {
                track.push(&mut self.client.output, &message);
            }
            let over = body.is_done();
            if over && !pump.answered {
                return Err(Stop::Cut(
                    self.link
                        .violation("ended its answer without a JSON-RPC response"),
                ));
            }
            if over {
                self.client.output.extend_from_slice(sse::END);
            }
            if here && !self.client.output.is_empty() {
                here = self.client.deliver().await;
            }
            self.client.output.clear();
            if !here && track.resumable().is_none() {
                return Err(Stop::Gone);
            }
            if over {
                return if here {
                    Ok(head.keep_alive && conn.buffer.is_empty())
                } else {
                    Err(Stop::Gone)
                };
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            self.client.deadline(Instant::now() + left.max(IDLE));
            let filled = if here {
                self.fill(conn).await
            } else {
                self.fill_alone(conn).await
            };
            match filled {
                Ok(_) => {}
                Err(Stop::Gone) => here = false,
                Err(Stop::Untouched(_)) if body == Body::UntilClose && pump.answered => {
                    body = Body::Done;
                    self.keep_alive = false;
                }
                Err(Stop::Untouched(error)) => return Err(Stop::Cut(self.link.crashed(&error))),
                Err(Stop::Failed(error)) => return Err(Stop::Cut(error)),
                Err(Stop::Cancelled) => {
                    // Nothing of JSON-RPC follows for a cancelled request.
                    self.tell_cancelled();
                    self.client.clear_output();
                    self.client.output.extend_from_slice(sse::END);
                    let _ = self.client.deliver().await;
                    return Err(Stop::Gone);
                }
                Err(other) => return Err(other),
            }
        }
    }

    /// Reads on for a client that may come back for it.
    async fn fill_alone(&mut self, conn: &mut Conn) -> Result<usize, Stop> {
        let ended = || Stop::Untouched(std::io::ErrorKind::UnexpectedEof.into());
        poll_fn(|cx| {
            match io::poll_fill(&mut conn.stream, &mut conn.buffer, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ended())),
                Poll::Ready(Ok(read)) => return Poll::Ready(Ok(read)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Stop::Untouched(error))),
                Poll::Pending => {}
            }
            if self.client.poll_late(cx) {
                return Poll::Ready(Err(Stop::Failed(self.link.timeout(self.method))));
            }
            if let Some(cancelled) = &mut self.cancelled
                && cancelled.as_mut().poll(cx).is_ready()
            {
                self.cancelled = None;
                return Poll::Ready(Err(Stop::Cancelled));
            }
            Poll::Pending
        })
        .await
    }
}
