//! The JSON-RPC envelope as byte ranges: where method, id, name and `_meta` are, without building a value.
//!
//! The rule: what was scanned is strictly valid JSON, what was not reached is untouched. The scanner takes a prefix; when
//! input ends before the object does, [`Envelope::complete`] is false and every field found so far is usable. A key
//! that routing looks at must not appear twice (upstream could read the other one): that is [`Fault::Duplicate`].

mod cursor;
mod parts;
#[cfg(test)]
mod tests;
mod tokens;
mod watch;

use cursor::{Cursor, Stop};
pub(crate) use watch::Watch;

/// A byte range of the scanned input.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) fn of<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        &input[self.start..self.end]
    }

    pub(crate) fn shift(self, by: usize) -> Self {
        Self {
            start: self.start + by,
            end: self.end + by,
        }
    }
}

/// Where the parts of one message are. Values are whole tokens: strings with their quotes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Envelope {
    pub(crate) complete: bool,
    pub(crate) jsonrpc: Option<Span>,
    pub(crate) id: Option<Span>,
    pub(crate) method: Option<Span>,
    pub(crate) result: Option<Span>,
    pub(crate) error: Option<Span>,
    pub(crate) params: Option<Span>,
    pub(crate) members: Params,
}

/// The members of `params` that routing looks at. `open` is the offset after `{`, once it was seen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Params {
    pub(crate) open: Option<usize>,
    pub(crate) complete: bool,
    pub(crate) empty: bool,
    pub(crate) name: Option<Span>,
    pub(crate) uri: Option<Span>,
    pub(crate) reference: Option<Span>,
    pub(crate) meta: Option<Span>,
    pub(crate) request_id: Option<Span>,
}

/// Why input is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// Not JSON from this offset on.
    Syntax(usize),
    /// A key that routing looks at appears twice.
    Duplicate(&'static str),
    /// Valid JSON so far, but no object.
    NotAnObject,
}

/// Scans a message, or its beginning.
pub(crate) fn scan(input: &[u8]) -> Result<Envelope, Fault> {
    let mut envelope = Envelope::default();
    let mut cursor = Cursor::new(input);
    match cursor.message(&mut envelope) {
        Ok(()) => {
            envelope.complete = true;
            Ok(envelope)
        }
        Err(Stop::End) => Ok(envelope),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}

/// Scans a `params` object that stands alone.
pub(crate) fn scan_params(input: &[u8]) -> Result<Params, Fault> {
    let mut params = Params::default();
    let mut cursor = Cursor::new(input);
    match cursor.lone(|cursor| cursor.params(&mut params)) {
        Ok(()) => Ok(params),
        Err(Stop::End) => Err(Fault::Syntax(input.len())),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}

/// Walks the members of a complete object: `visit(key token, value span)`.
pub(crate) fn members(input: &[u8], mut visit: impl FnMut(&[u8], Span)) -> Result<(), Fault> {
    let mut cursor = Cursor::new(input);
    whole(
        &cursor.lone(|cursor| {
            cursor.object(|cursor, key| {
                let value = cursor.value()?;
                visit(key.of(input), value);
                Ok(())
            })
        }),
        input,
    )
}

/// Walks the elements of a complete array.
pub(crate) fn elements(input: &[u8], mut visit: impl FnMut(Span)) -> Result<(), Fault> {
    let mut cursor = Cursor::new(input);
    whole(
        &cursor.lone(|cursor| {
            cursor.expect(b'[')?;
            if cursor.peek()? == b']' {
                cursor.at += 1;
                return Ok(());
            }
            loop {
                visit(cursor.value()?);
                match cursor.peek()? {
                    b',' => cursor.at += 1,
                    b']' => {
                        cursor.at += 1;
                        return Ok(());
                    }
                    _ => return cursor.bad(),
                }
            }
        }),
        input,
    )
}

fn whole(outcome: &Result<(), Stop>, input: &[u8]) -> Result<(), Fault> {
    match *outcome {
        Ok(()) => Ok(()),
        Err(Stop::End) => Err(Fault::Syntax(input.len())),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}

/// The text of a string token; borrowed unless it holds escapes.
pub(crate) fn text(token: &[u8]) -> Option<std::borrow::Cow<'_, str>> {
    let inner = token.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if memchr::memchr(b'\\', inner).is_none() {
        return std::str::from_utf8(inner)
            .ok()
            .map(std::borrow::Cow::Borrowed);
    }
    serde_json::from_slice::<String>(token)
        .ok()
        .map(std::borrow::Cow::Owned)
}

/// A key token without needless escapes.
pub(crate) fn plain_key(token: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    parts::plain_key(token)
}

/// A request's id is a string or an integer.
pub(crate) fn is_id(token: &[u8]) -> bool {
    match token.first() {
        Some(b'"') => true,
        Some(b'-' | b'0'..=b'9') => !token.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')),
        _ => false,
    }
}
