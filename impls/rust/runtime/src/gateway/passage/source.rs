//! Where the messages of a pumped answer come from: its own stream, and behind a break the streams that go on with it.
//!
//! The rule: waiting for more may be given up at any time and nothing is lost, neither bytes nor the place in a stream.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::pump::Pump;
use crate::error::{Error, Result};
use crate::upstream::Point;
use crate::upstream::http::HttpLink;
use crate::upstream::lease::Conn;
use crate::upstream::session::UpstreamSession;
use crate::upstream::stream::EventStream;
use crate::wire::{Body, ResponseHead, io};

type Reopened = Result<(Box<EventStream>, Point)>;

enum State<'a> {
    /// The answer to the request.
    First { conn: &'a mut Conn, body: Body },
    /// It broke, and is asked for again.
    Gap(Pin<Box<dyn Future<Output = Reopened> + Send>>),
    /// What followed the break.
    Resumed(Box<EventStream>, Point),
}

pub(super) struct Source<'a> {
    link: Arc<HttpLink>,
    /// Streams can be resumed only in a session.
    session: Option<Arc<UpstreamSession>>,
    keep_alive: bool,
    state: State<'a>,
}

impl<'a> Source<'a> {
    pub(super) fn new(
        link: &Arc<HttpLink>,
        session: Option<Arc<UpstreamSession>>,
        conn: &'a mut Conn,
        head: ResponseHead,
    ) -> Self {
        let body = head.body;
        Self {
            link: Arc::clone(link),
            session,
            keep_alive: head.keep_alive,
            state: State::First { conn, body },
        }
    }

    /// Whether the connection of the answer can be used again.
    pub(super) fn is_clean(&self) -> bool {
        match &self.state {
            State::First { conn, body } => {
                self.keep_alive && body.is_done() && conn.buffer.is_empty()
            }
            _ => false,
        }
    }

    /// More messages for the client; none at the end.
    pub(super) async fn more(&mut self, pump: &mut Pump) -> Result<Vec<Vec<u8>>> {
        loop {
            let mut messages = Vec::new();
            match &mut self.state {
                State::First { conn, body } => {
                    let mut short = true;
                    let used = body
                        .advance(&conn.buffer, |piece| {
                            short &= pump.take(piece, &mut messages);
                        })
                        .map_err(|_| self.link.violation("sent broken chunked framing"))?;
                    conn.buffer.drain(..used);
                    if !short {
                        return Err(self.link.too_long());
                    }
                    if !messages.is_empty() {
                        return Ok(messages);
                    }
                    let mut why = None;
                    if !body.is_done() {
                        why = match io::fill(&mut conn.stream, &mut conn.buffer).await {
                            Ok(0) => Some(std::io::ErrorKind::UnexpectedEof.into()),
                            Ok(_) => continue,
                            Err(why) => Some(why),
                        };
                    }
                    if pump.answered {
                        return Ok(messages);
                    }
                    let error = || match why {
                        Some(why) if *body != Body::UntilClose => self.link.crashed(&why),
                        _ => self
                            .link
                            .violation("ended its answer without a JSON-RPC response"),
                    };
                    let point = Point::of(&pump.events).ok_or_else(error)?;
                    self.state = self.reopen(point)?;
                }
                State::Gap(reopening) => {
                    let (open, point) = reopening.await?;
                    self.state = State::Resumed(open, point);
                }
                State::Resumed(..) if pump.answered => return Ok(messages),
                State::Resumed(open, point) => {
                    if let Some(event) = open.next().await? {
                        pump.message(&event.data, &mut messages);
                        if !messages.is_empty() {
                            return Ok(messages);
                        }
                    } else {
                        let point = point.clone().behind(open);
                        self.state = self.reopen(point)?;
                    }
                }
            }
        }
    }

    fn reopen(&self, point: Point) -> std::result::Result<State<'a>, Error> {
        let link = Arc::clone(&self.link);
        let Some(session) = self.session.clone() else {
            return Err(link.violation("ended its answer without a JSON-RPC response"));
        };
        Ok(State::Gap(Box::pin(async move {
            let open = link.reopen(&point, &session).await?;
            Ok((open, point))
        })))
    }
}
