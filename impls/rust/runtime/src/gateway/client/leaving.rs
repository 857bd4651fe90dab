//! A call whose client went away after its answer had begun, and may come back for the rest of it.
//!
//! The rule (2025-11-25 transports, "Sending Messages"): a lost connection is no cancellation, so the call goes on until
//! it ends, is cancelled, or its session is over; what it says is kept for the resumed stream.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

use crate::gateway::answer::Answer;
use crate::gateway::sessions::InFlight;
use crate::gateway::sse;
use crate::gateway::track::Track;
use crate::gateway::voice::Voice;
use crate::wire::buffers;

use super::Client;

enum Next {
    Said(Vec<u8>),
    Done(Answer),
    Over,
}

/// Goes on without the client, if it can come back.
pub(super) fn go_on<W: Future<Output = Answer> + Send + Unpin + 'static>(
    client: &Client,
    work: W,
    voice: Arc<Voice>,
    flight: Option<Arc<InFlight>>,
    track: Track,
) {
    if track.resumable().is_some() {
        let handle = &client.gateway.manager.shared.handle;
        handle.spawn(alone(work, voice, flight, track));
    }
}

async fn alone<W: Future<Output = Answer> + Unpin>(
    mut work: W,
    voice: Arc<Voice>,
    flight: Option<Arc<InFlight>>,
    track: Track,
) {
    let Some(session) = track.resumable().map(Arc::clone) else {
        return;
    };
    let mut ended = pin!(session.end.notified());
    let mut cancelled = flight
        .as_ref()
        .map(|flight| Box::pin(flight.wake.notified()));
    loop {
        if session.ended.load(Relaxed) {
            return;
        }
        let next = poll_fn(|cx| {
            if let Poll::Ready(done) = Pin::new(&mut work).poll(cx) {
                return Poll::Ready(Next::Done(done));
            }
            if let Poll::Ready(said) = voice.poll_said(cx) {
                return Poll::Ready(Next::Said(said));
            }
            let over = ended.as_mut().poll(cx).is_ready()
                || cancelled
                    .as_mut()
                    .is_some_and(|cancelled| cancelled.as_mut().poll(cx).is_ready());
            if over {
                return Poll::Ready(Next::Over);
            }
            Poll::Pending
        });
        match next.await {
            Next::Said(message) => {
                track.keep(&message);
            }
            Next::Over => return,
            Next::Done(answer) => {
                for message in voice.rest() {
                    track.keep(&message);
                }
                track.keep(&answer.body);
                return;
            }
        }
    }
}

impl Client {
    /// Puts the head of a stream of events into the output.
    pub(in crate::gateway) fn begin_stream(&mut self, keep_alive: bool) {
        self.clear_output();
        sse::push_head(&mut self.output, keep_alive);
    }

    pub(in crate::gateway) fn clear_output(&mut self) {
        self.output.clear();
        buffers::borrow(&mut self.output);
    }
}
