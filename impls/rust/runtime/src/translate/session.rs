//! What a message must carry to be served, and as what: its era, its session, and what its headers repeat.
//!
//! The rule: pure functions of headers and envelope, which the faces call before they do anything; `session_rules.py` is
//! their mirror, and the vectors `session.*` and `modern.*` hold the two equal. Sources: 2026-07-28 basic/versioning,
//! basic/index "_meta", streamable-http "Server Validation"; 2025-11-25 basic/transports "Session Management" and
//! "Protocol Version Header", basic/lifecycle "Version Negotiation".

use std::borrow::Cow;

use super::codes::{HEADER_MISMATCH, INVALID_PARAMS, INVALID_REQUEST, UNSUPPORTED_VERSION};
use super::{CAPABILITIES_KEY, LEGACY, MODERN, VERSION_KEY, header_text, hop_meta};
use crate::envelope::{self, Envelope, Fault, Span};

/// Why a message is not served: the HTTP status, and code and message of the JSON-RPC error.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: i64,
    pub(crate) message: String,
    /// The revision that is not spoken; the error tells which ones are.
    pub(crate) requested: Option<String>,
}

impl Refusal {
    fn new(status: u16, code: i64, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            requested: None,
        }
    }
}

/// What a message says of itself, decoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said<'a> {
    pub(crate) method: Option<Cow<'a, str>>,
    /// Of `params._meta`.
    version: Option<Cow<'a, str>>,
    /// Of `params._meta`, an object; the span counts from the start of the message.
    capabilities: Option<Span>,
}

/// Reads an envelope; `Err` tells why it is none of a message of JSON-RPC 2.0. Of a beginning, what is seen is judged.
pub(crate) fn read<'a>(body: &'a [u8], env: &Envelope) -> Result<Said<'a>, &'static str> {
    if env.id.is_some_and(|id| !envelope::is_id(id.of(body))) {
        return Err("the id of a request must be a string or an integer");
    }
    let says = |span: Span| envelope::text(span.of(body));
    if env.jsonrpc.and_then(says).as_deref() != Some("2.0") {
        return Err("jsonrpc must be \"2.0\"; send it with every message");
    }
    let method = match env.method.map(says) {
        Some(None) => return Err("method must be a string"),
        Some(method) => method,
        None if env.result.is_some() || env.error.is_some() => None,
        None => return Err("method is missing; send a request, a notification or a response"),
    };
    if env.params.is_some() && env.members.open.is_none() {
        return Err("params must be an object");
    }
    let mut said = Said {
        method,
        ..Said::default()
    };
    if let Some(at) = env.members.meta {
        let meta = at.of(body);
        let hop = hop_meta(meta).map_err(|fault| match fault {
            Fault::Duplicate(_) => "a key of params._meta stands twice; send it once",
            Fault::Syntax(_) | Fault::NotAnObject => {
                "params._meta must be an object; send an object"
            }
        })?;
        if let Some(version) = hop.version {
            said.version = envelope::text(version.of(meta));
            if said.version.is_none() {
                return Err("the protocol version in params._meta must be a string");
            }
        }
        said.capabilities = hop
            .capabilities
            .filter(|span| span.of(meta).first() == Some(&b'{'))
            .map(|span| span.shift(at.start));
    }
    Ok(said)
}

impl Said<'_> {
    /// Whether the message is of the stateless era: its version header says so, or its `_meta` names a version.
    ///
    /// `initialize` selects the legacy era whatever its `_meta` says (basic/versioning, "Compatibility Matrix").
    pub(crate) fn is_modern(&self, version: Option<&[u8]>) -> bool {
        version == Some(MODERN.as_bytes())
            || (self.version.is_some()
                && self
                    .method
                    .as_deref()
                    .is_some_and(|method| method != "initialize"))
    }
}

// -- the legacy era

/// The session that a legacy message is served in, or why it is not, whatever its HTTP method; `initialize` needs none.
///
/// `version` is its header, `held` whether it names a session, `found` the session of that name that lives. A version that
/// is not spoken is told first: it is 400 in any session.
pub(crate) fn verdict<S>(
    version: Option<&[u8]>,
    held: bool,
    found: Option<S>,
) -> Result<S, Refusal> {
    if let Some(version) = version
        && !LEGACY.iter().any(|known| known.as_bytes() == version)
    {
        return Err(unsupported(&String::from_utf8_lossy(version)));
    }
    if !held {
        let why = "Mcp-Session-Id is missing; send initialize first, then its session id";
        return Err(Refusal::new(400, INVALID_REQUEST, why));
    }
    found.ok_or_else(|| {
        let why = "the session is unknown or over; send initialize again";
        Refusal::new(404, INVALID_REQUEST, why)
    })
}

/// The revision that `initialize` agrees on: the one asked for if it has a handshake, else the newest that has.
///
/// `None` if there are no params. The version header has no say: the client owes it from the next request on.
pub(crate) fn agree(params: Option<&[u8]>) -> Option<&'static str> {
    let params = params?;
    let mut asked = None;
    let read = envelope::members(params, |key, value| {
        if envelope::text(key).as_deref() == Some("protocolVersion") {
            asked = envelope::text(value.of(params));
        }
    });
    let asked = asked.filter(|_| read.is_ok());
    let spoken = LEGACY
        .into_iter()
        .find(|known| asked.as_deref() == Some(*known));
    Some(spoken.unwrap_or(LEGACY[0]))
}

/// Whether what a server's header gives is a session id: visible ASCII, or there is none that could be sent back.
pub(crate) fn is_id(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(u8::is_ascii_graphic)
}

// -- the modern era

/// The headers of a POST that repeat what its body says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Repeated<'a> {
    pub(crate) version: Option<&'a [u8]>,
    pub(crate) method: Option<&'a [u8]>,
    pub(crate) name: Option<&'a [u8]>,
}

/// What a modern message is that may be served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Modern {
    /// More of the message is needed to tell.
    Whole,
    /// The span holds the client capabilities in the message.
    Request(Span),
    Notification,
}

/// Why a modern message is not served, or as what it is. `headers` is `None` where there is no header layer (stdio).
///
/// The version comes first, because only it says which other rules hold; then what a request must carry, then what its
/// headers repeat (bytes that a header may not hold repeat nothing). A notification owes neither `_meta` nor headers
/// (schema, `NotificationParams`; streamable-http, "Sending Messages"), but what it has of them must not disagree.
pub(crate) fn modern(
    headers: Option<Repeated<'_>>,
    body: &[u8],
    env: &Envelope,
    said: &Said<'_>,
) -> Result<Modern, Refusal> {
    let Some(method) = said.method.as_deref() else {
        let why = "clients of this revision send no responses; send requests";
        return Err(Refusal::new(400, INVALID_REQUEST, why));
    };
    let is_request = env.id.is_some();
    if is_request && env.members.meta.is_none() && !env.complete && !env.members.complete {
        return Ok(Modern::Whole);
    }
    match said.version.as_deref() {
        Some(version) => {
            if let Some(headers) = headers
                && !same(headers.version, version)
            {
                return Err(mismatch("MCP-Protocol-Version", headers.version, version));
            }
            if version != MODERN {
                return Err(unsupported(version));
            }
        }
        None if is_request => return Err(lacks(VERSION_KEY, "a string")),
        None => {}
    }
    if is_request && said.capabilities.is_none() {
        return Err(lacks(CAPABILITIES_KEY, "an object"));
    }
    let as_what = match said.capabilities {
        Some(span) if is_request => Modern::Request(span),
        _ => Modern::Notification,
    };
    let Some(headers) = headers else {
        return Ok(as_what);
    };
    if (is_request || headers.method.is_some()) && !same(headers.method, method) {
        return Err(mismatch("Mcp-Method", headers.method, method));
    }
    let named = match method {
        "tools/call" | "prompts/get" if is_request => env.members.name,
        "resources/read" if is_request => env.members.uri,
        _ => return Ok(as_what),
    };
    let Some(named) = named else {
        // Without the name in the body there is nothing to compare; the route says what is missing.
        return Ok(if env.complete { as_what } else { Modern::Whole });
    };
    match envelope::text(named.of(body)) {
        Some(name) if !names(headers.name, &name) => Err(mismatch("Mcp-Name", headers.name, &name)),
        _ => Ok(as_what),
    }
}

fn same(header: Option<&[u8]>, said: &str) -> bool {
    header == Some(said.as_bytes()) && said.is_ascii()
}

fn names(header: Option<&[u8]>, name: &str) -> bool {
    header
        .filter(|value| value.is_ascii())
        .is_some_and(|value| {
            (value == name.as_bytes() && !value.starts_with(b"=?"))
                || header_text(value).is_some_and(|text| text == name)
        })
}

fn lacks(key: &str, what: &str) -> Refusal {
    let why = format!("params._meta lacks {key} ({what}); send it with every request");
    Refusal::new(400, INVALID_PARAMS, why)
}

fn mismatch(name: &str, sent: Option<&[u8]>, said: &str) -> Refusal {
    let why = match sent {
        None => {
            format!("Header mismatch: the header {name} is missing; send the body's value '{said}'")
        }
        Some(sent) => format!(
            "Header mismatch: {name} header value '{}' does not match body value '{said}'; send the same",
            String::from_utf8_lossy(sent)
        ),
    };
    Refusal::new(400, HEADER_MISMATCH, why)
}

fn unsupported(version: &str) -> Refusal {
    let why = format!("MCP revision {version} is not supported; use one of data.supported");
    Refusal {
        requested: Some(version.to_owned()),
        ..Refusal::new(400, UNSUPPORTED_VERSION, why)
    }
}
