//! An answer whose stream ended before it came: read on behind the last event that the server named.
//!
//! The rules (2025-11-25 transports, "Resumability and Redelivery"): by GET with `Last-Event-ID`, in the same session and
//! not before the server's `retry` is over, until the answer is there or the call's time is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::hearing::Ear;
use super::http::HttpLink;
use super::session::UpstreamSession;
use super::stream::{EventStream, Get, Opened, pause};
use crate::envelope;
use crate::error::Result;
use crate::wire::sse::Events;

/// How long one GET may take to be answered.
const PATIENCE: Duration = Duration::from_secs(10);
/// Until a GET that failed is sent again, at most.
const MOST: Duration = Duration::from_secs(5);

/// Where a stream ended.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    after: Vec<u8>,
    pause: Duration,
}

impl Point {
    /// `None` if the server named no event.
    pub(crate) fn of(events: &Events) -> Option<Self> {
        Some(Self {
            after: events.last_id()?.to_vec(),
            pause: pause(events),
        })
    }

    /// Where a stream that went on behind this one ended.
    pub(crate) fn behind(self, open: &EventStream) -> Self {
        Self::of(&open.events).unwrap_or(Self {
            pause: open.pause(),
            ..self
        })
    }
}

impl HttpLink {
    /// Reads on until the answer to `ear`'s request is there. The caller sees to the deadline.
    pub(super) async fn resume(
        self: &Arc<Self>,
        mut point: Point,
        ear: Ear<'_>,
    ) -> Result<Vec<u8>> {
        let Some(session) = ear.session else {
            return Err(self.crashed(&std::io::ErrorKind::UnexpectedEof.into()));
        };
        loop {
            let mut open = self.reopen(&point, session).await?;
            if let Some(answer) = self.answer_in(&mut open, ear).await? {
                return Ok(answer);
            }
            point = point.behind(&open);
        }
    }

    /// The stream that goes on behind `point`, asked for until the server gives or refuses it.
    pub(crate) async fn reopen(
        self: &Arc<Self>,
        point: &Point,
        session: &UpstreamSession,
    ) -> Result<Box<EventStream>> {
        let mut failed = Duration::ZERO;
        loop {
            tokio::time::sleep(point.pause.max(failed)).await;
            let get = Get {
                version: Some(&session.version),
                session: session.id.as_deref(),
                after: Some(&point.after),
            };
            match self.get_stream(&get, Instant::now() + PATIENCE).await {
                Ok(Opened::Stream(open)) => return Ok(open),
                Ok(Opened::Else { status, .. }) => {
                    return Err(self.violation(&format!(
                        "ended the stream of an answer and refused to go on with it (HTTP {status})"
                    )));
                }
                Err(_) => failed = (failed * 2).clamp(Duration::from_millis(100), MOST),
            }
        }
    }

    /// The answer, or `None` if the stream ends before it.
    async fn answer_in(
        self: &Arc<Self>,
        open: &mut EventStream,
        ear: Ear<'_>,
    ) -> Result<Option<Vec<u8>>> {
        while let Some(event) = open.next().await? {
            let Ok(found) = envelope::scan(&event.data) else {
                continue;
            };
            if found.method.is_some() {
                ear.hear(self, &event.data, &found);
                if let Some(voice) = ear.voice {
                    voice.room().await; // a slow client slows its server
                }
            } else if found.complete
                && found.id.is_some_and(|span| {
                    span.of(&event.data) == itoa::Buffer::new().format(ear.id).as_bytes()
                })
            {
                return Ok(Some(event.data));
            }
        }
        Ok(None)
    }
}
