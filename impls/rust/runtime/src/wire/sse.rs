//! Server-sent events, read incrementally with a bound on the size of one event.
//!
//! The rule (HTML standard, "Event stream interpretation"): a line ends with CR, LF or CRLF, wherever the bytes are cut;
//! an event without data is none, but its `id` counts; what stands behind the last empty line is no event yet.

/// One event was longer than allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TooLong;

/// An id longer than this is not remembered: it would have to be sent back in a header.
const MAX_ID: usize = 1024;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// A complete event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Event<'a> {
    /// Empty for `message`.
    pub(crate) kind: &'a [u8],
    pub(crate) data: &'a [u8],
}

/// Collects lines into events.
#[derive(Debug, Default)]
pub(crate) struct Events {
    line: Vec<u8>,
    data: Vec<u8>,
    kind: Vec<u8>,
    has_data: bool,
    after_cr: bool,
    started: bool,
    limit: usize,
    /// Of the event that is being read.
    id: Option<Box<[u8]>>,
    last_id: Option<Box<[u8]>>,
    retry_ms: Option<u64>,
}

impl Events {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// The id of the last event that had one; what a client resumes behind.
    pub(crate) fn last_id(&self) -> Option<&[u8]> {
        self.last_id.as_deref()
    }

    /// How long to wait before the stream is asked for again, if its server said so.
    pub(crate) fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    /// Feeds bytes; `event` gets the data of every event that is complete.
    pub(crate) fn feed(
        &mut self,
        input: &[u8],
        mut event: impl FnMut(&[u8]),
    ) -> Result<(), TooLong> {
        self.feed_events(input, |found| event(found.data))
    }

    /// Feeds bytes; `event` gets every event that is complete.
    pub(crate) fn feed_events(
        &mut self,
        mut input: &[u8],
        mut event: impl FnMut(Event<'_>),
    ) -> Result<(), TooLong> {
        while !input.is_empty() {
            if std::mem::take(&mut self.after_cr) && input[0] == b'\n' {
                input = &input[1..];
                continue;
            }
            let Some(end) = memchr::memchr2(b'\n', b'\r', input) else {
                self.line.extend_from_slice(input);
                return self.check();
            };
            self.line.extend_from_slice(&input[..end]);
            self.after_cr = input[end] == b'\r';
            input = &input[end + 1..];
            self.check()?;
            self.end_line(&mut event);
        }
        Ok(())
    }

    fn check(&self) -> Result<(), TooLong> {
        if self.line.len() + self.data.len() > self.limit + 16 {
            Err(TooLong)
        } else {
            Ok(())
        }
    }

    fn end_line(&mut self, event: &mut impl FnMut(Event<'_>)) {
        if !std::mem::replace(&mut self.started, true) && self.line.starts_with(BOM) {
            self.line.drain(..BOM.len());
        }
        if self.line.is_empty() {
            self.end_event(event);
            return;
        }
        let colon = memchr::memchr(b':', &self.line);
        let (field, value) = match colon {
            None => (&self.line[..], &b""[..]),
            Some(at) => {
                let value = &self.line[at + 1..];
                (&self.line[..at], value.strip_prefix(b" ").unwrap_or(value))
            }
        };
        match field {
            b"data" => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
                self.has_data = true;
            }
            b"event" => {
                self.kind.clear();
                self.kind.extend_from_slice(value);
            }
            b"id"
                if value.len() <= MAX_ID
                    && value.iter().all(|byte| (0x20..0x7f).contains(byte)) =>
            {
                self.id = Some(value.into());
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let text = std::str::from_utf8(value).unwrap_or_default();
                self.retry_ms = text.parse().ok();
            }
            _ => {}
        }
        self.line.clear();
    }

    fn end_event(&mut self, event: &mut impl FnMut(Event<'_>)) {
        if let Some(id) = self.id.take() {
            self.last_id = Some(id).filter(|id| !id.is_empty());
        }
        if !self.data.is_empty() {
            event(Event {
                kind: &self.kind,
                data: &self.data,
            });
        }
        self.data.clear();
        self.kind.clear();
        self.has_data = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRE: &str = "\u{feff}: hi\nevent: message\ndata: {\"a\":\ndata: 1}\n\nid: 1\nretry: 250\ndata:x\n\n\
                        id: 2\ndata:\n\nevent:endpoint\ndata\ndata: /m\n\nid: 3\ndata: cut";

    fn read(wire: &[u8], step: usize) -> (Vec<(String, String)>, Events) {
        let mut events = Events::new(100);
        let mut seen = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for piece in wire.chunks(step) {
            let take = |event: Event<'_>| seen.push((text(event.kind), text(event.data)));
            events.feed_events(piece, take).expect("short");
        }
        (seen, events)
    }

    #[test]
    fn events_are_the_same_whole_and_byte_by_byte_with_every_line_end() {
        for end in ["\n", "\r\n", "\r"] {
            let wire = WIRE.replace('\n', end);
            for step in [wire.len(), 1, 2, 3, 7] {
                let (seen, events) = read(wire.as_bytes(), step);
                let seen: Vec<_> = seen.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
                assert_eq!(
                    seen,
                    [("message", "{\"a\":\n1}"), ("", "x"), ("endpoint", "\n/m")],
                    "{end:?} {step}"
                );
                assert_eq!(
                    events.last_id(),
                    Some(&b"2"[..]),
                    "of the last complete one"
                );
                assert_eq!(events.retry_ms(), Some(250));
            }
        }
    }

    #[test]
    fn what_is_longer_than_allowed_is_refused_however_it_comes() {
        assert_eq!(Events::new(10).feed(&[b'x'; 100], |_| {}), Err(TooLong));
        let mut events = Events::new(10);
        let outcome: Result<Vec<()>, TooLong> = (0..100)
            .map(|_| events.feed(b"data: 1\n", |_| {}))
            .collect();
        assert_eq!(outcome, Err(TooLong));
    }

    #[test]
    fn an_id_that_no_header_could_carry_is_not_remembered() {
        let mut events = Events::new(10_000);
        for id in ["a\0b", "\u{e9}", &"x".repeat(MAX_ID + 1)] {
            let wire = format!("id: {id}\ndata: 1\n\n");
            events.feed(wire.as_bytes(), |_| {}).expect("short");
            assert_eq!(events.last_id(), None);
        }
    }
}
