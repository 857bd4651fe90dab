//! What a client ends on purpose: a request it does not want any more, a session that has had its calls.
//!
//! Rule: neither is an error. Modern requests are given up by closing their connection (2026-07-28: basic/patterns,
//! "Cancellation"); a legacy server is told by a notification, on a connection of its own, and only then is the request's
//! connection closed, because a lost connection alone must not be taken for a cancellation (2025-11-25: basic/transports).

use std::collections::VecDeque;

use super::conn::State;
use super::{Client, Event};
use crate::answer::Kind;
use crate::plan::{Era, Plan};
use crate::rng::SplitMix64;
use crate::sys::now_ns;

/// Requests that are to be given up if they are not answered by then.
#[derive(Debug)]
pub(super) struct Cancels {
    per_mille: u64,
    after_ns: u64,
    rng: SplitMix64,
    /// In the order of their times, since all wait equally long: when, on which connection, which request.
    queue: VecDeque<(u64, usize, u64)>,
}

impl Cancels {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // at most a day, never negative
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            per_mille: plan.cancel_per_mille.into(),
            after_ns: (plan.cancel_after_ms * 1e6) as u64,
            rng: SplitMix64::new(plan.seed ^ 0xC3C3_3C3C_9696_6969),
            queue: VecDeque::new(),
        }
    }

    #[inline]
    pub(super) fn draw(&mut self, key: usize, id: u64, sent_ns: u64) {
        if self.per_mille > 0 && self.rng.next_u64() % 1000 < self.per_mille {
            self.queue.push_back((sent_ns + self.after_ns, key, id));
        }
    }

    #[inline]
    pub(super) fn next_ns(&self) -> u64 {
        self.queue.front().map_or(u64::MAX, |(at, ..)| *at)
    }
}

impl Client {
    /// Gives up what was not answered in time.
    pub(super) fn cancel_due(&mut self) {
        if self.cancels.queue.is_empty() {
            return;
        }
        let now = now_ns();
        while self.cancels.next_ns() <= now {
            let Some((_, key, id)) = self.cancels.queue.pop_front() else {
                return;
            };
            if self.conns[key].state == State::Busy && self.conns[key].asked.id == id {
                self.cancel(key, now);
            }
        }
    }

    fn cancel(&mut self, key: usize, now: u64) {
        let ended = self.ended(&self.conns[key], now, Err(Kind::Cancelled));
        self.events.push(Event::Ended(key, ended));
        let conn = &mut self.conns[key];
        if self.plan.era == Era::Legacy
            && let Some(mut stream) = conn.stream.take()
        {
            // It stays open, but nobody listens to it any more.
            let _ = self.poll.registry().deregister(&mut stream);
            conn.leaving = Some(stream);
        }
        self.open(key);
    }

    pub(super) fn tell_cancelled(&mut self, key: usize) {
        let body = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{},"reason":"not wanted any more"}}}}"#,
            self.conns[key].asked.id
        );
        self.post(key, State::Cancelling, &body);
    }

    /// The server has heard of it.
    pub(super) fn cancelled(&mut self, key: usize, status: u16, close: bool) {
        if !(200..300).contains(&status) || close {
            return self.end(key, Err(Kind::Http(status)), true);
        }
        self.conns[key].leaving = None;
        self.up(key);
    }

    /// Counts a call; true if it was the session's last, which is ended then.
    pub(super) fn session_is_over(&mut self, key: usize) -> bool {
        let conn = &mut self.conns[key];
        conn.calls += 1;
        let Some(head) = conn
            .head
            .as_ref()
            .filter(|_| conn.calls >= self.plan.session_calls)
        else {
            return false;
        };
        let head = String::from_utf8_lossy(head).replacen("POST", "DELETE", 1) + "\r\n";
        conn.state = State::Ending;
        conn.since_ns = now_ns();
        conn.renewing_ns = conn.since_ns;
        if conn.write(head.as_bytes()).is_err() {
            self.end(key, Err(Kind::Reset), true);
        }
        true
    }

    /// The session is ended, or the server keeps it (405); either way the next one begins.
    pub(super) fn begin_again(&mut self, key: usize, close: bool) {
        if close {
            self.open(key);
        } else {
            self.initialize(key);
        }
    }
}
