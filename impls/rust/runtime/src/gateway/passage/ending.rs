//! How a request ends: its ticket is settled, and who was not answered gets an answer.
//!
//! The rule: every way out settles or drops the ticket exactly once; nothing is written behind an answer that began.

use super::{Job, Stop};
use crate::gateway::answer::Answer;
use crate::gateway::client::Turn;
use crate::gateway::dispatch::faulty;
use crate::upstream::Ticket;

impl Job<'_> {
    /// Settles the ticket and answers what was not answered.
    pub(in crate::gateway) async fn finish(
        &mut self,
        outcome: std::result::Result<bool, Stop>,
        ticket: Option<Ticket>,
    ) -> Turn {
        match outcome {
            Ok(keep_alive) => {
                if let Some(ticket) = ticket {
                    ticket.settle(None);
                }
                if keep_alive && !self.client.gateway.is_closing() {
                    Turn::Next
                } else {
                    Turn::Close
                }
            }
            Err(Stop::Gone) => Turn::Close,
            Err(Stop::Cancelled) => {
                drop(ticket);
                self.tell_cancelled();
                // Nothing of JSON-RPC may be sent for a cancelled request.
                self.client
                    .respond(&Answer::accepted(), self.keep_alive && self.unsent == 0)
                    .await
            }
            Err(Stop::OnceMore(result)) => {
                if let Some(ticket) = ticket {
                    ticket.settle(None);
                }
                Box::pin(self.go_round(result)).await
            }
            // The server is left with half a message, which it cannot read; that is not its fault.
            Err(Stop::Refused(fault)) => {
                drop(ticket);
                self.client.respond(&faulty(fault), false).await
            }
            Err(Stop::Cut(error)) => {
                self.client
                    .gateway
                    .manager
                    .shared
                    .metrics
                    .error(error.code());
                if let Some(ticket) = ticket {
                    ticket.settle(Some(&error));
                }
                Turn::Close
            }
            Err(stop) => {
                let error = match stop {
                    Stop::Failed(error) => error,
                    Stop::Untouched(why) => self.link.crashed(&why),
                    _ => self.link.violation("forgot the session"),
                };
                self.client
                    .gateway
                    .manager
                    .shared
                    .metrics
                    .error(error.code());
                if let Some(ticket) = ticket {
                    ticket.settle(Some(&error));
                }
                let answer = Answer::failure(self.id, &error);
                self.client
                    .respond(&answer, self.keep_alive && self.unsent == 0)
                    .await
            }
        }
    }

    /// A legacy server does not take a closed connection for a cancellation, so it is told.
    pub(super) fn tell_cancelled(&self) {
        let Some(session) = self.session.clone() else {
            return;
        };
        let mut note = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":".to_vec();
        note.extend_from_slice(self.id);
        note.extend_from_slice(b"}}");
        self.link.tell(session, note);
    }
}
