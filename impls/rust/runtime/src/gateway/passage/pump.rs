//! A stream of events for a legacy client: passed on event by event.
//!
//! The rules: messages stay the bytes that they were, except for ids of requests, which are the gateway's; event ids are
//! the gateway's, too, because the client comes back to it; once begun, the stream outlives the client's connection and,
//! where the server can go on with it, the server's.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::rounds::wanted;
use super::source::Source;
use super::stream::IDLE;
use super::{Job, Stop};
use crate::envelope;
use crate::error::{Error, Result};
use crate::gateway::answer::Answer;
use crate::gateway::sessions::Session;
use crate::gateway::sse;
use crate::gateway::track::Track;
use crate::gateway::voice::{Manner, Voice};
use crate::upstream::Asker;
use crate::upstream::lease::Conn;
use crate::wire::ResponseHead;
use crate::wire::sse::Events;

/// What is known of one stream.
pub(super) struct Pump {
    pub(super) events: Events,
    /// The way back to the server; a modern one asks nothing on its streams.
    asker: Option<Asker>,
    voice: Arc<Voice>,
    pub(super) answered: bool,
    /// The result of a server that wants the request once more.
    round: Option<Bytes>,
}

impl Pump {
    /// Feeds a piece of the stream; false if an event is too long.
    pub(super) fn take(&mut self, piece: &[u8], out: &mut Vec<Vec<u8>>) -> bool {
        let mut events = std::mem::take(&mut self.events);
        let fed = events.feed(piece, |data| self.message(data, out));
        self.events = events;
        fed.is_ok()
    }

    /// What the client is told for a message of the server's.
    pub(super) fn message(&mut self, data: &[u8], out: &mut Vec<Vec<u8>>) {
        let Ok(found) = envelope::scan(data) else {
            return;
        };
        if found.method.is_some() && found.id.is_some() {
            let Some(asker) = &self.asker else { return };
            asker.clone().asked(data, &found, Some(&self.voice));
            let mut cx = Context::from_waker(Waker::noop());
            while let Poll::Ready(said) = self.voice.poll_said(&mut cx) {
                out.push(said);
            }
        } else if found.complete && !self.answered {
            self.answered = found.method.is_none();
            match wanted(data).filter(|_| self.answered && self.asker.is_none()) {
                Some(result) => self.round = Some(Bytes::copy_from_slice(result)),
                None => out.push(data.to_vec()),
            }
        }
    }
}

enum Next {
    More(Result<Vec<Vec<u8>>>),
    Stop(Stop),
    /// Nothing was said for long.
    Silence,
}

impl Job<'_> {
    /// Passes a stream on; true if the connection is clean behind it.
    pub(super) async fn pump(
        &mut self,
        conn: &mut Conn,
        head: ResponseHead,
        session: &Arc<Session>,
    ) -> Result<bool, Stop> {
        let gateway = Arc::clone(&self.client.gateway);
        let upstream = self.session.clone();
        let manner = Manner::Session(Arc::clone(session));
        let mut pump = Pump {
            events: Events::new(self.link.max_message),
            asker: upstream
                .clone()
                .map(|upstream| Asker::Http(Arc::clone(&self.link), upstream)),
            voice: Voice::new(None, true, manner, gateway.input_limit()),
            answered: false,
            round: None,
        };
        let sent = self.sent();
        let mut source = Source::new(&self.link, upstream, conn, head);
        let mut track = Track::new(&gateway, Some(session));
        let every = Duration::from_millis(gateway.manager.gateway.keep_alive_ms.max(1));
        let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        let mut ended = pin!(session.end.notified());
        self.client.begin_stream(self.keep_alive);
        track.begin(&mut self.client.output);
        let mut here = true;
        let mut until = self.silent_until();
        loop {
            here = here && self.client.deliver().await;
            if !here && (track.resumable().is_none() || session.ended.load(Relaxed)) {
                return Err(Stop::Gone);
            }
            self.client.clear_output();
            self.client.deadline(until);
            let next = {
                let mut more = pin!(source.more(&mut pump));
                poll_fn(|cx| {
                    if let Poll::Ready(more) = more.as_mut().poll(cx) {
                        return Poll::Ready(Next::More(more));
                    }
                    if let Poll::Ready(stop) = self.poll_end(here, ended.as_mut(), cx) {
                        return Poll::Ready(Next::Stop(stop));
                    }
                    beat.poll_tick(cx).map(|_| Next::Silence)
                })
                .await
            };
            match next {
                Next::Silence => self.client.output.extend_from_slice(sse::BEAT),
                Next::More(Ok(messages)) if messages.is_empty() && pump.round.is_none() => {
                    self.close_stream(here).await?;
                    return Ok(source.is_clean());
                }
                Next::More(Ok(messages)) => {
                    for message in messages {
                        track.push(&mut self.client.output, &message);
                    }
                    if let (Some(result), Some(sent)) = (pump.round.take(), &sent) {
                        let outcome = Box::pin(sent.go_on(result)).await;
                        let answer = self.concluded(outcome);
                        track.push(&mut self.client.output, &answer);
                    }
                    beat.reset();
                    until = self.silent_until();
                }
                Next::Stop(Stop::Gone) if here => here = false,
                Next::Stop(Stop::Cancelled) => {
                    // Nothing of JSON-RPC follows for a cancelled request.
                    self.tell_cancelled();
                    self.close_stream(here).await?;
                    return Err(Stop::Gone);
                }
                Next::Stop(Stop::Failed(error)) | Next::More(Err(error)) => {
                    return Err(self.break_off(error, &track, &pump, here).await);
                }
                Next::Stop(stop) => return Err(stop),
            }
        }
    }

    /// A stream may be silent for long, as long as it is not the whole time of a request.
    fn silent_until(&self) -> Instant {
        let now = Instant::now();
        now + self.deadline.saturating_duration_since(now).max(IDLE)
    }

    /// What may end a stream: for a client that is away, the end of its session, too.
    fn poll_end(
        &mut self,
        here: bool,
        ended: Pin<&mut impl Future>,
        cx: &mut Context<'_>,
    ) -> Poll<Stop> {
        if here {
            return self.poll_stop(cx);
        }
        if ended.poll(cx).is_ready() {
            return Poll::Ready(Stop::Gone);
        }
        self.poll_late_or_cancelled(cx)
    }

    /// The end of the stream, for a client that is there.
    async fn close_stream(&mut self, here: bool) -> Result<(), Stop> {
        self.client.output.extend_from_slice(sse::END);
        if here && !self.client.deliver().await {
            return Err(Stop::Gone);
        }
        self.keep_alive &= here;
        Ok(())
    }

    /// The client is told why no answer comes. The connection closes behind that without an end of the stream: after one,
    /// the client could send its next request on it.
    async fn break_off(&mut self, error: Error, track: &Track, pump: &Pump, here: bool) -> Stop {
        if !pump.answered {
            let answer = Answer::failure(self.id, &error);
            track.push(&mut self.client.output, &answer.body);
        }
        if here {
            self.client.deliver().await;
        }
        Stop::Cut(error)
    }
}
