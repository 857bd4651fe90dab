//! What a fleet server answers, decided without I/O: one pass over the message, the answer written into a buffer.
//!
//! Rule: the fleet is a strict server. A modern request with a missing or contradicting header or `_meta` key, a legacy one
//! without its session, is refused as the specification says, so that a gateway that forgets to rewrite `Mcp-Name` fails
//! every call instead of passing a benchmark. `message` finds the parts, `checks` refuses, `tools` answers calls and
//! `resources` reads, `reply` writes; this file is the order in which they are asked.

use super::sessions::Sessions;
use super::{Config, Serves};

mod checks;
mod message;
mod reply;
mod resources;
mod tools;

use message::{Message, parse, strip};
pub use reply::Verdict;
use reply::{OK, refuse, result};
use tools::{TOOLS, Tools};

pub const MODERN: &[u8] = b"2026-07-28";
const LEGACY: [&[u8]; 4] = [b"2025-11-25", b"2025-06-18", b"2025-03-26", b"2024-11-05"];
const LIST_TAIL: &[u8] = br#","resultType":"complete","ttlMs":60000,"cacheScope":"public"}"#;

/// The request headers that matter; all `None` on stdio.
#[derive(Debug, Default, Clone, Copy)]
pub struct Hints<'a> {
    pub http: bool,
    pub version: Option<&'a [u8]>,
    pub method: Option<&'a [u8]>,
    pub name: Option<&'a [u8]>,
    pub session: Option<&'a [u8]>,
    /// The port is a slow one: calls and reads take so much longer.
    pub slow_ns: u64,
}

#[derive(Debug)]
pub struct Server {
    serves: Serves,
    tools: Tools,
    /// The raw id that the last `notifications/cancelled` named.
    pub cancelled: Option<Vec<u8>>,
}

impl Server {
    pub fn new(config: &Config) -> Self {
        Self {
            serves: config.era,
            tools: Tools::new(config),
            cancelled: None,
        }
    }

    /// Tool calls so far.
    pub const fn calls(&self) -> u64 {
        self.tools.calls
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
            if let Some(refusal) = checks::modern(body, &message, method, version, hints, out) {
                return refusal;
            }
        } else if method == b"initialize" {
            if self.serves == Serves::Modern {
                let requested = strip(&body[message.requested.clone()]);
                return checks::unsupported(out, id, requested);
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
        } else if let Some(refusal) = checks::session(id, hints, sessions, out) {
            return refusal;
        }
        let not_found = if modern { 404 } else { 200 };
        match method {
            b"tools/call" => {
                let verdict = self.tools.call(body, &message, id, out);
                Verdict {
                    delay_ns: verdict.delay_ns + hints.slow_ns,
                    ..verdict
                }
            }
            b"resources/read" => {
                let uri = strip(&body[message.uri.clone()]);
                let verdict = resources::read(uri, modern, id, out);
                Verdict {
                    delay_ns: hints.slow_ns,
                    ..verdict
                }
            }
            b"resources/list" => {
                result(out, id, &[resources::LIST, LIST_TAIL]);
                OK
            }
            b"resources/templates/list" => {
                result(out, id, &[resources::TEMPLATES, LIST_TAIL]);
                OK
            }
            b"tools/list" => {
                result(out, id, &[TOOLS, LIST_TAIL]);
                OK
            }
            b"ping" if !modern => {
                result(out, id, &[b"{}"]);
                OK
            }
            b"server/discover" if modern => {
                result(out, id, &[br#"{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{},"resources":{}},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"crossfade-fleet","version":"0.1.0"}}"#, LIST_TAIL]);
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
            && let Some(refusal) = checks::session(b"null", hints, sessions, out)
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
        result(out, id, &[br#"{"protocolVersion":""#, version, br#"","capabilities":{"tools":{},"resources":{}},"serverInfo":{"name":"crossfade-fleet","version":"0.1.0"}}"#]);
        let opened = hints.http.then(|| self.tools.session_id());
        if let Some(session) = opened {
            sessions.open(session);
        }
        Verdict { opened, ..OK }
    }
}
