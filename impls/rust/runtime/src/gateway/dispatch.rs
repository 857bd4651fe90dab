//! What a message is and what is to be done about it, decided without I/O from head and envelope.
//!
//! The rule: a decision is made from a prefix only if no later byte could change it; otherwise it is [`Plan::Whole`].
//! Sources: 2026-07-28 streamable-http "Server Validation", basic/index; 2025-11-25 transports "Session Management".

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Gateway;
use super::answer::{
    Answer, HEADER_MISMATCH, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR,
    UNSUPPORTED_VERSION, push_error, supported_data,
};
use super::sessions::Session;
use crate::envelope::{self, Envelope, Fault, Span};
use crate::info::Era;
use crate::manager::ListKind;
use crate::route::{self, Routed, Subject};
use crate::translate::{self, LEGACY, MODERN};
use crate::upstream::Link;

/// The headers that repeat or frame what the body says. On stdio there are none (`layer` false).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heads<'a> {
    pub(crate) layer: bool,
    pub(crate) session: Option<&'a [u8]>,
    pub(crate) version: Option<&'a [u8]>,
    pub(crate) method: Option<&'a [u8]>,
    pub(crate) name: Option<&'a [u8]>,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) enum Who {
    /// Stateless; the span holds the client capabilities in the body.
    Modern(Span),
    Legacy(Arc<Session>),
}

impl Who {
    pub(crate) fn is_modern(&self) -> bool {
        matches!(self, Self::Modern(_))
    }
}

/// The requests that go to one server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verb {
    Call,
    Prompt,
    Read,
    Complete,
}

impl Verb {
    fn of(method: &str) -> Option<Self> {
        match method {
            "tools/call" => Some(Self::Call),
            "prompts/get" => Some(Self::Prompt),
            "resources/read" => Some(Self::Read),
            "completion/complete" => Some(Self::Complete),
            _ => None,
        }
    }

    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Call => "tools/call",
            Self::Prompt => "prompts/get",
            Self::Read => "resources/read",
            Self::Complete => "completion/complete",
        }
    }
}

/// A request for one server.
#[derive(Debug)]
pub(crate) struct Forward {
    pub(crate) verb: Verb,
    pub(crate) id: Box<[u8]>,
    pub(crate) who: Who,
    /// `None` until the servers' lists were searched.
    pub(crate) routed: Option<Routed>,
}

/// How a request reaches its server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// Bytes pass through; ids are not touched. `edits_meta`: `params._meta` must change, so all of it must be there.
    Relay { edits_meta: bool },
    /// A call of the manager's own, whose result is put into an answer.
    Call,
    /// Not known before the server was asked for its era.
    Unknown,
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Plan {
    /// The rest of the body is needed to decide.
    Whole,
    Answer(Box<Answer>),
    Forward(Forward),
    List(ListKind, Box<[u8]>, Who),
    Discover(Box<[u8]>),
    Initialize(Box<[u8]>),
}

fn answer(answer: Answer) -> Plan {
    Plan::Answer(Box::new(answer))
}

fn error(status: u16, id: Option<&[u8]>, code: i64, message: &str) -> Plan {
    answer(Answer::rpc_error(status, id, code, message))
}

/// The answer to a body that is no message.
pub(crate) fn faulty(fault: Fault) -> Answer {
    let (code, message) = match fault {
        Fault::Syntax(at) => (
            PARSE_ERROR,
            format!("not JSON: unexpected byte at offset {at}; send one JSON object"),
        ),
        Fault::Duplicate(key) => (
            INVALID_REQUEST,
            format!("the key {key} stands twice; send it once"),
        ),
        Fault::NotAnObject => (
            INVALID_REQUEST,
            "not a JSON-RPC message: send one JSON object per POST, no batch".to_owned(),
        ),
    };
    Answer::rpc_error(400, None, code, &message)
}

/// Decides about a message of which `body` is all (`env.complete`) or the beginning.
pub(crate) fn plan(gateway: &Gateway, heads: &Heads<'_>, body: &[u8], env: &Envelope) -> Plan {
    let whole = env.complete;
    let id = env.id.map(|span| span.of(body));
    if id.is_some_and(|id| !envelope::is_id(id)) {
        return error(
            400,
            None,
            INVALID_REQUEST,
            "the id of a request must be a string or an integer",
        );
    }
    if !whole && (env.method.is_none() || env.id.is_none() || env.jsonrpc.is_none()) {
        return Plan::Whole;
    }
    if env.jsonrpc.is_none_or(|span| span.of(body) != b"\"2.0\"") {
        return error(400, id, INVALID_REQUEST, "jsonrpc must be \"2.0\"");
    }
    let Some(method) = env.method else {
        return if env.result.is_some() || env.error.is_some() {
            response(gateway, heads)
        } else {
            error(
                400,
                id,
                INVALID_REQUEST,
                "method is missing; send a request, a notification or a response",
            )
        };
    };
    let Some(method) = envelope::text(method.of(body)) else {
        return error(400, id, INVALID_REQUEST, "method must be a string");
    };
    if env.params.is_some() && env.members.open.is_none() {
        return error(400, id, INVALID_REQUEST, "params must be an object");
    }
    let declared = heads.version == Some(MODERN.as_bytes());
    let meta = env.members.meta.map(|span| span.of(body));
    let marked = meta.is_some_and(|meta| {
        translate::hop_meta(meta).is_ok_and(|hop| hop.version.is_some() && method != "initialize")
    });
    if declared || marked {
        return modern(gateway, heads, body, env, &method);
    }
    // A session, or a header of an older revision, says legacy; else only all of `params` can tell that it is not modern.
    let told_legacy = heads.session.is_some();
    if !whole && !told_legacy && env.members.meta.is_none() {
        return Plan::Whole;
    }
    if let Some(version) = heads.version
        && !LEGACY.iter().any(|known| known.as_bytes() == version)
    {
        return unsupported(id, &String::from_utf8_lossy(version));
    }
    legacy(gateway, heads, body, env, &method)
}

fn unsupported(id: Option<&[u8]>, version: &str) -> Plan {
    let mut out = Vec::new();
    let message = format!("MCP revision {version} is not supported; use one of data.supported");
    push_error(
        &mut out,
        id,
        UNSUPPORTED_VERSION,
        &message,
        &supported_data(version),
    );
    answer(Answer::new(400, out))
}

fn response(gateway: &Gateway, heads: &Heads<'_>) -> Plan {
    if heads.version == Some(MODERN.as_bytes()) {
        return error(
            400,
            None,
            INVALID_REQUEST,
            "clients of this revision send no responses; send requests",
        );
    }
    match session(gateway, heads, None) {
        Ok(_) => answer(Answer::accepted()),
        Err(refused) => Plan::Answer(refused),
    }
}

// -- modern

fn modern(gateway: &Gateway, heads: &Heads<'_>, body: &[u8], env: &Envelope, method: &str) -> Plan {
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

fn unknown_method(status: u16, id: &[u8], method: &str) -> Plan {
    let message =
        format!("method '{method}' is not supported by this gateway; see its capabilities");
    error(status, Some(id), METHOD_NOT_FOUND, &message)
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

// -- legacy

fn session(
    gateway: &Gateway,
    heads: &Heads<'_>,
    id: Option<&[u8]>,
) -> Result<Arc<Session>, Box<Answer>> {
    let Some(wanted) = heads.session else {
        return Err(Box::new(Answer::rpc_error(
            400,
            id,
            INVALID_REQUEST,
            "Mcp-Session-Id is missing; initialize first and send the id you get",
        )));
    };
    gateway.sessions.get(wanted).ok_or_else(|| {
        Box::new(Answer::rpc_error(
            404,
            id,
            INVALID_REQUEST,
            "this session is not known or over; initialize again",
        ))
    })
}

fn legacy(gateway: &Gateway, heads: &Heads<'_>, body: &[u8], env: &Envelope, method: &str) -> Plan {
    let id = env.id.map(|span| span.of(body));
    if method == "initialize" {
        return match id {
            Some(_) if !env.complete => Plan::Whole,
            Some(id) => Plan::Initialize(id.into()),
            None => error(
                400,
                None,
                INVALID_REQUEST,
                "initialize is a request; send an id",
            ),
        };
    }
    let session = match session(gateway, heads, id) {
        Ok(session) => session,
        Err(refused) => return Plan::Answer(refused),
    };
    let Some(id) = id else {
        if method == "notifications/cancelled"
            && let Some(flight) = env
                .members
                .request_id
                .and_then(|span| session.find(span.of(body)))
        {
            flight.cancelled.store(true, Relaxed);
            flight.wake.notify_one();
        }
        return answer(Answer::accepted());
    };
    if let Some(kind) = ListKind::of_method(method) {
        return Plan::List(kind, id.into(), Who::Legacy(session));
    }
    match (method, Verb::of(method)) {
        (_, Some(verb)) => forward(gateway, body, env, verb, id, Who::Legacy(session)),
        ("ping" | "logging/setLevel", _) => answer(Answer::result(id, b"{}")),
        _ => unknown_method(200, id, method),
    }
}

// -- requests for one server

fn forward(
    gateway: &Gateway,
    body: &[u8],
    env: &Envelope,
    verb: Verb,
    id: &[u8],
    who: Who,
) -> Plan {
    let members = &env.members;
    if !env.complete {
        let there = match verb {
            Verb::Call | Verb::Prompt => members.name.is_some(),
            Verb::Read => members.uri.is_some(),
            Verb::Complete => false,
        };
        if !there {
            return Plan::Whole;
        }
    }
    let failed = |error: &crate::Error| {
        gateway.manager.shared.metrics.error(error.code());
        answer(Answer::failure(id, error))
    };
    let subject = match route::subject(verb.method(), body, members) {
        Ok(Subject::Nothing) | Err(_) if members.open.is_none() => {
            return error(
                200,
                Some(id),
                INVALID_PARAMS,
                "params are missing; send what the method requires",
            );
        }
        Ok(subject) => subject,
        Err(error) => return failed(&error),
    };
    match route::by_subject(&gateway.manager, verb.method(), &subject) {
        Ok(routed) => Plan::Forward(Forward {
            verb,
            id: id.into(),
            who,
            routed,
        }),
        Err(error) => failed(&error),
    }
}

impl Forward {
    /// How it can go, as far as is known without asking.
    pub(crate) fn way(&self) -> Way {
        let Some(routed) = &self.routed else {
            return Way::Call;
        };
        let Some(Link::Http(link)) = routed.server.links.first() else {
            return Way::Call;
        };
        let Some(era) = link.era() else {
            return Way::Unknown;
        };
        match (self.who.is_modern(), era) {
            (true, Era::Legacy) => Way::Call,
            (false, Era::Modern) => Way::Relay { edits_meta: true },
            (false, Era::Legacy) if routed.server.spec.stateless => {
                // In a session that clients share, their ids would collide.
                match link.shared_session() {
                    Some(session) if session.id.is_some() => Way::Call,
                    _ => Way::Relay { edits_meta: false },
                }
            }
            (true, Era::Modern) | (false, Era::Legacy) => Way::Relay { edits_meta: false },
        }
    }
}
