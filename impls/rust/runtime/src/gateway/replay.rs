//! The events of one legacy session's streams: numbered, and the latest kept for clients that come back.
//!
//! The rules (2025-11-25 basic/transports, "Resumability and Redelivery"): an id says on which stream its event was, and
//! only what followed on that stream is sent again; what is kept is bounded by number and bytes, over all streams. What
//! is left is sent although some of it was dropped, because the answer comes last, but never as if nothing were missing:
//! how many are `lost` is said.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::clock::lock;
pub(crate) use crate::translate::event_id::EventId;

/// Bytes that are kept for one session, at most.
const BYTES: usize = 1 << 20;
/// Even where nothing is to be replayed, events wait here for their own stream.
const LEAST: usize = 16;

#[derive(Debug, Default)]
struct Stream {
    /// The number of its last event.
    last: u64,
    /// It ends behind its last event.
    over: bool,
    /// Changes when another connection takes it.
    taken: u64,
    general: bool,
    /// A connection shows it.
    shown: bool,
}

#[derive(Debug, Default)]
struct State {
    opened: u64,
    streams: HashMap<u64, Stream>,
    kept: VecDeque<(EventId, Bytes)>,
    bytes: usize,
}

/// What follows an event on its stream.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Following {
    pub(crate) events: Vec<(EventId, Bytes)>,
    /// So many before these, the oldest, are gone.
    pub(crate) lost: u64,
    /// The number of the last one.
    pub(crate) last: u64,
    /// Nothing will follow these.
    pub(crate) over: bool,
}

#[derive(Debug)]
pub(crate) struct Streams {
    state: Mutex<State>,
    grown: Notify,
    limit: usize,
}

impl Streams {
    /// Keeps the last `limit` events.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            state: Mutex::default(),
            grown: Notify::new(),
            limit,
        }
    }

    /// Whether a client may come back; else events have no ids.
    pub(crate) fn replays(&self) -> bool {
        self.limit > 0
    }

    /// A new stream; `general` if it belongs to no request.
    pub(crate) fn open(&self, general: bool) -> u64 {
        let mut state = lock(&self.state);
        state.opened += 1;
        let number = state.opened;
        let stream = Stream {
            general,
            ..Stream::default()
        };
        state.streams.insert(number, stream);
        number
    }

    /// Adds an event.
    pub(crate) fn add(&self, number: u64, message: &[u8]) -> EventId {
        let id = {
            let mut state = lock(&self.state);
            let stream = state.streams.entry(number).or_default();
            stream.last += 1;
            let id = EventId {
                stream: number,
                n: stream.last,
            };
            state.bytes += message.len();
            state.kept.push_back((id, Bytes::copy_from_slice(message)));
            state.shrink(self.limit.max(LEAST));
            id
        };
        self.grown.notify_waiters();
        id
    }

    /// Nothing is added to it any more.
    pub(crate) fn end(&self, number: u64) {
        {
            let mut state = lock(&self.state);
            if let Some(stream) = state.streams.get_mut(&number) {
                stream.over = true;
            }
            state.forget();
        }
        self.grown.notify_waiters();
    }

    /// What is left of what followed `after` on its stream; `None` if its stream is unknown or never said it, or if it
    /// is over and nothing of it is left.
    pub(crate) fn following(&self, after: EventId) -> Option<Following> {
        let state = lock(&self.state);
        let stream = state.streams.get(&after.stream)?;
        if after.n > stream.last {
            return None;
        }
        let own = state.kept.iter();
        let mut own = own.filter(|(id, _)| id.stream == after.stream).peekable();
        if stream.over && own.peek().is_none() {
            return None;
        }
        let events: Vec<_> = own.filter(|(id, _)| id.n > after.n).cloned().collect();
        let first = events.first().map_or(stream.last + 1, |(id, _)| id.n);
        Some(Following {
            events,
            lost: first - after.n - 1,
            last: stream.last,
            over: stream.over,
        })
    }

    /// Whether it is a stream that belongs to no request.
    pub(crate) fn is_general(&self, number: u64) -> bool {
        lock(&self.state)
            .streams
            .get(&number)
            .is_some_and(|stream| stream.general)
    }

    /// Takes a stream for one connection; any other that has it finds out by [`Streams::has`].
    pub(crate) fn take(&self, number: u64) -> u64 {
        let taken = {
            let mut state = lock(&self.state);
            let stream = state.streams.entry(number).or_default();
            stream.taken += 1;
            stream.shown = true;
            stream.taken
        };
        self.grown.notify_waiters();
        taken
    }

    /// The connection that took it is gone.
    pub(crate) fn leave(&self, number: u64, taken: u64) {
        if let Some(stream) = lock(&self.state).streams.get_mut(&number)
            && stream.taken == taken
        {
            stream.shown = false;
        }
    }

    /// A new stream that belongs to no request, unless a connection shows one.
    pub(crate) fn open_general(&self) -> Option<u64> {
        {
            let mut state = lock(&self.state);
            let mut general = state.streams.values_mut().filter(|one| one.general);
            if general.any(|one| one.shown && !one.over) {
                return None;
            }
            for stream in state.streams.values_mut().filter(|one| one.general) {
                stream.over = true;
            }
        }
        Some(self.open(true))
    }

    /// The stream that belongs to no request and that a connection shows.
    pub(crate) fn general(&self) -> Option<u64> {
        let state = lock(&self.state);
        let mut streams = state.streams.iter();
        let shown = streams.find(|(_, one)| one.general && one.shown && !one.over);
        shown.map(|(number, _)| *number)
    }

    pub(crate) fn has(&self, number: u64, taken: u64) -> bool {
        lock(&self.state)
            .streams
            .get(&number)
            .is_some_and(|stream| stream.taken == taken)
    }

    /// Resolves at the next change; make it before you look.
    pub(crate) fn grown(&self) -> Notified<'_> {
        self.grown.notified()
    }
}

impl State {
    fn shrink(&mut self, limit: usize) {
        while self.kept.len() > limit || (self.bytes > BYTES && self.kept.len() > 1) {
            if let Some((_, message)) = self.kept.pop_front() {
                self.bytes -= message.len();
            }
        }
        if self.streams.len() > 2 * limit {
            self.forget();
        }
    }

    /// Streams that are over and of which nothing is kept.
    fn forget(&mut self) {
        let Self { streams, kept, .. } = self;
        if streams.len() > 8 {
            streams.retain(|number, stream| {
                !stream.over || kept.iter().any(|(id, _)| id.stream == *number)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(streams: &Streams, stream: u64, n: u64) -> Option<Vec<String>> {
        let following = streams.following(EventId { stream, n })?;
        let events = following.events.iter();
        Some(
            events
                .map(|(_, data)| String::from_utf8_lossy(data).into_owned())
                .collect(),
        )
    }

    #[test]
    fn only_what_followed_on_the_same_stream_is_sent_again() {
        let streams = Streams::new(10);
        let (one, other) = (streams.open(true), streams.open(false));
        for n in 0..3 {
            streams.add(one, format!("a{n}").as_bytes());
            streams.add(other, format!("b{n}").as_bytes());
        }
        assert_eq!(
            texts(&streams, one, 1),
            Some(vec!["a1".into(), "a2".into()])
        );
        assert_eq!(texts(&streams, other, 3), Some(vec![]));
        assert_eq!(texts(&streams, other, 4), None);
        assert_eq!(texts(&streams, 9, 0), None);
    }

    #[test]
    fn memory_is_bounded_by_number_and_by_bytes_and_over_all_streams() {
        let streams = Streams::new(4);
        for _ in 0..10_000 {
            let number = streams.open(false);
            streams.add(number, &vec![b'x'; BYTES / 3]);
            streams.end(number);
        }
        let state = lock(&streams.state);
        assert!(state.bytes <= BYTES && state.kept.len() <= LEAST && state.streams.len() <= 9);
    }
}
