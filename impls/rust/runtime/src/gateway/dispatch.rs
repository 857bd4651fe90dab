//! What a message is and what is to be done about it, decided without I/O from head and envelope.
//!
//! The rule: a decision is made from a prefix only if no later byte could change it; otherwise it is [`Plan::Whole`].
//! Sources: 2026-07-28 streamable-http "Server Validation", basic/index; 2025-11-25 transports "Session Management".

mod forward;
mod legacy;
mod modern;

use std::sync::Arc;

use super::Gateway;
use super::answer::{
    Answer, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, UNSUPPORTED_VERSION, push_error,
    supported_data,
};
use super::sessions::Session;
use crate::envelope::{self, Envelope, Fault, Span};
use crate::manager::ListKind;
use crate::route::Routed;
use crate::translate::{self, LEGACY, MODERN};

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

    pub(crate) fn session(&self) -> Option<&Arc<Session>> {
        match self {
            Self::Modern(_) => None,
            Self::Legacy(session) => Some(session),
        }
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
    /// Whether its answer may be kept or shared, if its server says so.
    pub(crate) shared: bool,
    /// `None` until the servers' lists were searched.
    pub(crate) routed: Option<Routed>,
    /// It has passed maintenance, limits and shedding.
    pub(crate) let_in: bool,
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
    /// `subscriptions/listen`.
    Listen(Box<[u8]>),
    /// `resources/subscribe` and (`on` false) `resources/unsubscribe`.
    Subscribe {
        id: Box<[u8]>,
        session: Arc<Session>,
        on: bool,
    },
    Initialize(Box<[u8]>),
    /// Another log level.
    Level(Box<[u8]>, Arc<Session>, Box<str>),
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
            response(gateway, heads, body, env)
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
    let hop = meta.map(translate::hop_meta);
    if let Some(Err(twice @ Fault::Duplicate(_))) = hop {
        return answer(faulty(twice));
    }
    let marked = matches!(hop, Some(Ok(hop)) if hop.version.is_some() && method != "initialize");
    if declared || marked {
        return modern::modern(gateway, heads, body, env, &method);
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
    legacy::legacy(gateway, heads, body, env, &method)
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

fn response(gateway: &Gateway, heads: &Heads<'_>, body: &[u8], env: &Envelope) -> Plan {
    if !env.complete {
        return Plan::Whole;
    }
    if heads.version == Some(MODERN.as_bytes()) {
        return error(
            400,
            None,
            INVALID_REQUEST,
            "clients of this revision send no responses; send requests",
        );
    }
    match legacy::session(gateway, heads, None) {
        Ok(session) => {
            session.asked.answered(body, env);
            answer(Answer::accepted())
        }
        Err(refused) => Plan::Answer(refused),
    }
}

fn unknown_method(status: u16, id: &[u8], method: &str) -> Plan {
    let message =
        format!("method '{method}' is not supported by this gateway; see its capabilities");
    error(status, Some(id), METHOD_NOT_FOUND, &message)
}
