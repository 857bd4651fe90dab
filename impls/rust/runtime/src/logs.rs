//! What servers write to stderr, on its way into the log of whoever embeds us.
//!
//! The rule: a writer never waits and a slow reader never costs memory; what did not fit is counted, and told as one
//! line. Without a reader nothing is kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

use serde::Serialize;
use tokio::sync::Notify;

use crate::clock::lock;

const CAPACITY: usize = 4096;

/// How much a line matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Info,
    Warning,
}

/// One line about one server.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct LogLine {
    pub server: String,
    pub level: Level,
    pub text: String,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<LogLine>,
    missed: u64,
    closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Notify,
}

/// The one reader of the lines.
#[derive(Debug)]
pub struct LogFeed {
    shared: Arc<Shared>,
}

impl LogFeed {
    /// The next lines, at least one; `None` once the manager is closed and everything was read. Dropping the future
    /// loses nothing.
    pub async fn recv(&self) -> Option<Vec<LogLine>> {
        loop {
            let notified = self.shared.wake.notified();
            {
                let mut queue = lock(&self.shared.queue);
                let mut lines: Vec<_> = queue.lines.drain(..).collect();
                let missed = std::mem::take(&mut queue.missed);
                if missed > 0 {
                    lines.push(LogLine {
                        server: String::new(),
                        level: Level::Warning,
                        text: format!(
                            "{missed} lines of stderr were dropped (the log was too slow); make the servers log less"
                        ),
                    });
                }
                if !lines.is_empty() {
                    return Some(lines);
                }
                if queue.closed {
                    return None;
                }
            }
            notified.await;
        }
    }
}

/// Where the lines go in.
#[derive(Debug, Default)]
pub(crate) struct Log {
    reader: Mutex<Weak<Shared>>,
}

impl Log {
    /// A reader of all lines from now on; it takes the place of the one before.
    pub(crate) fn subscribe(&self) -> LogFeed {
        let shared = Arc::new(Shared::default());
        *lock(&self.reader) = Arc::downgrade(&shared);
        LogFeed { shared }
    }

    pub(crate) fn send(&self, server: &str, level: Level, text: String) {
        let Some(shared) = lock(&self.reader).upgrade() else {
            return;
        };
        {
            let mut queue = lock(&shared.queue);
            if queue.missed > 0 || queue.lines.len() >= CAPACITY {
                queue.missed += 1;
                return;
            }
            queue.lines.push_back(LogLine {
                server: server.to_owned(),
                level,
                text,
            });
        }
        shared.wake.notify_one();
    }

    pub(crate) fn close(&self) {
        if let Some(shared) = lock(&self.reader).upgrade() {
            lock(&shared.queue).closed = true;
            shared.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_that_is_slow_learns_how_much_it_missed() {
        let log = Log::default();
        log.send("a", Level::Info, "nobody listens".to_owned());
        let feed = log.subscribe();
        for number in 0..CAPACITY + 3 {
            log.send("a", Level::Info, number.to_string());
        }
        let lines = feed.recv().await.expect("lines");
        assert_eq!((lines.len(), lines[0].text.as_str()), (CAPACITY + 1, "0"));
        assert!(lines[CAPACITY].text.starts_with("3 lines"));
        log.close();
        assert_eq!(feed.recv().await, None);
    }
}
