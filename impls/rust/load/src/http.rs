//! HTTP/1.1 framing for both sides: where a message ends, and the few header fields that matter here.
//!
//! Rule: [`Framer::advance`] sees the bytes gathered since the message began, whole or in any pieces, and gives the same
//! message; it never copies a body that has a length. RFC 9112 sections 6 and 7; stricter than it where leniency would let
//! two readers of one stream disagree (both length and chunked, two lengths, folded lines are refused).

use std::ops::Range;

use memchr::memchr;

/// Heads above this are refused: nothing in a benchmark needs more.
pub const MAX_HEAD: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    #[error("the start line is not HTTP/1.x")]
    StartLine,
    #[error("a header line is malformed")]
    Header,
    #[error("the body's framing is ambiguous or malformed")]
    Framing,
    #[error("the head is larger than 64 KiB")]
    HeadTooLarge,
    #[error("the body is larger than allowed")]
    BodyTooLarge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Request,
    Response,
}

/// The head of a message: ranges into the bytes given to [`Framer::advance`].
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Head,
    Length { start: usize, end: usize },
    ChunkSize { at: usize },
    ChunkData { at: usize, left: usize },
    Trailer { at: usize },
    UntilClose { start: usize },
}

/// What [`Framer::advance`] knows now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The message is not complete; with a known length, `Some(total)` bytes will complete it.
    Partial(Option<usize>),
    /// The message is complete in the first `n` bytes.
    Complete(usize),
}

#[derive(Debug)]
pub struct Framer {
    side: Side,
    max_body: usize,
    head: Head,
    body: Body,
    /// Chunked bodies, put together.
    gathered: Vec<u8>,
}

impl Framer {
    pub const fn new(side: Side, max_body: usize) -> Self {
        Self {
            side,
            max_body,
            head: EMPTY,
            body: Body::Head,
            gathered: Vec::new(),
        }
    }

    /// Forgets the message, to begin the next one.
    #[inline]
    pub fn reset(&mut self) {
        self.body = Body::Head;
        if self.gathered.capacity() > MAX_HEAD {
            self.gathered = Vec::new();
        } else {
            self.gathered.clear();
        }
    }

    /// The head; meaningful once [`Framer::has_head`].
    pub const fn head(&self) -> &Head {
        &self.head
    }

    pub fn has_head(&self) -> bool {
        self.body != Body::Head
    }

    /// The body of a complete message, `bytes` being what [`Framer::advance`] saw last.
    pub fn body<'a>(&'a self, bytes: &'a [u8]) -> &'a [u8] {
        match self.body {
            Body::Length { start, end } => &bytes[start..end],
            Body::UntilClose { start } => &bytes[start..],
            _ => &self.gathered,
        }
    }

    /// Looks at all bytes since the message began.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Progress, BadMessage> {
        if self.body == Body::Head {
            self.head = EMPTY;
            let Some(end) = self.parse_head(bytes)? else {
                return if bytes.len() > MAX_HEAD {
                    Err(BadMessage::HeadTooLarge)
                } else {
                    Ok(Progress::Partial(None))
                };
            };
            self.body = self.framing(end)?;
        }
        match self.body {
            Body::Length { end, .. } if bytes.len() >= end => Ok(Progress::Complete(end)),
            Body::Length { end, .. } => Ok(Progress::Partial(Some(end))),
            Body::UntilClose { .. } => Ok(Progress::Partial(None)),
            _ => self.chunks(bytes),
        }
    }

    /// The peer closed: completes a body that ends with the connection.
    pub const fn closed(&self, bytes: &[u8]) -> Option<usize> {
        match self.body {
            Body::UntilClose { .. } => Some(bytes.len()),
            _ => None,
        }
    }

    /// RFC 9112 section 6.3, in its order.
    fn framing(&self, head_end: usize) -> Result<Body, BadMessage> {
        let bodiless = self.side == Side::Response
            && (self.head.status < 200 || matches!(self.head.status, 204 | 304));
        if self.head.chunked && self.head.content_length.is_some() {
            return Err(BadMessage::Framing);
        }
        Ok(match self.head.content_length {
            _ if bodiless => Body::Length {
                start: head_end,
                end: head_end,
            },
            Some(length) if length > self.max_body => return Err(BadMessage::BodyTooLarge),
            Some(length) => Body::Length {
                start: head_end,
                end: head_end + length,
            },
            None if self.head.chunked => Body::ChunkSize { at: head_end },
            None if self.side == Side::Request => Body::Length {
                start: head_end,
                end: head_end,
            },
            None => Body::UntilClose { start: head_end },
        })
    }

    fn parse_head(&mut self, bytes: &[u8]) -> Result<Option<usize>, BadMessage> {
        let Some(first) = line(bytes, 0)? else {
            return Ok(None);
        };
        match self.side {
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
            b"HTTP/1.0" => self.head.close = true,
            _ => return Err(BadMessage::StartLine),
        }
        self.head.method = range.start..range.start + method;
        self.head.target = range.start + method + 1..range.start + target;
        Ok(())
    }

    fn status_line(&mut self, text: &[u8]) -> Result<(), BadMessage> {
        if text.len() < 12 || !text.starts_with(b"HTTP/1.") || text[8] != b' ' {
            return Err(BadMessage::StartLine);
        }
        self.head.close = text[7] == b'0';
        self.head.status = text[9..12]
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
        let head = &mut self.head;
        match (name.len(), name[0] | 0x20) {
            (14, b'c') if name.eq_ignore_ascii_case(b"content-length") => {
                let length = decimal(value).ok_or(BadMessage::Framing)?;
                if head.content_length.is_some_and(|before| before != length) {
                    return Err(BadMessage::Framing);
                }
                head.content_length = Some(length);
            }
            (17, b't') if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(BadMessage::Framing);
                }
                head.chunked = true;
            }
            (12, b'c') if name.eq_ignore_ascii_case(b"content-type") => {
                head.sse =
                    value.len() >= 17 && value[..17].eq_ignore_ascii_case(b"text/event-stream");
            }
            (10, b'c') if name.eq_ignore_ascii_case(b"connection") => {
                head.close |= value.eq_ignore_ascii_case(b"close");
                head.close &= !value.eq_ignore_ascii_case(b"keep-alive");
            }
            (6, b'e') if name.eq_ignore_ascii_case(b"expect") => head.expects_continue = true,
            (14, b'm') if name.eq_ignore_ascii_case(b"mcp-session-id") => {
                head.session = Some(range);
            }
            (20, b'm') if name.eq_ignore_ascii_case(b"mcp-protocol-version") => {
                head.protocol_version = Some(range);
            }
            (10, b'm') if name.eq_ignore_ascii_case(b"mcp-method") => head.mcp_method = Some(range),
            (8, b'm') if name.eq_ignore_ascii_case(b"mcp-name") => head.mcp_name = Some(range),
            _ => {}
        }
        Ok(())
    }

    fn chunks(&mut self, bytes: &[u8]) -> Result<Progress, BadMessage> {
        loop {
            match self.body {
                Body::ChunkSize { at } => {
                    let Some(range) = line(bytes, at)? else {
                        return partial_line(bytes, at);
                    };
                    let size = chunk_size(&bytes[range.clone()]).ok_or(BadMessage::Framing)?;
                    if self.gathered.len() + size > self.max_body {
                        return Err(BadMessage::BodyTooLarge);
                    }
                    let at = range.end + 2;
                    self.body = if size == 0 {
                        Body::Trailer { at }
                    } else {
                        Body::ChunkData { at, left: size }
                    };
                }
                Body::ChunkData { at, left } => {
                    let here = left.min(bytes.len() - at.min(bytes.len()));
                    self.gathered.extend_from_slice(&bytes[at..at + here]);
                    let (at, left) = (at + here, left - here);
                    self.body = Body::ChunkData { at, left };
                    if left > 0 || bytes.len() < at + 2 {
                        return Ok(Progress::Partial(None));
                    }
                    if &bytes[at..at + 2] != b"\r\n" {
                        return Err(BadMessage::Framing);
                    }
                    self.body = Body::ChunkSize { at: at + 2 };
                }
                Body::Trailer { at } => {
                    let Some(range) = line(bytes, at)? else {
                        return partial_line(bytes, at);
                    };
                    let at = range.end + 2;
                    if range.is_empty() {
                        return Ok(Progress::Complete(at));
                    }
                    self.body = Body::Trailer { at };
                }
                _ => unreachable!("only chunked states reach this loop"),
            }
        }
    }
}

const EMPTY: Head = Head {
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

/// The line at `at` without its CRLF, if it is complete. A bare LF is refused: another reader might not see a line there.
#[inline]
fn line(bytes: &[u8], at: usize) -> Result<Option<Range<usize>>, BadMessage> {
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

fn partial_line(bytes: &[u8], at: usize) -> Result<Progress, BadMessage> {
    if bytes.len().saturating_sub(at) > MAX_HEAD {
        Err(BadMessage::Framing)
    } else {
        Ok(Progress::Partial(None))
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

/// RFC 9112 section 7.1: hex digits, then optional extensions after `;`.
fn chunk_size(text: &[u8]) -> Option<usize> {
    let digits = &text[..memchr(b';', text).unwrap_or(text.len())];
    let digits = digits.trim_ascii_end();
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    digits.iter().try_fold(0_usize, |sum, digit| {
        Some(sum * 16 + usize::try_from(char::from(*digit).to_digit(16)?).ok()?)
    })
}

#[cfg(test)]
mod tests;
