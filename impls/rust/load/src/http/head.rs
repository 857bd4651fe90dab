//! The head of an HTTP/1.1 message: its start line, and the few fields that matter here, as ranges of the bytes given.
//!
//! Rule: a head is parsed again from its first byte until it is complete, and nothing is copied. Stricter than RFC 9112
//! section 5 where leniency would let two readers disagree: bare line feeds and folded lines are refused, and so are
//! two lengths that differ.

use std::ops::Range;

use memchr::memchr;

use super::{BadMessage, Side};

/// The head of a message: ranges into the bytes given to [`super::Framer::advance`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each is a field of the wire, not a state
pub struct Head {
    /// Method, for a request.
    pub method: Range<usize>,
    /// Target, for a request.
    pub target: Range<usize>,
    /// Status, for a response.
    pub status: u16,
    pub content_length: Option<usize>,
    pub chunked: bool,
    pub close: bool,
    pub sse: bool,
    pub expects_continue: bool,
    pub session: Option<Range<usize>>,
    pub protocol_version: Option<Range<usize>>,
    pub mcp_method: Option<Range<usize>>,
    pub mcp_name: Option<Range<usize>>,
}

pub(super) const EMPTY: Head = Head {
    method: 0..0,
    target: 0..0,
    status: 0,
    content_length: None,
    chunked: false,
    close: false,
    sse: false,
    expects_continue: false,
    session: None,
    protocol_version: None,
    mcp_method: None,
    mcp_name: None,
};

impl Head {
    /// Reads the head that begins `bytes`; returns where it ends, or `None` while it is not complete.
    pub(super) fn parse(&mut self, side: Side, bytes: &[u8]) -> Result<Option<usize>, BadMessage> {
        *self = EMPTY;
        let Some(first) = line(bytes, 0)? else {
            return Ok(None);
        };
        match side {
            Side::Request => self.request_line(bytes, first.clone())?,
            Side::Response => self.status_line(&bytes[first.clone()])?,
        }
        let mut at = first.end + 2;
        loop {
            let Some(range) = line(bytes, at)? else {
                return Ok(None);
            };
            at = range.end + 2;
            if range.is_empty() {
                return Ok(Some(at));
            }
            let colon = memchr(b':', &bytes[range.clone()]).ok_or(BadMessage::Header)?;
            let name = &bytes[range.start..range.start + colon];
            if name.is_empty() || name[0] == b' ' || name[0] == b'\t' {
                return Err(BadMessage::Header);
            }
            let mut value = range.start + colon + 1..range.end;
            while value.start < value.end && matches!(bytes[value.start], b' ' | b'\t') {
                value.start += 1;
            }
            while value.start < value.end && matches!(bytes[value.end - 1], b' ' | b'\t') {
                value.end -= 1;
            }
            self.field(bytes, name, value)?;
        }
    }

    fn request_line(&mut self, bytes: &[u8], range: Range<usize>) -> Result<(), BadMessage> {
        let text = &bytes[range.clone()];
        let method = memchr(b' ', text).ok_or(BadMessage::StartLine)?;
        let target = memchr(b' ', &text[method + 1..]).ok_or(BadMessage::StartLine)? + method + 1;
        match &text[target + 1..] {
            b"HTTP/1.1" => {}
            b"HTTP/1.0" => self.close = true,
            _ => return Err(BadMessage::StartLine),
        }
        self.method = range.start..range.start + method;
        self.target = range.start + method + 1..range.start + target;
        Ok(())
    }

    fn status_line(&mut self, text: &[u8]) -> Result<(), BadMessage> {
        if text.len() < 12 || !text.starts_with(b"HTTP/1.") || text[8] != b' ' {
            return Err(BadMessage::StartLine);
        }
        self.close = text[7] == b'0';
        self.status = text[9..12]
            .iter()
            .try_fold(0_u16, |sum, digit| match digit {
                b'0'..=b'9' => Ok(sum * 10 + u16::from(digit - b'0')),
                _ => Err(BadMessage::StartLine),
            })?;
        Ok(())
    }

    /// Most fields are told apart by length and first letter; only ours are compared in full.
    fn field(&mut self, bytes: &[u8], name: &[u8], range: Range<usize>) -> Result<(), BadMessage> {
        let value = &bytes[range.clone()];
        match (name.len(), name[0] | 0x20) {
            (14, b'c') if name.eq_ignore_ascii_case(b"content-length") => {
                let length = decimal(value).ok_or(BadMessage::Framing)?;
                if self.content_length.is_some_and(|before| before != length) {
                    return Err(BadMessage::Framing);
                }
                self.content_length = Some(length);
            }
            (17, b't') if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(BadMessage::Framing);
                }
                self.chunked = true;
            }
            (12, b'c') if name.eq_ignore_ascii_case(b"content-type") => {
                self.sse =
                    value.len() >= 17 && value[..17].eq_ignore_ascii_case(b"text/event-stream");
            }
            (10, b'c') if name.eq_ignore_ascii_case(b"connection") => {
                self.close |= value.eq_ignore_ascii_case(b"close");
                self.close &= !value.eq_ignore_ascii_case(b"keep-alive");
            }
            (6, b'e') if name.eq_ignore_ascii_case(b"expect") => self.expects_continue = true,
            (14, b'm') if name.eq_ignore_ascii_case(b"mcp-session-id") => {
                self.session = Some(range);
            }
            (20, b'm') if name.eq_ignore_ascii_case(b"mcp-protocol-version") => {
                self.protocol_version = Some(range);
            }
            (10, b'm') if name.eq_ignore_ascii_case(b"mcp-method") => self.mcp_method = Some(range),
            (8, b'm') if name.eq_ignore_ascii_case(b"mcp-name") => self.mcp_name = Some(range),
            _ => {}
        }
        Ok(())
    }
}

/// The line at `at` without its CRLF, if it is complete. A bare LF is refused: another reader might not see a line there.
#[inline]
pub(super) fn line(bytes: &[u8], at: usize) -> Result<Option<Range<usize>>, BadMessage> {
    let Some(found) = bytes.get(at..).and_then(|rest| memchr(b'\n', rest)) else {
        return Ok(None);
    };
    let feed = at + found;
    if found > 0 && bytes[feed - 1] == b'\r' {
        Ok(Some(at..feed - 1))
    } else {
        Err(BadMessage::Header)
    }
}

#[inline]
fn decimal(text: &[u8]) -> Option<usize> {
    if text.is_empty() || text.len() > 12 {
        return None;
    }
    text.iter().try_fold(0_usize, |sum, digit| match digit {
        b'0'..=b'9' => Some(sum * 10 + usize::from(digit - b'0')),
        _ => None,
    })
}
