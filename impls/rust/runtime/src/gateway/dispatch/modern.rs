//! Messages of the stateless revision: everything that is needed stands in the message.
//!
//! The rule: `params._meta` names revision and capabilities, and headers that repeat the body must equal it; only then
//! is the method looked at. Source: 2026-07-28 streamable-http "Server Validation".

use super::forward::forward;
use super::{Heads, Plan, Verb, Who, answer, error, unknown_method, unsupported};
use crate::envelope::{self, Envelope};
use crate::gateway::Gateway;
use crate::gateway::answer::{Answer, HEADER_MISMATCH, INVALID_PARAMS};
use crate::manager::ListKind;
use crate::translate::{self, MODERN};

pub(super) fn modern(
    gateway: &Gateway,
    heads: &Heads<'_>,
    body: &[u8],
    env: &Envelope,
    method: &str,
) -> Plan {
    let id = env.id.map(|span| span.of(body));
    let whole = env.complete || env.members.complete;
    let Some(meta_at) = env.members.meta else {
        return if whole { missing_meta(id) } else { Plan::Whole };
    };
    let meta = meta_at.of(body);
    let Ok(hop) = translate::hop_meta(meta) else {
        return missing_meta(id);
    };
    let version = hop.version.and_then(|span| envelope::text(span.of(meta)));
    let capabilities = hop
        .capabilities
        .filter(|span| span.of(meta).first() == Some(&b'{'));
    let (Some(version), Some(capabilities)) = (version, capabilities) else {
        return missing_meta(id);
    };
    if heads.layer
        && let Some(plan) = check_headers(heads, body, env, method, &version, id)
    {
        return plan;
    }
    if version != MODERN {
        return unsupported(id, &version);
    }
    let Some(id) = id else {
        return answer(Answer::accepted());
    };
    let who = Who::Modern(capabilities.shift(meta_at.start));
    if method == "server/discover" {
        return Plan::Discover(id.into());
    }
    if method == "subscriptions/listen" {
        return if env.complete {
            Plan::Listen(id.into())
        } else {
            Plan::Whole
        };
    }
    if let Some(kind) = ListKind::of_method(method) {
        return Plan::List(kind, id.into(), who);
    }
    match Verb::of(method) {
        Some(verb) => forward(gateway, body, env, verb, id, who),
        None => unknown_method(404, id, method),
    }
}

fn missing_meta(id: Option<&[u8]>) -> Plan {
    let message = "params._meta must hold io.modelcontextprotocol/protocolVersion (a string) and \
                   io.modelcontextprotocol/clientCapabilities (an object); send both";
    error(400, id, INVALID_PARAMS, message)
}

/// What the headers repeat must equal the body, or two hops could act on different requests.
fn check_headers(
    heads: &Heads<'_>,
    body: &[u8],
    env: &Envelope,
    method: &str,
    version: &str,
    id: Option<&[u8]>,
) -> Option<Plan> {
    let mismatch = |name: &str, found: Option<&[u8]>, wanted: &str| {
        let message = match found {
            None => format!("Header mismatch: {name} is missing; send the body's value '{wanted}'"),
            Some(found) => format!(
                "Header mismatch: {name} '{}' differs from the body's '{wanted}'; send the same",
                String::from_utf8_lossy(found)
            ),
        };
        Some(error(400, id, HEADER_MISMATCH, &message))
    };
    if heads.version != Some(version.as_bytes()) {
        return mismatch("MCP-Protocol-Version", heads.version, version);
    }
    id?;
    if heads.method != Some(method.as_bytes()) {
        return mismatch("Mcp-Method", heads.method, method);
    }
    let named = match Verb::of(method) {
        Some(Verb::Call | Verb::Prompt) => env.members.name,
        Some(Verb::Read) => env.members.uri,
        _ => return None,
    };
    let Some(named) = named else {
        // Without the name in the body there is nothing to compare; the route says what is missing.
        return if env.complete {
            None
        } else {
            Some(Plan::Whole)
        };
    };
    let wanted = envelope::text(named.of(body))?;
    if heads
        .name
        .is_some_and(|value| value == wanted.as_bytes() && !value.starts_with(b"=?"))
    {
        return None;
    }
    match heads.name.map(translate::header_text) {
        Some(Some(text)) if text == wanted => None,
        _ => mismatch("Mcp-Name", heads.name, &wanted),
    }
}
