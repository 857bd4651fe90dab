//! A relay that failed before any byte of its answer was passed on: it goes on to another instance if nothing was sent,
//! or is sent once more where that is safe.
//!
//! The rule: the body that was sent still stands in `client.output`, with every edit made; only its head is written
//! anew. A body that was passed on while it arrived is gone, so such a request fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Job, Stop};
use crate::error::{Error, Result};
use crate::gateway::client::Turn;
use crate::gateway::dispatch::Who;
use crate::gateway::relay::{Ground, prepare, words};
use crate::upstream::{Link, Ticket, Wish, may_go_elsewhere, may_go_on};

/// What all attempts of a request have in common.
pub(in crate::gateway) struct Retold<'a> {
    pub(in crate::gateway) who: &'a Who,
    pub(in crate::gateway) name: Option<&'a str>,
    pub(in crate::gateway) edits_meta: bool,
    /// What affinity goes by.
    pub(in crate::gateway) key: u64,
    /// All of the body was there when it was first sent.
    pub(in crate::gateway) whole: bool,
}

type Ended = (std::result::Result<bool, Stop>, Option<Ticket>);

impl Job<'_> {
    /// The first attempt (unless it `failed` before it began), what follows from it, and the end.
    pub(in crate::gateway) async fn run(
        &mut self,
        failed: Option<Error>,
        ticket: Ticket,
        retold: &Retold<'_>,
    ) -> Turn {
        let outcome = match failed {
            None => self.exchange(retold.who).await,
            Some(error) => Err(Stop::Failed(error)),
        };
        let (outcome, ticket) = match outcome {
            Err(Stop::Failed(error)) if retold.whole && may_go_on(&error) => {
                Box::pin(self.again(error, ticket, retold)).await
            }
            outcome => (outcome, Some(ticket)),
        };
        self.finish(outcome, ticket).await
    }

    /// Further attempts after one that failed with `error`, as far as there may be any.
    async fn again(&mut self, mut error: Error, ticket: Ticket, retold: &Retold<'_>) -> Ended {
        let server = Arc::clone(&ticket.server);
        let rules = server.traffic.rules();
        let safe = rules.repeating.allows(self.method, retold.name);
        if safe {
            rules.repeating.asked();
        }
        let mut tried = vec![ticket.link().clone()];
        ticket.settle(Some(&error));
        self.session = None;
        let mut made = 1;
        loop {
            let wish = Wish {
                tried: &tried,
                key: retold.key,
                ..Wish::default()
            };
            let other = may_go_elsewhere(&error).then(|| server.elsewhere(wish));
            let ticket = if let Some(ticket) = other.flatten() {
                ticket
            } else {
                let allowed = safe.then(|| rules.repeating.delay(&error, made, self.deadline));
                let Some(delay) = allowed.flatten() else {
                    return (Err(Stop::Failed(error)), None);
                };
                made += 1;
                server.traffic.retried();
                if let Err(stop) = self.pause(delay).await {
                    return (Err(stop), None);
                }
                match server.admit(wish, self.deadline).await {
                    Ok(ticket) => ticket,
                    Err(error) => return (Err(Stop::Failed(error)), None),
                }
            };
            tried.push(ticket.link().clone());
            let outcome = match self.retell(&ticket, retold).await {
                Ok(()) => self.exchange(retold.who).await,
                Err(failed) => Err(Stop::Failed(failed)),
            };
            match outcome {
                Err(Stop::Failed(failed)) if may_go_on(&failed) => {
                    ticket.settle(Some(&failed));
                    error = failed;
                }
                other => return (other, Some(ticket)),
            }
        }
    }

    /// Waits, unless the client leaves or cancels before.
    async fn pause(&mut self, delay: Duration) -> std::result::Result<(), Stop> {
        let mut over = Box::pin(tokio::time::sleep_until((Instant::now() + delay).into()));
        std::future::poll_fn(|cx| {
            if over.as_mut().poll(cx).is_ready() {
                return std::task::Poll::Ready(Ok(()));
            }
            self.poll_stop(cx).map(Err)
        })
        .await
    }

    /// Writes the head for another instance in front of the body.
    async fn retell(&mut self, ticket: &Ticket, retold: &Retold<'_>) -> Result<()> {
        let Link::Http(link) = ticket.link() else {
            return Err(Error::internal(
                "a relayed request has no way to a child; report this",
            ));
        };
        let prepared = prepare(
            link,
            retold.who,
            ticket.seat.revision.spec.stateless,
            retold.edits_meta,
            self.deadline,
        );
        let session = match prepared.await? {
            Ground::Free => None,
            Ground::Session(session) => Some(session),
            Ground::OtherEra => {
                return Err(Error::internal(format!(
                    "the instances of server '{}' speak different eras; call again, or give each era a server of its own",
                    link.name()
                )));
            }
        };
        let output = &mut self.client.output;
        let end = memchr::memmem::find(output, b"\r\n\r\n").map_or(output.len(), |at| at + 4);
        let body = output.split_off(end);
        let lines = param_lines(output);
        let head = words(link, session.as_deref(), self.method, retold.name, &lines);
        output.clear();
        link.write_head(output, &head, body.len());
        output.extend_from_slice(&body);
        self.link = Arc::clone(link);
        self.session = session;
        Ok(())
    }
}

/// The client's `Mcp-Param-*` lines, out of the head of the attempt before.
fn param_lines(head: &[u8]) -> Vec<u8> {
    const PREFIX: &[u8] = b"Mcp-Param-";
    let lines = head.split_inclusive(|&byte| byte == b'\n');
    lines
        .filter(|line| {
            line.get(..PREFIX.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
        })
        .flatten()
        .copied()
        .collect()
}
