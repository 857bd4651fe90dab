//! What is taken from a message: the members that routing looks at, and nothing else.
//!
//! The rule: each of these keys stands at most once, however it is spelled; every other member is checked and skipped.

use super::cursor::{Cursor, Stop};
use super::{Envelope, Fault, Params, Span, text};

/// A key as it would be written without escapes: upstream reads `"na\u006de"` as `name`, so it counts as that here.
pub(super) fn plain_key(token: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    match memchr::memchr(b'\\', token).and_then(|_| text(token)) {
        Some(plain) => format!("\"{plain}\"").into_bytes().into(),
        None => token.into(),
    }
}

impl Cursor<'_> {
    pub(super) fn message(&mut self, out: &mut Envelope) -> Result<(), Stop> {
        let input = self.input;
        match self.peek()? {
            b'{' => {}
            b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                return Err(Stop::Fault(Fault::NotAnObject));
            }
            _ => return self.bad(),
        }
        self.lone(|cursor| {
            cursor.object(|cursor, key| {
                let (slot, name): (&mut Option<Span>, _) = match &*plain_key(key.of(input)) {
                    b"\"jsonrpc\"" => (&mut out.jsonrpc, "jsonrpc"),
                    b"\"id\"" => (&mut out.id, "id"),
                    b"\"method\"" => (&mut out.method, "method"),
                    b"\"result\"" => (&mut out.result, "result"),
                    b"\"error\"" => (&mut out.error, "error"),
                    b"\"params\"" => {
                        if out.members.open.is_some() || out.params.is_some() {
                            return Err(Stop::Fault(Fault::Duplicate("params")));
                        }
                        let value = if cursor.peek()? == b'{' {
                            let start = cursor.at;
                            cursor.params(&mut out.members)?;
                            Span {
                                start,
                                end: cursor.at,
                            }
                        } else {
                            cursor.value()?
                        };
                        out.params = Some(value);
                        return Ok(());
                    }
                    _ => {
                        cursor.value()?;
                        return Ok(());
                    }
                };
                if slot.is_some() {
                    return Err(Stop::Fault(Fault::Duplicate(name)));
                }
                *slot = Some(cursor.value()?);
                Ok(())
            })
        })
    }

    pub(super) fn params(&mut self, out: &mut Params) -> Result<(), Stop> {
        let input = self.input;
        if self.peek()? != b'{' {
            return Err(Stop::Fault(Fault::NotAnObject));
        }
        out.open = Some(self.at + 1);
        out.empty = true;
        self.object(|cursor, key| {
            out.empty = false;
            let (slot, name): (&mut Option<Span>, _) = match &*plain_key(key.of(input)) {
                b"\"name\"" => (&mut out.name, "params.name"),
                b"\"uri\"" => (&mut out.uri, "params.uri"),
                b"\"ref\"" => (&mut out.reference, "params.ref"),
                b"\"_meta\"" => (&mut out.meta, "params._meta"),
                b"\"requestId\"" => (&mut out.request_id, "params.requestId"),
                _ => {
                    cursor.value()?;
                    return Ok(());
                }
            };
            if slot.is_some() {
                return Err(Stop::Fault(Fault::Duplicate(name)));
            }
            *slot = Some(cursor.value()?);
            Ok(())
        })?;
        out.complete = true;
        Ok(())
    }
}
