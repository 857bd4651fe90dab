//! A posted message: what `dispatch` decides about it is done, by the relay or by work of the manager.
//!
//! The rule: a long body is looked at in growing pieces until the decision is certain. While the
//! manager works the client is watched, and nothing of JSON-RPC is sent for a request that was cancelled.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use super::{Client, FIRST_LOOK, Inbound, Turn};
use crate::envelope::{self, Span};
use crate::gateway::dispatch::{self, Heads, Plan, Way};
use crate::gateway::listen;
use crate::gateway::mirrored::Sent;
use crate::gateway::sessions::InFlight;
use crate::gateway::track::Track;
use crate::gateway::work::{self, Ask};
use crate::gateway::{calling, relay};
use crate::principal::Principal;
use crate::wire::PIECE;

/// How a wait for work of the manager's ended.
pub(crate) enum Attended<T> {
    Done(T),
    /// The client left.
    Gone,
    /// The client wants no answer any more.
    Cancelled,
}

impl Client {
    /// A message whose beginning (or all) is in the buffer.
    pub(super) async fn message(&mut self, mut inbound: Inbound) -> Turn {
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
                        principal: self.principal(&inbound),
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
            Plan::Listen(id) => {
                let ahead = self.input.split_off(inbound.head_len + inbound.length);
                let request = std::mem::replace(&mut self.input, ahead);
                let body = &request[inbound.head_len..];
                Box::pin(listen::run(self, &id, body, &env, inbound.keep_alive)).await
            }
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
        let entered = plan.of_session();
        let entered = entered.map(|(session, id)| session.enter(id));
        let gateway = Arc::clone(&self.gateway);
        let flight = entered.as_ref().map(|entered| Arc::clone(&entered.flight));
        let voice = calling::voice(&gateway, &plan, &request[inbound.head_len..], env);
        let session = entered.as_ref().map(|entered| &entered.session);
        let track = Track::new(&gateway, session);
        let (env, head_len, own) = (*env, inbound.head_len, Arc::clone(&voice));
        let sent = inbound.head.params.clone();
        // It owns all that it needs, because it may go on without this connection.
        let working = Box::pin(async move {
            let (head, body) = request.split_at(head_len);
            let ask = Ask {
                cancels: entered.as_ref().map(|entered| &entered.flight.cancelled),
                principal: Principal::of_head(head, &gateway.manager.gateway.principal_header),
                sent: Some(Sent {
                    head,
                    params: &sent,
                }),
                voice: &own,
            };
            work::run(&gateway, plan, body, &env, ask).await
        });
        self.speak(working, voice, flight, track, inbound.keep_alive)
            .await
    }

    /// Waits for `work` while watching whether the client stays and wants it.
    pub(crate) async fn attend<W: Future + Unpin>(
        &mut self,
        mut work: W,
        flight: Option<&InFlight>,
    ) -> Attended<W::Output> {
        let mut cancelled = flight.map(|flight| Box::pin(flight.wake.notified()));
        poll_fn(|cx| {
            if let Poll::Ready(done) = Pin::new(&mut work).poll(cx) {
                return Poll::Ready(Attended::Done(done));
            }
            if self.poll_gone(cx) {
                return Poll::Ready(Attended::Gone);
            }
            if let Some(cancelled) = &mut cancelled
                && cancelled.as_mut().poll(cx).is_ready()
            {
                return Poll::Ready(Attended::Cancelled);
            }
            Poll::Pending
        })
        .await
    }
}
