//! One client connection over HTTP/1.1: requests one at a time, answers in their order, all in one task.
//!
//! This is the face behind the seam `Gateway::accept`; it owns framing, limits and timeouts, `dispatch` decides, `relay`
//! is the hot route. Rules: a body is bounded and a head too; a client that sends ahead is read only so far; between
//! requests a connection owns no buffer.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::access::{Asked, Endpoint};
use super::answer::Answer;
use super::dispatch::{self, Heads, Plan, Way, Who};
use super::{Gateway, Phase, pages, relay, stream, work};
use crate::envelope::{self, Span};
use crate::wire::body::Body;
use crate::wire::{MAX_HEAD, PIECE, RequestHead, buffers, head, io};

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

    fn patience(&self) -> Duration {
        Duration::from_millis(self.gateway.manager.gateway.header_timeout_ms)
    }

    /// Sends an answer of the gateway's own.
    pub(crate) async fn respond(&mut self, answer: &Answer, keep_alive: bool) -> Turn {
        let keep_alive = keep_alive && !answer.close && !self.gateway.is_closing();
        self.output.clear();
        buffers::borrow(&mut self.output);
        answer.write(&mut self.output, keep_alive);
        self.deadline(Instant::now() + self.patience());
        let mut at = 0;
        let sent =
            poll_fn(
                |cx| match io::poll_write(&mut self.stream, &self.output, &mut at, cx) {
                    Poll::Ready(done) => Poll::Ready(done.is_ok()),
                    Poll::Pending
                        if self
                            .timer
                            .as_mut()
                            .is_some_and(|timer| timer.as_mut().poll(cx).is_ready()) =>
                    {
                        Poll::Ready(false)
                    }
                    Poll::Pending => Poll::Pending,
                },
            )
            .await;
        if !sent {
            return Turn::Close;
        }
        if keep_alive {
            return Turn::Next;
        }
        self.linger().await
    }

    /// Closes so that the last answer arrives although input is unread: a reset would destroy it (RFC 9112, 9.6).
    async fn linger(&mut self) -> Turn {
        use tokio::io::AsyncWriteExt;
        let _ = self.stream.shutdown().await;
        let drain = async {
            let mut total = 0;
            while total < 1 << 20 {
                self.input.clear();
                match io::fill(&mut self.stream, &mut self.input).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => total += read,
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(500), drain).await;
        Turn::Close
    }

    async fn refuse(&mut self, status: u16, why: &str) -> Turn {
        self.respond(&Answer::refusal(status, why), false).await
    }

    async fn lost(&mut self, lost: Lost) -> Turn {
        match lost {
            Lost::Gone => Turn::Close,
            Lost::Late => {
                self.refuse(408, "the request did not arrive in time; send it faster, or raise gateway.headerTimeoutMs")
                    .await
            }
        }
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
            Err(answer) => {
                let whole = matches!(inbound.head.body, Body::Done)
                    || self.input.len() >= inbound.head_len + inbound.length;
                self.input
                    .drain(..(inbound.head_len + inbound.length).min(self.input.len()));
                let whole = whole && !matches!(inbound.head.body, Body::Chunked(_));
                self.respond(&answer, inbound.keep_alive && whole).await
            }
        }
    }

    async fn rest_of_head(
        &mut self,
        mut outcome: Result<Option<(RequestHead, usize)>, head::HeadFault>,
    ) -> Result<(RequestHead, usize), Turn> {
        self.deadline(Instant::now() + self.patience());
        loop {
            match outcome {
                Ok(Some(found)) => return Ok(found),
                Err(fault) => {
                    let why = format!("{}; send a valid HTTP/1.1 request", fault.why);
                    return Err(self.refuse(fault.status, &why).await);
                }
                Ok(None) if self.input.len() > MAX_HEAD => {
                    return Err(self
                        .refuse(
                            431,
                            "the request head is longer than 16 KiB; send fewer or shorter headers",
                        )
                        .await);
                }
                Ok(None) => {
                    if let Err(lost) = self.more().await {
                        return Err(self.lost(lost).await);
                    }
                    outcome = head::request(&self.input);
                }
            }
        }
    }

    /// Everything that is not POST.
    async fn page(&mut self, endpoint: Endpoint, inbound: Inbound) -> Turn {
        let session = inbound
            .head
            .session
            .map(|span| span.of(&self.input).to_vec());
        let keep_alive = inbound.keep_alive && matches!(inbound.head.body, Body::Done);
        self.input.drain(..inbound.head_len);
        let answer = match endpoint {
            Endpoint::Metrics => pages::metrics(&self.gateway.manager),
            Endpoint::Health => pages::health(&self.gateway.manager),
            Endpoint::Stream => match self.gateway.known(session.as_deref()) {
                Ok(session) => return stream::run(self, session).await,
                Err(refused) => *refused,
            },
            Endpoint::Delete => match self.gateway.known(session.as_deref()) {
                Ok(session) => {
                    self.gateway.end_session(session.id.as_bytes());
                    Answer::new(200, Vec::new())
                }
                Err(refused) => *refused,
            },
            Endpoint::Post => Answer::refusal(400, "not reached"),
        };
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

    /// Reads a body until it can be acted on: all of it, or the first look at a long one.
    async fn body(&mut self, inbound: &mut Inbound, limit: usize) -> Result<bool, Turn> {
        self.deadline(Instant::now() + self.patience());
        if inbound.length > limit {
            return Err(self.too_long(limit).await);
        }
        if inbound.head.expects_continue && self.input.len() == inbound.head_len {
            let _ = io::write(&mut self.stream, b"HTTP/1.1 100 Continue\r\n\r\n").await;
        }
        if matches!(inbound.head.body, Body::Chunked(_)) {
            return self.chunked(inbound, limit).await;
        }
        let enough = if inbound.length > PIECE {
            FIRST_LOOK
        } else {
            inbound.length
        };
        self.read_to(inbound, enough).await.map(|()| true)
    }

    async fn too_long(&mut self, limit: usize) -> Turn {
        self.refuse(
            413,
            &format!("the body is longer than {limit} bytes; raise gateway.maxBodyBytes"),
        )
        .await
    }

    /// Reads until `wanted` bytes of the body are in the buffer.
    async fn read_to(&mut self, inbound: &mut Inbound, wanted: usize) -> Result<(), Turn> {
        let missing = (inbound.head_len + inbound.length).saturating_sub(self.input.len());
        if wanted > FIRST_LOOK {
            self.input.reserve(missing.min(4 * PIECE));
        }
        while self.input.len() - inbound.head_len < wanted {
            let missing = (inbound.head_len + wanted).saturating_sub(self.input.len());
            self.input.reserve(missing.min(4 * PIECE));
            if let Err(lost) = self.more().await {
                return Err(self.lost(lost).await);
            }
            self.deadline(Instant::now() + self.patience());
        }
        inbound.have = (self.input.len() - inbound.head_len).min(inbound.length);
        Ok(())
    }

    /// Reads and decodes a chunked body into the buffer, in place of its framing.
    async fn chunked(&mut self, inbound: &mut Inbound, limit: usize) -> Result<bool, Turn> {
        let mut decoded = Vec::new();
        let mut body = inbound.head.body;
        let mut at = inbound.head_len;
        loop {
            let Ok(used) = body.advance(&self.input[at..], |part| decoded.extend_from_slice(part))
            else {
                return Err(self
                    .refuse(400, "the chunked body is broken; send valid chunks")
                    .await);
            };
            at += used;
            if decoded.len() > limit {
                return Err(self.too_long(limit).await);
            }
            if body.is_done() {
                break;
            }
            self.input.truncate(inbound.head_len);
            at = inbound.head_len;
            if let Err(lost) = self.more().await {
                return Err(self.lost(lost).await);
            }
            self.deadline(Instant::now() + self.patience());
        }
        inbound.length = decoded.len();
        inbound.have = decoded.len();
        self.input.splice(inbound.head_len..at, decoded);
        Ok(true)
    }

    /// A message whose beginning (or all) is in the buffer.
    async fn message(&mut self, mut inbound: Inbound) -> Turn {
        let mut looked = if inbound.length > PIECE {
            inbound.have.min(FIRST_LOOK)
        } else {
            inbound.have
        };
        let (plan, env) = loop {
            let body = &self.input[inbound.head_len..inbound.head_len + looked];
            let whole = looked == inbound.length;
            let scanned = envelope::scan(body).and_then(|env| {
                // Bytes behind a complete message would be read by nobody.
                if whole && !env.complete {
                    Err(envelope::Fault::Syntax(body.len()))
                } else {
                    Ok(env)
                }
            });
            let plan = match &scanned {
                Err(fault) if whole || !matches!(fault, envelope::Fault::Syntax(_)) => {
                    Plan::Answer(Box::new(dispatch::faulty(*fault)))
                }
                Err(_) => Plan::Whole,
                Ok(env) if env.complete && !whole => Plan::Whole,
                Ok(env) => {
                    let view = &self.input[..];
                    let of = |span: Option<Span>| span.map(|span| span.of(view));
                    let heads = Heads {
                        layer: true,
                        session: of(inbound.head.session),
                        version: of(inbound.head.version),
                        method: of(inbound.head.mcp_method),
                        name: of(inbound.head.mcp_name),
                    };
                    dispatch::plan(&self.gateway, &heads, body, env)
                }
            };
            let streamable = match &plan {
                Plan::Answer(_) => true,
                Plan::Forward(forward) => forward.way() == (Way::Relay { edits_meta: false }),
                _ => false,
            };
            if whole || streamable {
                break (plan, scanned.unwrap_or_default());
            }
            looked = looked.saturating_mul(4).min(inbound.length);
            if inbound.have < looked {
                self.deadline(Instant::now() + self.patience());
                if let Err(turn) = Box::pin(self.read_to(&mut inbound, looked)).await {
                    return turn;
                }
            }
        };
        match plan {
            Plan::Answer(answer) => {
                let whole = inbound.have == inbound.length;
                self.input.drain(..inbound.head_len + inbound.have);
                self.respond(&answer, inbound.keep_alive && whole).await
            }
            Plan::Forward(forward) => match forward.way() {
                Way::Relay { edits_meta } => {
                    relay::run(self, forward, &inbound, &env, edits_meta).await
                }
                Way::Unknown => Box::pin(relay::learn(self, forward, &inbound, &env)).await,
                Way::Call => Box::pin(self.work(Plan::Forward(forward), &inbound, &env)).await,
            },
            other => Box::pin(self.work(other, &inbound, &env)).await,
        }
    }

    /// Answers by work of the manager, while watching whether the client stays.
    pub(crate) async fn work(
        &mut self,
        plan: Plan,
        inbound: &Inbound,
        env: &envelope::Envelope,
    ) -> Turn {
        let ahead = self.input.split_off(inbound.head_len + inbound.length);
        let request = std::mem::replace(&mut self.input, ahead);
        let body = &request[inbound.head_len..];
        let entered = match &plan {
            Plan::Forward(forward) => match &forward.who {
                Who::Legacy(session) => Some(session.enter(&forward.id)),
                Who::Modern(_) => None,
            },
            _ => None,
        };
        let gateway = Arc::clone(&self.gateway);
        let flight = entered.as_ref().map(|entered| Arc::clone(&entered.flight));
        let mut working = Box::pin(work::run(
            &gateway,
            plan,
            body,
            env,
            flight.as_ref().map(|flight| &flight.cancelled),
        ));
        let mut cancelled = flight
            .as_ref()
            .map(|flight| Box::pin(flight.wake.notified()));
        let done = poll_fn(|cx| {
            if let Poll::Ready(answer) = working.as_mut().poll(cx) {
                return Poll::Ready(Some(answer));
            }
            if self.poll_gone(cx) {
                return Poll::Ready(None);
            }
            // The request was cancelled: nothing of JSON-RPC may be sent for it any more.
            if let Some(cancelled) = &mut cancelled
                && cancelled.as_mut().poll(cx).is_ready()
            {
                return Poll::Ready(Some(Answer::accepted()));
            }
            Poll::Pending
        })
        .await;
        drop(working);
        match done {
            Some(answer) => self.respond(&answer, inbound.keep_alive).await,
            None => Turn::Close,
        }
    }
}
