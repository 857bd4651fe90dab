//! What a child writes to stderr: its last words for error messages, and the lines that go into the log.
//!
//! The rules: everything is read, always, because a full pipe stops a child for good; and a child that shouts costs at
//! most [`LINES_PER_S`] lines of log a second and one more that says how many were dropped. Lines are cut at [`LINE`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::logs::Level;
use crate::upstream::Shared;

const LINES_PER_S: u32 = 100;
const KEPT: usize = 20;
const LINE: usize = 400;

#[derive(Debug)]
pub(super) struct Voice {
    server: String,
    shared: Arc<Shared>,
    last: VecDeque<String>,
    line: Vec<u8>,
    left: u32,
    since: Option<Instant>,
    dropped: u64,
}

impl Voice {
    pub(super) fn new(server: &str, shared: &Arc<Shared>) -> Self {
        Self {
            server: server.to_owned(),
            shared: Arc::clone(shared),
            last: VecDeque::new(),
            line: Vec::new(),
            left: LINES_PER_S,
            since: None,
            dropped: 0,
        }
    }

    /// Bytes of stderr.
    pub(super) fn received(&mut self, bytes: &[u8]) {
        let now = Instant::now();
        if self
            .since
            .is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1))
        {
            self.tell_dropped();
            (self.since, self.left) = (Some(now), LINES_PER_S);
        }
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.append(&rest[..end]);
            self.end_line();
            rest = &rest[end + 1..];
        }
        self.append(rest);
    }

    fn append(&mut self, bytes: &[u8]) {
        let room = LINE - self.line.len();
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_line(&mut self) {
        let text = String::from_utf8_lossy(&self.line).trim().to_owned();
        self.line.clear();
        if text.is_empty() {
            return;
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(text.clone());
        if self.left == 0 {
            self.dropped += 1;
            return;
        }
        self.left -= 1;
        self.shared.log.send(&self.server, Level::Info, text);
    }

    /// The child is gone: what it did not end with a newline counts, too.
    pub(super) fn ended(&mut self) {
        self.end_line();
        self.tell_dropped();
    }

    /// Its last words, if it said any.
    pub(super) fn said(&self) -> Option<String> {
        if self.last.is_empty() {
            return None;
        }
        let from = self.last.len().saturating_sub(3);
        let words: Vec<&str> = self.last.range(from..).map(String::as_str).collect();
        Some(words.join(" | "))
    }

    fn tell_dropped(&mut self) {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            let text = format!(
                "{dropped} lines of stderr were dropped (more than {LINES_PER_S} in a second); make the server log less"
            );
            self.shared.log.send(&self.server, Level::Warning, text);
        }
    }
}
