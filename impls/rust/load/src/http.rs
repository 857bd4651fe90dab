//! HTTP/1.1 framing for both sides: where a message ends, and what its body is.
//!
//! Rule: [`Framer::advance`] sees the bytes gathered since the message began, whole or in any pieces, and gives the same
//! message; it never copies a body that has a length. RFC 9112 sections 6 and 7; stricter than it where leniency would let
//! two readers of one stream disagree (both length and chunked, two lengths, folded lines are refused).

use memchr::memchr;

mod head;
#[cfg(test)]
mod tests;

pub use head::Head;
use head::{EMPTY, line};

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
            let Some(end) = self.head.parse(self.side, bytes)? else {
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

fn partial_line(bytes: &[u8], at: usize) -> Result<Progress, BadMessage> {
    if bytes.len().saturating_sub(at) > MAX_HEAD {
        Err(BadMessage::Framing)
    } else {
        Ok(Progress::Partial(None))
    }
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
