//! The ids of server-sent events in a legacy session: `<stream>-<n>`.
//!
//! The rule: the id alone says on which stream of its session an event was (2025-11-25 basic/transports,
//! "Resumability": a server must not replay what was sent on another one). Both are numbers without leading zeros: an
//! event has one id.

use std::fmt;

/// The `n`-th event of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct EventId {
    pub(crate) stream: u64,
    pub(crate) n: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.stream, self.n)
    }
}

impl EventId {
    /// What a `Last-Event-ID` names, or `None` if it is none of ours.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let at = memchr::memchr(b'-', text)?;
        Some(Self {
            stream: number(&text[..at])?,
            n: number(&text[at + 1..])?,
        })
    }
}

fn number(text: &[u8]) -> Option<u64> {
    let plain = text.iter().all(u8::is_ascii_digit) && (text.len() == 1 || !text.starts_with(b"0"));
    std::str::from_utf8(text)
        .ok()
        .filter(|_| plain)?
        .parse()
        .ok()
}
