//! One client connection over HTTP/1.1: requests one at a time, answers in their order, all in one task.
//!
//! This is the face behind the seam `Gateway::accept`; it owns framing, limits and timeouts, `dispatch` decides, `relay`
//! is the hot route. Rules: a body is bounded and a head too; a client that sends ahead is read only so far; between
//! requests a connection owns no buffer.

mod answering;
mod leaving;
mod message;
mod reading;
mod speaking;

pub(crate) use message::Attended;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::access::{Asked, Endpoint};
use super::answer::Answer;
use super::{Gateway, Phase, pages, stream};
use crate::envelope::Span;
use crate::principal::Principal;
use crate::wire::body::Body;
use crate::wire::{Method, PIECE, RequestHead, buffers, head, io};

/// How much a client may send ahead of its answers.
const AHEAD: usize = 64 * 1024;
/// The first look at a long body.
const FIRST_LOOK: usize = PIECE / 4;

/// Whether the connection goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Turn {
    Next,
    Close,
}

/// The client went away, or was too slow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lost {
    Gone,
    Late,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) input: Vec<u8>,
    pub(crate) output: Vec<u8>,
    timer: Option<Pin<Box<Sleep>>>,
    pub(crate) gateway: Arc<Gateway>,
    phase: Arc<Phase>,
}

/// A request whose body is not (all) read yet.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) head: RequestHead,
    pub(crate) head_len: usize,
    /// Length of the body as announced (or decoded), and how much of it is in the buffer behind the head.
    pub(crate) length: usize,
    pub(crate) have: usize,
    pub(crate) keep_alive: bool,
}

pub(crate) async fn serve(stream: TcpStream, gateway: Arc<Gateway>, phase: Arc<Phase>) {
    let mut client = Client {
        stream,
        input: Vec::new(),
        output: Vec::new(),
        timer: None,
        gateway,
        phase,
    };
    while client.wait().await {
        let turn = client.turn().await;
        buffers::give_back(&mut client.output);
        if client.input.is_empty() {
            buffers::give_back(&mut client.input);
        }
        if turn == Turn::Close || !client.phase.rest() {
            break;
        }
    }
}

impl Client {
    /// Waits for a first byte; false if there will be none.
    async fn wait(&mut self) -> bool {
        if self.input.is_empty() {
            match io::fill(&mut self.stream, &mut self.input).await {
                Ok(0) | Err(_) => return false,
                Ok(_) => {}
            }
        }
        self.phase.work()
    }

    /// Sets when [`Client::poll_late`] strikes.
    pub(crate) fn deadline(&mut self, at: Instant) {
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(at.into()),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(at.into()))),
        }
    }

    pub(crate) fn poll_late(&mut self, cx: &mut Context<'_>) -> bool {
        self.timer
            .as_mut()
            .is_some_and(|timer| timer.as_mut().poll(cx).is_ready())
    }

    /// Looks whether the client is still there; what it sends ahead is kept.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> bool {
        while self.input.len() < AHEAD {
            match io::poll_fill(&mut self.stream, &mut self.input, cx) {
                Poll::Ready(Ok(0) | Err(_)) => return true,
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return false,
            }
        }
        false
    }

    /// Reads more of a request, within `headerTimeoutMs`.
    pub(crate) async fn more(&mut self) -> Result<(), Lost> {
        poll_fn(
            |cx| match io::poll_fill(&mut self.stream, &mut self.input, cx) {
                Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Err(Lost::Gone)),
                Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
                Poll::Pending if self.poll_late(cx) => Poll::Ready(Err(Lost::Late)),
                Poll::Pending => Poll::Pending,
            },
        )
        .await
    }

    /// On whose behalf a request is made whose head stands at the beginning of the buffer.
    pub(crate) fn principal(&self, inbound: &Inbound) -> Principal<'_> {
        let head = &self.input[..inbound.head_len];
        Principal::of_head(head, &self.gateway.manager.gateway.principal_header)
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(self.gateway.manager.gateway.header_timeout_ms)
    }

    /// One request and its answer.
    async fn turn(&mut self) -> Turn {
        let (head, head_len) = match head::request(&self.input) {
            Ok(Some(found)) => found,
            outcome => match Box::pin(self.rest_of_head(outcome)).await {
                Ok(found) => found,
                Err(turn) => return turn,
            },
        };
        let inbound = Inbound {
            keep_alive: head.keep_alive,
            length: match head.body {
                Body::Length(length) => usize::try_from(length).unwrap_or(usize::MAX),
                _ => 0,
            },
            have: 0,
            head,
            head_len,
        };
        let view = &self.input[..];
        let of = |span: Option<Span>| span.map(|span| span.of(view));
        let asked = Asked {
            method: inbound.head.method,
            path: inbound.head.path.of(view),
            host: of(inbound.head.host),
            origin: of(inbound.head.origin),
            version: of(inbound.head.version),
        };
        match self.gateway.access.judge(asked) {
            Ok(Endpoint::Post) => self.post(inbound).await,
            Ok(other) => Box::pin(self.page(other, inbound)).await,
            Err(mut answer) => {
                answer.bare = inbound.head.method == Method::Head;
                let whole = matches!(inbound.head.body, Body::Done)
                    || self.input.len() >= inbound.head_len + inbound.length;
                self.input
                    .drain(..(inbound.head_len + inbound.length).min(self.input.len()));
                let whole = whole && !matches!(inbound.head.body, Body::Chunked(_));
                self.respond(&answer, inbound.keep_alive && whole).await
            }
        }
    }

    /// Everything that is not POST.
    async fn page(&mut self, endpoint: Endpoint, inbound: Inbound) -> Turn {
        let of = |span: Option<Span>| span.map(|span| span.of(&self.input));
        let session = match endpoint {
            Endpoint::Stream | Endpoint::Delete => {
                let (version, session) = (of(inbound.head.version), of(inbound.head.session));
                let caller = self.principal(&inbound);
                Some(self.gateway.known(version, session, None, caller))
            }
            Endpoint::Metrics | Endpoint::Health | Endpoint::Post => None,
        };
        let after = stream::last_event(&self.input[..inbound.head_len]);
        let keep_alive = inbound.keep_alive && matches!(inbound.head.body, Body::Done);
        self.input.drain(..inbound.head_len);
        let bare = inbound.head.method == Method::Head;
        let mut answer = match (endpoint, session) {
            (_, Some(Err(refused))) => *refused,
            (Endpoint::Stream, Some(Ok(session))) => {
                return stream::run(self, session, after).await;
            }
            (Endpoint::Delete, Some(Ok(session))) => {
                self.gateway.end_session(session.id.as_bytes());
                Answer::new(204, Vec::new())
            }
            (Endpoint::Metrics, _) => pages::metrics(&self.gateway.manager),
            (Endpoint::Health, _) => pages::health(&self.gateway.manager),
            _ => Answer::refusal(400, "not reached"),
        };
        answer.bare = bare;
        self.respond(&answer, keep_alive).await
    }

    async fn post(&mut self, mut inbound: Inbound) -> Turn {
        if inbound.head.http_10 {
            return self
                .refuse(505, "HTTP/1.0 is not supported here; use HTTP/1.1")
                .await;
        }
        let limit = self.gateway.manager.gateway.max_body_bytes;
        let end = inbound.head_len + inbound.length;
        if matches!(inbound.head.body, Body::Length(_))
            && self.input.len() >= end
            && inbound.length <= limit
        {
            // The common case: head and body came together.
            inbound.have = inbound.length;
            return self.message(inbound).await;
        }
        match Box::pin(self.body(&mut inbound, limit)).await {
            Ok(true) => self.message(inbound).await,
            Ok(false) => Turn::Close,
            Err(turn) => turn,
        }
    }
}
