//! What a fleet server answers, decided without I/O: one pass over the message, the answer written into a buffer.
//!
//! Rule: the fleet is a strict server. A modern request with a missing or contradicting header or `_meta` key, a legacy one
//! without its session, is refused as the specification says, so that a gateway that forgets to rewrite `Mcp-Name` fails
//! every call instead of passing a benchmark. (2026-07-28: basic/transports, "Header validation"; 2025-11-25: basic/transports,
//! "Session management". Names here are plain ASCII, so the Base64 sentinel never arises.)

use std::io::Write;
use std::ops::Range;

use super::{Config, Distribution, Fault, Serves};
use crate::rng::SplitMix64;
use crate::scan::{self, NotJson};

pub const MODERN: &[u8] = b"2026-07-28";
const LEGACY: [&[u8]; 4] = [b"2025-11-25", b"2025-06-18", b"2025-03-26", b"2024-11-05"];
const LIST_TAIL: &[u8] = br#","resultType":"complete","ttlMs":60000,"cacheScope":"public"}"#;
const TOOLS: &[u8] = br#"{"tools":[{"name":"echo","description":"Answers its text.","inputSchema":{"type":"object","properties":{"text":{"type":"string"},"n":{"type":"integer"}},"required":["text"]},"annotations":{"readOnlyHint":true,"idempotentHint":true}},{"name":"fail","description":"Answers with isError.","inputSchema":{"type":"object","properties":{"text":{"type":"string"}}},"annotations":{"readOnlyHint":true}},{"name":"sleep","description":"Answers its text after ms milliseconds.","inputSchema":{"type":"object","properties":{"text":{"type":"string"},"ms":{"type":"number"}}},"annotations":{"readOnlyHint":true,"idempotentHint":true}}]"#;

/// The request headers that matter; all `None` on stdio.
#[derive(Debug, Default, Clone, Copy)]
pub struct Hints<'a> {
    pub http: bool,
    pub version: Option<&'a [u8]>,
    pub method: Option<&'a [u8]>,
    pub name: Option<&'a [u8]>,
    pub session: Option<&'a [u8]>,
}

/// How the carrier must treat the answer that was written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub status: u16,
    pub delay_ns: u64,
    /// A new session was opened with this id.
    pub opened: Option<u64>,
    /// Nothing is to be sent: close the connection instead.
    pub reset: bool,
}

/// Whether a session is known; only the HTTP server has any.
pub trait Sessions {
    fn known(&self, id: &[u8]) -> bool;
    fn open(&mut self, id: u64);
}

/// stdio: the pipe is the session.
#[derive(Debug)]
pub struct Pipe;

impl Sessions for Pipe {
    fn known(&self, _id: &[u8]) -> bool {
        true
    }
    fn open(&mut self, _id: u64) {}
}

#[derive(Debug, Default)]
struct Message {
    id: Range<usize>,
    method: Range<usize>,
    name: Range<usize>,
    text: Range<usize>,
    millis: Range<usize>,
    requested: Range<usize>,
    cancelled: Range<usize>,
    version: Range<usize>,
    capabilities: bool,
}

#[derive(Debug)]
pub struct Server {
    serves: Serves,
    latency: Option<super::Latency>,
    error_below: u64,
    error_kind: Fault,
    lie_below: u64,
    padding: Vec<u8>,
    rng: SplitMix64,
    pub calls: u64,
    /// The raw id that the last `notifications/cancelled` named.
    pub cancelled: Option<Vec<u8>>,
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss
)] // a share of 2^64
fn below(share: f64) -> u64 {
    (share * u64::MAX as f64) as u64
}

impl Server {
    pub fn new(config: &Config) -> Self {
        Self {
            serves: config.era,
            latency: config.latency.filter(|latency| latency.ms > 0.0),
            error_below: below(config.error_rate),
            error_kind: config.error_kind,
            lie_below: below(config.lie_rate),
            padding: vec![b'.'; config.answer_bytes],
            rng: SplitMix64::new(config.seed),
            calls: 0,
            cancelled: None,
        }
    }

    /// Answers one message. `out` is empty afterwards when there is nothing to say (a notification: HTTP status 202).
    pub fn answer(
        &mut self,
        body: &[u8],
        hints: Hints<'_>,
        sessions: &mut impl Sessions,
        out: &mut Vec<u8>,
    ) -> Verdict {
        out.clear();
        let Ok(message) = parse(body) else {
            return refuse(
                out,
                b"null",
                400,
                -32700,
                "not a JSON-RPC message; send one JSON object",
                "",
            );
        };
        let method = &body[message.method.clone()];
        let id = &body[message.id.clone()];
        let version = strip(&body[message.version.clone()]);
        let modern = !version.is_empty() || hints.version == Some(MODERN);
        if method.is_empty() || id.is_empty() {
            if method == b"\"notifications/cancelled\"" {
                self.cancelled = Some(body[message.cancelled].to_vec());
            }
            return self.notification(modern, hints, sessions, out);
        }
        let method = strip(method);
        if modern && self.serves != Serves::Legacy {
            if let Some(refusal) = check_modern(body, &message, method, version, hints, out) {
                return refusal;
            }
        } else if method == b"initialize" {
            if self.serves == Serves::Modern {
                let requested = strip(&body[message.requested.clone()]);
                return unsupported(out, id, requested);
            }
            return self.initialize(body, &message, id, hints, sessions, out);
        } else if self.serves == Serves::Modern {
            return refuse(
                out,
                id,
                400,
                -32602,
                "params._meta lacks io.modelcontextprotocol/protocolVersion; add it",
                "",
            );
        } else if let Some(refusal) = check_session(id, hints, sessions, out) {
            return refusal;
        }
        let not_found = if modern { 404 } else { 200 };
        match method {
            b"tools/call" => self.call(body, &message, id, out),
            b"tools/list" => {
                result(out, id, &[TOOLS, LIST_TAIL]);
                OK
            }
            b"ping" if !modern => {
                result(out, id, &[b"{}"]);
                OK
            }
            b"server/discover" if modern => {
                result(out, id, &[br#"{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"crossfade-fleet","version":"0.1.0"}}"#, LIST_TAIL]);
                OK
            }
            _ => refuse(out, id, not_found, -32601, "Method not found", ""),
        }
    }

    fn notification(
        &self,
        modern: bool,
        hints: Hints<'_>,
        sessions: &impl Sessions,
        out: &mut Vec<u8>,
    ) -> Verdict {
        if !modern
            && self.serves != Serves::Modern
            && let Some(refusal) = check_session(b"null", hints, sessions, out)
        {
            return refusal;
        }
        Verdict { status: 202, ..OK }
    }

    fn initialize(
        &mut self,
        body: &[u8],
        message: &Message,
        id: &[u8],
        hints: Hints<'_>,
        sessions: &mut impl Sessions,
        out: &mut Vec<u8>,
    ) -> Verdict {
        let requested = strip(&body[message.requested.clone()]);
        let version = LEGACY
            .into_iter()
            .find(|known| *known == requested)
            .unwrap_or(LEGACY[0]);
        result(out, id, &[br#"{"protocolVersion":""#, version, br#"","capabilities":{"tools":{}},"serverInfo":{"name":"crossfade-fleet","version":"0.1.0"}}"#]);
        let opened = hints.http.then(|| self.rng.next_u64());
        if let Some(session) = opened {
            sessions.open(session);
        }
        Verdict { opened, ..OK }
    }

    fn call(&mut self, body: &[u8], message: &Message, id: &[u8], out: &mut Vec<u8>) -> Verdict {
        self.calls += 1;
        let text = &body[message.text.clone()];
        let mut delay_ns = match self.latency {
            None => 0,
            Some(latency) => self.draw_delay(latency),
        };
        let (text, is_error): (&[u8], bool) = match strip(&body[message.name.clone()]) {
            b"echo" if text.first() == Some(&b'"') => (text, false),
            b"echo" => {
                return refuse(
                    out,
                    id,
                    200,
                    -32602,
                    "echo needs arguments.text, a string; add it",
                    "",
                );
            }
            b"sleep" => {
                let millis: f64 = std::str::from_utf8(&body[message.millis.clone()])
                    .ok()
                    .and_then(|ms| ms.parse().ok())
                    .unwrap_or(10.0);
                delay_ns += nanoseconds(millis.clamp(0.0, 600_000.0));
                (if text.is_empty() { b"\"\"" } else { text }, false)
            }
            b"fail" => (
                if text.is_empty() {
                    b"\"failed as asked\""
                } else {
                    text
                },
                true,
            ),
            _ => {
                return refuse(
                    out,
                    id,
                    200,
                    -32602,
                    "Unknown tool; this fleet has echo, fail and sleep",
                    "",
                );
            }
        };
        if self.error_below > 0 && self.rng.next_u64() < self.error_below {
            let verdict = match self.error_kind {
                Fault::Rpc => refuse(out, id, 200, -32603, "injected by error_rate", ""),
                Fault::Http => refuse(out, id, 503, -32603, "injected by error_rate", ""),
                Fault::Reset => Verdict { reset: true, ..OK },
                Fault::Tool => {
                    self.content(out, id, text, true);
                    OK
                }
            };
            return Verdict {
                delay_ns,
                ..verdict
            };
        }
        if self.lie_below > 0 && self.rng.next_u64() < self.lie_below {
            self.content(out, id, b"\"a lie\"", is_error);
        } else {
            self.content(out, id, text, is_error);
        }
        Verdict { delay_ns, ..OK }
    }

    fn draw_delay(&mut self, latency: super::Latency) -> u64 {
        match latency.distribution {
            Distribution::Constant => nanoseconds(latency.ms),
            Distribution::Exponential => self.rng.exponential_ns(latency.ms * 1e6),
        }
    }

    fn content(&self, out: &mut Vec<u8>, id: &[u8], text: &[u8], is_error: bool) {
        let flag: &[u8] = if is_error { b"true" } else { b"false" };
        out.reserve(128 + id.len() + text.len() + self.padding.len());
        if self.padding.len() + 2 > text.len() {
            let padding = &self.padding[..self.padding.len() + 2 - text.len()];
            let begin = br#"{"content":[{"type":"text","text":"#;
            let middle = br#"},{"type":"text","text":""#;
            result(
                out,
                id,
                &[
                    begin,
                    text,
                    middle,
                    padding,
                    br#""}],"isError":"#,
                    flag,
                    br#","resultType":"complete"}"#,
                ],
            );
        } else {
            let begin = br#"{"content":[{"type":"text","text":"#;
            result(
                out,
                id,
                &[
                    begin,
                    text,
                    br#"}],"isError":"#,
                    flag,
                    br#","resultType":"complete"}"#,
                ],
            );
        }
    }
}

const OK: Verdict = Verdict {
    status: 200,
    delay_ns: 0,
    opened: None,
    reset: false,
};

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounded by the callers, never negative
fn nanoseconds(millis: f64) -> u64 {
    (millis * 1e6) as u64
}

/// A JSON string without its quotes; anything else is empty.
fn strip(raw: &[u8]) -> &[u8] {
    if raw.len() >= 2 && raw[0] == b'"' {
        &raw[1..raw.len() - 1]
    } else {
        b""
    }
}

fn parse(body: &[u8]) -> Result<Message, NotJson> {
    let mut message = Message::default();
    let start = scan::space(body, 0);
    let end = scan::members(body, start, &mut |key, at| match key {
        b"id" => scan::span(body, at, &mut message.id),
        b"method" => scan::span(body, at, &mut message.method),
        b"params" if body.get(at) == Some(&b'{') => params(body, at, &mut message),
        _ => scan::value(body, at),
    })?;
    if scan::space(body, end) == body.len() {
        Ok(message)
    } else {
        Err(NotJson(end))
    }
}

fn params(body: &[u8], at: usize, message: &mut Message) -> Result<usize, NotJson> {
    scan::members(body, at, &mut |key, at| match key {
        b"name" => scan::span(body, at, &mut message.name),
        b"protocolVersion" => scan::span(body, at, &mut message.requested),
        b"requestId" => scan::span(body, at, &mut message.cancelled),
        b"arguments" if body.get(at) == Some(&b'{') => {
            scan::members(body, at, &mut |key, at| match key {
                b"text" => scan::span(body, at, &mut message.text),
                b"ms" => scan::span(body, at, &mut message.millis),
                _ => scan::value(body, at),
            })
        }
        b"_meta" if body.get(at) == Some(&b'{') => {
            scan::members(body, at, &mut |key, at| match key {
                b"io.modelcontextprotocol/protocolVersion" => {
                    scan::span(body, at, &mut message.version)
                }
                b"io.modelcontextprotocol/clientCapabilities" => {
                    message.capabilities = true;
                    scan::value(body, at)
                }
                _ => scan::value(body, at),
            })
        }
        _ => scan::value(body, at),
    })
}

fn check_modern(
    body: &[u8],
    message: &Message,
    method: &[u8],
    version: &[u8],
    hints: Hints<'_>,
    out: &mut Vec<u8>,
) -> Option<Verdict> {
    let id = &body[message.id.clone()];
    if version.is_empty() || !message.capabilities {
        let why = "params._meta lacks io.modelcontextprotocol/protocolVersion or clientCapabilities; add both";
        return Some(refuse(out, id, 400, -32602, why, ""));
    }
    if version != MODERN {
        return Some(unsupported(out, id, version));
    }
    if !hints.http {
        return None;
    }
    let mismatch = if hints.version != Some(version) {
        "MCP-Protocol-Version"
    } else if hints.method != Some(method) {
        "Mcp-Method"
    } else if method == b"tools/call" && hints.name != Some(strip(&body[message.name.clone()])) {
        "Mcp-Name"
    } else {
        return None;
    };
    let why = format!("Header mismatch: {mismatch} is missing or does not match the body");
    Some(refuse(out, id, 400, -32020, &why, ""))
}

fn check_session(
    id: &[u8],
    hints: Hints<'_>,
    sessions: &impl Sessions,
    out: &mut Vec<u8>,
) -> Option<Verdict> {
    if !hints.http {
        return None;
    }
    match hints.session {
        None => Some(refuse(
            out,
            id,
            400,
            -32600,
            "Bad Request: Mcp-Session-Id is missing; initialize first",
            "",
        )),
        Some(session) if sessions.known(session) => None,
        Some(_) => Some(refuse(
            out,
            id,
            404,
            -32001,
            "Session not found; initialize again",
            "",
        )),
    }
}

fn unsupported(out: &mut Vec<u8>, id: &[u8], requested: &[u8]) -> Verdict {
    let requested = String::from_utf8_lossy(requested);
    let data = format!(r#","data":{{"supported":["2026-07-28"],"requested":"{requested}"}}"#);
    refuse(out, id, 400, -32022, "Unsupported protocol version", &data)
}

fn result(out: &mut Vec<u8>, id: &[u8], parts: &[&[u8]]) {
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id);
    out.extend_from_slice(br#","result":"#);
    for part in parts {
        out.extend_from_slice(part);
    }
    out.push(b'}');
}

fn refuse(out: &mut Vec<u8>, id: &[u8], status: u16, code: i32, why: &str, data: &str) -> Verdict {
    let id = if id.is_empty() { b"null" } else { id };
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id);
    let _ = write!(
        out,
        r#","error":{{"code":{code},"message":"{why}"{data}}}}}"#
    );
    Verdict { status, ..OK }
}
