//! The gateway's own answers: written within the client's patience, and closed behind so that they arrive.
//!
//! The rule: an answer that could not be sent ends the connection; a refusal always does.

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::{Client, Lost, Turn};
use crate::gateway::answer::Answer;
use crate::wire::{buffers, io};

impl Client {
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

    pub(super) async fn refuse(&mut self, status: u16, why: &str) -> Turn {
        self.respond(&Answer::refusal(status, why), false).await
    }

    pub(super) async fn lost(&mut self, lost: Lost) -> Turn {
        match lost {
            Lost::Gone => Turn::Close,
            Lost::Late => {
                self.refuse(408, "the request did not arrive in time; send it faster, or raise gateway.headerTimeoutMs")
                    .await
            }
        }
    }
}
