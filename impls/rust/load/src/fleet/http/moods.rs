//! How a fleet misbehaves while it serves: garbage for answers, resets, answers that drip.
//!
//! Rule: a mood touches the answers of POSTs that come while it lasts, all of them, and nothing else; `recover` ends it.

use std::cmp::Reverse;

use super::Fleet;
use crate::fleet::rpc::Verdict;
use crate::sys::now_ns;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    /// In turn: bytes that are no HTTP, and HTTP whose body is no JSON.
    Garbage,
    /// The connection is reset (RST) once its request has been read.
    Reset,
    /// Answers leave byte by byte.
    Drip {
        every_ns: u64,
    },
}

impl Mood {
    /// Requests are not looked at.
    pub(super) fn refuses(self) -> bool {
        matches!(self, Self::Garbage | Self::Reset)
    }

    /// What happens to the n-th request instead.
    pub(super) fn instead(self, number: u64) -> Verdict {
        Verdict {
            // 0: not even HTTP.
            status: if number.is_multiple_of(2) { 200 } else { 0 },
            garbage: self == Self::Garbage,
            reset: self == Self::Reset,
            ..Verdict::default()
        }
    }
}

impl Fleet {
    /// Sends an answer byte by byte, the first after `delay_ns`.
    pub(super) fn drip(&mut self, key: usize, mut bytes: Vec<u8>, delay_ns: u64) {
        let Some(conn) = self.conns[key].as_mut() else {
            return;
        };
        bytes.reverse();
        conn.dripping = bytes;
        conn.waiting = true;
        self.delayed.push((
            Reverse(now_ns() + delay_ns),
            key,
            conn.generation,
            Vec::new(),
        ));
    }

    /// What is due now of what drips on this connection: one byte, or all if the mood has passed.
    pub(super) fn drop_of(&mut self, key: usize) -> Vec<u8> {
        let Some(conn) = self.conns[key].as_mut() else {
            return Vec::new();
        };
        let Mood::Drip { every_ns } = self.mood else {
            conn.dripping.reverse();
            return std::mem::take(&mut conn.dripping);
        };
        let byte = conn.dripping.pop();
        if !conn.dripping.is_empty() {
            conn.waiting = true;
            let next = (
                Reverse(now_ns() + every_ns),
                key,
                conn.generation,
                Vec::new(),
            );
            self.delayed.push(next);
        }
        byte.into_iter().collect()
    }

    /// Lets go what drips: all of it is due.
    pub(super) fn stop_dripping(&mut self) {
        let now = now_ns();
        let late = std::mem::take(&mut self.delayed);
        self.delayed = late
            .into_iter()
            .map(|(due, key, generation, bytes)| {
                let due = if bytes.is_empty() { Reverse(now) } else { due };
                (due, key, generation, bytes)
            })
            .collect();
    }
}
