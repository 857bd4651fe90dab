//! Server-sent events, read incrementally with a bound on the size of one event.

/// One event was longer than allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TooLong;

/// Collects lines into events; only `data` matters here.
#[derive(Debug, Default)]
pub(crate) struct Events {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    after_cr: bool,
    limit: usize,
}

impl Events {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// Feeds bytes; `event` gets the data of every event that is complete.
    pub(crate) fn feed(
        &mut self,
        mut input: &[u8],
        mut event: impl FnMut(&[u8]),
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

    fn end_line(&mut self, event: &mut impl FnMut(&[u8])) {
        if self.line.is_empty() {
            if self.has_data {
                event(&self.data);
            }
            self.data.clear();
            self.has_data = false;
            return;
        }
        if let Some(value) = self.line.strip_prefix(b"data") {
            let value = match value.first() {
                None => Some(value),
                Some(b':') => Some(value[1..].strip_prefix(b" ").unwrap_or(&value[1..])),
                Some(_) => None,
            };
            if let Some(value) = value {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
                self.has_data = true;
            }
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_whole_and_byte_by_byte() {
        let wire = b": hi\r\nevent: message\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\nid: 1\ndata:x\n\n\ndata: cut";
        for step in [wire.len(), 1, 3] {
            let mut events = Events::new(100);
            let mut seen = Vec::new();
            for piece in wire.chunks(step) {
                events
                    .feed(piece, |data| seen.push(data.to_vec()))
                    .expect("short");
            }
            assert_eq!(seen, [b"{\"a\":\n1}".to_vec(), b"x".to_vec()]);
        }
        assert_eq!(Events::new(10).feed(&[b'x'; 100], |_| {}), Err(TooLong));
    }
}
