//! An answer that is made by work of the manager, while what its server says meanwhile is passed on.
//!
//! The rules: it stays one JSON body unless something has to be said before it, then it is a stream of events; nothing
//! of JSON-RPC is sent for a request that was cancelled; a client that does not take what it is told is left.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::{Client, Turn, leaving};
use crate::gateway::answer::Answer;
use crate::gateway::sessions::InFlight;
use crate::gateway::sse;
use crate::gateway::track::Track;
use crate::gateway::voice::Voice;
use crate::wire::{buffers, io};

/// What comes next of an answer in the making.
enum Next {
    Said(Vec<u8>),
    Done(Answer),
    Gone,
    Cancelled,
    /// Nothing was said for long.
    Silence,
}

impl Client {
    /// Waits for the answer, passes on what is said before it, and sends it.
    pub(super) async fn speak<W: Future<Output = Answer> + Send + Unpin + 'static>(
        &mut self,
        mut work: W,
        voice: Arc<Voice>,
        flight: Option<Arc<InFlight>>,
        mut track: Track,
        keep_alive: bool,
    ) -> Turn {
        let keep_alive = keep_alive && !self.gateway.is_closing();
        let beat = Duration::from_millis(self.gateway.manager.gateway.keep_alive_ms.max(1));
        let mut cancelled = flight
            .clone()
            .map(|flight| Box::pin(async move { flight.wake.notified().await }));
        let mut begun = false;
        loop {
            if begun {
                self.deadline(Instant::now() + beat);
            }
            let next = poll_fn(|cx| {
                // What was said before the answer goes out before it.
                let done = match Pin::new(&mut work).poll(cx) {
                    Poll::Ready(done) => Some(done),
                    Poll::Pending => None,
                };
                if let Some(done) = done {
                    return Poll::Ready(Next::Done(done));
                }
                self.poll_next(cx, &voice, &mut cancelled, begun)
            })
            .await;
            self.output.clear();
            buffers::borrow(&mut self.output);
            let last = match next {
                Next::Said(message) => {
                    self.begin(&mut begun, &mut track, keep_alive);
                    track.push(&mut self.output, &message);
                    false
                }
                Next::Silence => {
                    self.output.extend_from_slice(sse::BEAT);
                    false
                }
                Next::Gone => {
                    leaving::go_on(self, work, voice, flight, track);
                    return Turn::Close;
                }
                Next::Done(answer) => {
                    let rest = voice.rest();
                    if !begun && rest.is_empty() {
                        return self.respond(&answer, keep_alive).await;
                    }
                    self.begin(&mut begun, &mut track, keep_alive);
                    for message in rest {
                        track.push(&mut self.output, &message);
                    }
                    track.push(&mut self.output, &answer.body);
                    self.output.extend_from_slice(sse::END);
                    true
                }
                Next::Cancelled if begun => {
                    self.output.extend_from_slice(sse::END);
                    true
                }
                Next::Cancelled => return self.respond(&Answer::accepted(), keep_alive).await,
            };
            let delivered = self.deliver().await;
            if last {
                return if delivered && keep_alive {
                    Turn::Next
                } else {
                    Turn::Close
                };
            }
            if !delivered {
                leaving::go_on(self, work, voice, flight, track);
                return Turn::Close;
            }
        }
    }

    fn begin(&mut self, begun: &mut bool, track: &mut Track, keep_alive: bool) {
        if !std::mem::replace(begun, true) {
            sse::push_head(&mut self.output, keep_alive);
            track.begin(&mut self.output);
        }
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        voice: &Voice,
        cancelled: &mut Option<impl Future<Output = ()> + Unpin>,
        begun: bool,
    ) -> Poll<Next> {
        if self.poll_gone(cx) {
            return Poll::Ready(Next::Gone);
        }
        if let Some(cancelled) = cancelled
            && Pin::new(cancelled).poll(cx).is_ready()
        {
            return Poll::Ready(Next::Cancelled);
        }
        if let Poll::Ready(said) = voice.poll_said(cx) {
            return Poll::Ready(Next::Said(said));
        }
        if begun && self.poll_late(cx) {
            return Poll::Ready(Next::Silence);
        }
        Poll::Pending
    }

    /// Writes `output` within the client's patience.
    pub(in crate::gateway) async fn deliver(&mut self) -> bool {
        self.deadline(Instant::now() + self.patience());
        let mut at = 0;
        poll_fn(
            |cx| match io::poll_write(&mut self.stream, &self.output, &mut at, cx) {
                Poll::Ready(done) => Poll::Ready(done.is_ok()),
                Poll::Pending if self.poll_late(cx) => Poll::Ready(false),
                Poll::Pending => Poll::Pending,
            },
        )
        .await
    }
}
