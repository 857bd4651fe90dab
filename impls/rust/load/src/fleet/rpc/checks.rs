//! What the specification makes a server refuse, in both eras.
//!
//! Rule: `None` means that the message may go on; a refusal is complete, written, and carries the status its revision fixes
//! (2026-07-28: basic/transports, "Header validation"; 2025-11-25: basic/transports, "Session management"). Names here are
//! plain ASCII, so the Base64 sentinel never arises.

use std::ops::Range;

use super::message::{Message, strip};
use super::reply::{Verdict, refuse};
use super::{Hints, MODERN};
use crate::fleet::sessions::Sessions;

pub(super) fn modern(
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
    } else if named(method, message).is_some_and(|name| hints.name != Some(strip(&body[name]))) {
        "Mcp-Name"
    } else {
        return None;
    };
    let why = format!("Header mismatch: {mismatch} is missing or does not match the body");
    Some(refuse(out, id, 400, -32020, &why, ""))
}

/// What `Mcp-Name` repeats.
fn named(method: &[u8], message: &Message) -> Option<Range<usize>> {
    match method {
        b"tools/call" => Some(message.name.clone()),
        b"resources/read" => Some(message.uri.clone()),
        _ => None,
    }
}

pub(super) fn session(
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

pub(super) fn unsupported(out: &mut Vec<u8>, id: &[u8], requested: &[u8]) -> Verdict {
    let requested = String::from_utf8_lossy(requested);
    let data = format!(r#","data":{{"supported":["2026-07-28"],"requested":"{requested}"}}"#);
    refuse(out, id, 400, -32022, "Unsupported protocol version", &data)
}
