//! Heads: what a message is about and where its body ends, read strictly.

use httparse::{EMPTY_HEADER, Status};

use super::body::{Body, Chunks};
use crate::envelope::Span;

const MAX_HEADERS: usize = 100;
const TWICE: &str = "a header that must appear once appears twice";

/// Why a head is refused, with the status that says so.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct HeadFault {
    pub(crate) status: u16,
    pub(crate) why: &'static str,
}

const fn fault(status: u16, why: &'static str) -> HeadFault {
    HeadFault { status, why }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
    Delete,
    Other,
}

/// A request head. Spans point into the buffer it was parsed from.
#[derive(Clone, Debug)]
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    pub(crate) path: Span,
    pub(crate) keep_alive: bool,
    pub(crate) http_10: bool,
    pub(crate) body: Body,
    pub(crate) expects_continue: bool,
    pub(crate) host: Option<Span>,
    pub(crate) origin: Option<Span>,
    pub(crate) accept: Option<Span>,
    pub(crate) content_type: Option<Span>,
    pub(crate) session: Option<Span>,
    pub(crate) version: Option<Span>,
    pub(crate) mcp_method: Option<Span>,
    pub(crate) mcp_name: Option<Span>,
    /// `Mcp-Param-*`, which an intermediary must forward.
    pub(crate) params: Vec<(Span, Span)>,
}

/// A response head of an upstream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    pub(crate) len: usize,
    pub(crate) keep_alive: bool,
    pub(crate) body: Body,
    pub(crate) content: Content,
    pub(crate) session: Option<Span>,
}

/// What the body of an answer is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Content {
    Json,
    Events,
    Other,
}

fn span(buffer: &[u8], part: &[u8]) -> Span {
    let start = part.as_ptr() as usize - buffer.as_ptr() as usize;
    Span {
        start,
        end: start + part.len(),
    }
}

/// Every line ends with CR LF. Alone, LF may end a line as well (RFC 9112 section 2.2), but not every hop takes it so.
fn has_whole_lines(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).all(|at| at > 0 && head[at - 1] == b'\r')
}

fn trim(mut value: &[u8]) -> &[u8] {
    value = value.trim_ascii_start();
    value.trim_ascii_end()
}

/// Lengths and codings, collected header by header.
#[derive(Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

impl Framing {
    /// True if the header was one about framing.
    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<bool, HeadFault> {
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits =
                !value.is_empty() && value.len() < 19 && value.iter().all(u8::is_ascii_digit);
            if !digits || self.length.is_some() {
                return Err(fault(400, "Content-Length must be one decimal number"));
            }
            self.length = Some(
                value
                    .iter()
                    .fold(0, |n, digit| n * 10 + u64::from(digit - b'0')),
            );
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(fault(
                    501,
                    "the only Transfer-Encoding understood here is chunked",
                ));
            }
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"connection") {
            for token in value.split(|&byte| byte == b',') {
                self.close |= trim(token).eq_ignore_ascii_case(b"close");
                self.keep_alive |= trim(token).eq_ignore_ascii_case(b"keep-alive");
            }
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn check(&self) -> Result<(), HeadFault> {
        if self.chunked && self.length.is_some() {
            return Err(fault(
                400,
                "Content-Length and Transfer-Encoding exclude each other",
            ));
        }
        Ok(())
    }
}

/// Parses a request head at the start of `buffer`: `None` until it is complete, else the head and its length.
pub(crate) fn request(buffer: &[u8]) -> Result<Option<(RequestHead, usize)>, HeadFault> {
    let mut storage = [EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut storage);
    let len = match parsed.parse(buffer) {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(fault(431, "more than 100 headers")),
        Err(_) => return Err(fault(400, "not an HTTP/1.1 request")),
    };
    if !has_whole_lines(&buffer[..len]) {
        return Err(fault(400, "lines of a head end with CR LF"));
    }
    let method = match parsed.method {
        Some("POST") => Method::Post,
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        Some("DELETE") => Method::Delete,
        _ => Method::Other,
    };
    let http_10 = parsed.version == Some(0);
    let mut framing = Framing::default();
    let mut expects = false;
    let mut head = RequestHead {
        method,
        path: span(buffer, parsed.path.unwrap_or_default().as_bytes()),
        keep_alive: true,
        http_10,
        body: Body::Done,
        expects_continue: false,
        host: None,
        origin: None,
        accept: None,
        content_type: None,
        session: None,
        version: None,
        mcp_method: None,
        mcp_name: None,
        params: Vec::new(),
    };
    for header in parsed.headers.iter() {
        let name = header.name.as_bytes();
        let value = trim(header.value);
        if framing.take(name, value)? {
            continue;
        }
        if name.eq_ignore_ascii_case(b"expect") {
            if std::mem::replace(&mut expects, true) {
                return Err(fault(400, TWICE));
            }
            head.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
            continue;
        }
        let slot = match known(name) {
            Known::Host => &mut head.host,
            Known::Origin => &mut head.origin,
            Known::Accept => {
                head.accept = Some(span(buffer, value));
                continue;
            }
            Known::ContentType => &mut head.content_type,
            Known::Session => &mut head.session,
            Known::Version => &mut head.version,
            Known::Method => &mut head.mcp_method,
            Known::Name => &mut head.mcp_name,
            Known::Param => {
                let known = |(known, _): &(Span, Span)| known.of(buffer).eq_ignore_ascii_case(name);
                if head.params.iter().any(known) {
                    return Err(fault(400, TWICE));
                }
                head.params.push((span(buffer, name), span(buffer, value)));
                continue;
            }
            Known::Else => continue,
        };
        if slot.replace(span(buffer, value)).is_some() {
            return Err(fault(400, TWICE));
        }
    }
    framing.check()?;
    if head.host.is_none() && !http_10 {
        return Err(fault(400, "Host is missing"));
    }
    head.keep_alive = if http_10 {
        framing.keep_alive
    } else {
        !framing.close
    };
    head.body = match (framing.length, framing.chunked) {
        (_, true) => Body::Chunked(Chunks::default()),
        (Some(length), _) => Body::length(length),
        _ => Body::Done,
    };
    Ok(Some((head, len)))
}

enum Known {
    Host,
    Origin,
    Accept,
    ContentType,
    Session,
    Version,
    Method,
    Name,
    Param,
    Else,
}

fn known(name: &[u8]) -> Known {
    let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
    match name.len() {
        4 if is(b"host") => Known::Host,
        6 if is(b"origin") => Known::Origin,
        6 if is(b"accept") => Known::Accept,
        8 if is(b"mcp-name") => Known::Name,
        10 if is(b"mcp-method") => Known::Method,
        12 if is(b"content-type") => Known::ContentType,
        14 if is(b"mcp-session-id") => Known::Session,
        20 if is(b"mcp-protocol-version") => Known::Version,
        11.. if name[..10].eq_ignore_ascii_case(b"mcp-param-") => Known::Param,
        _ => Known::Else,
    }
}

/// Parses a response head; every end-to-end header goes to `each(name, value)`, hop and session headers do not.
pub(crate) fn response(
    buffer: &[u8],
    mut each: impl FnMut(&str, &[u8]),
) -> Result<Option<ResponseHead>, HeadFault> {
    let mut storage = [EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut storage);
    let len = match parsed.parse(buffer) {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) => return Ok(None),
        Err(_) => return Err(fault(502, "not an HTTP/1.1 response")),
    };
    if !has_whole_lines(&buffer[..len]) {
        return Err(fault(502, "lines of a head end with CR LF"));
    }
    let status = parsed.code.unwrap_or(0);
    let mut framing = Framing::default();
    let mut content = None;
    let mut session = None;
    for header in parsed.headers.iter() {
        let name = header.name.as_bytes();
        let value = trim(header.value);
        if framing.take(name, value)? {
            continue;
        }
        match name.len() {
            12 if name.eq_ignore_ascii_case(b"content-type") => {
                let before = content.replace(content_of(value));
                if before.is_some() {
                    return Err(fault(502, TWICE));
                }
            }
            14 if name.eq_ignore_ascii_case(b"mcp-session-id") => {
                if session.replace(span(buffer, value)).is_some() {
                    return Err(fault(502, TWICE));
                }
                continue;
            }
            10 if name.eq_ignore_ascii_case(b"keep-alive") => continue,
            7 if name.eq_ignore_ascii_case(b"upgrade") || name.eq_ignore_ascii_case(b"trailer") => {
                continue;
            }
            _ => {}
        }
        each(header.name, value);
    }
    framing.check()?;
    let body = match (framing.length, framing.chunked) {
        _ if status < 200 || status == 204 || status == 304 => Body::Done,
        (_, true) => Body::Chunked(Chunks::default()),
        (Some(length), _) => Body::length(length),
        _ => Body::UntilClose,
    };
    // What an older server means by `keep-alive` is not worth finding out.
    let keep_alive = parsed.version == Some(1) && !framing.close && body != Body::UntilClose;
    Ok(Some(ResponseHead {
        status,
        len,
        keep_alive,
        body,
        content: content.unwrap_or(Content::Other),
        session,
    }))
}

/// The media type, without parameters.
pub(crate) fn content_of(value: &[u8]) -> Content {
    let media = trim(value.split(|&byte| byte == b';').next().unwrap_or_default());
    if media.eq_ignore_ascii_case(b"application/json") {
        Content::Json
    } else if media.eq_ignore_ascii_case(b"text/event-stream") {
        Content::Events
    } else {
        Content::Other
    }
}

#[cfg(test)]
mod tests;
