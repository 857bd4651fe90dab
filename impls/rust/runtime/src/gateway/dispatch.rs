//! What a message is and what is to be done about it, decided without I/O from head and envelope.
//!
//! The rule: a decision is made from a prefix only if no later byte could change it; otherwise it is [`Plan::Whole`].
//! Sources: 2026-07-28 streamable-http "Server Validation", basic/index; 2025-11-25 transports "Session Management".

mod forward;
mod legacy;
mod modern;

use std::sync::Arc;

use super::Gateway;
use super::answer::{Answer, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR};
use super::sessions::Session;
use crate::envelope::{self, Envelope, Fault, Span};
use crate::manager::ListKind;
use crate::principal::Principal;
use crate::route::Routed;
use crate::translate::session as rules;

/// The headers that repeat or frame what the body says. On stdio there are none (`layer` false).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heads<'a> {
    pub(crate) layer: bool,
    /// Who calls, by them.
    pub(crate) principal: Principal<'a>,
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

impl Plan {
    /// The session that is in use until this is done, and the id of the request.
    pub(crate) fn of_session(&self) -> Option<(&Arc<Session>, &[u8])> {
        match self {
            Self::Forward(forward) => Some((forward.who.session()?, &forward.id[..])),
            Self::List(_, id, who) => Some((who.session()?, &id[..])),
            Self::Subscribe { id, session, .. } | Self::Level(id, session, _) => {
                Some((session, &id[..]))
            }
            Self::Whole
            | Self::Answer(_)
            | Self::Discover(_)
            | Self::Listen(_)
            | Self::Initialize(_) => None,
        }
    }
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
    if !whole && (env.method.is_none() || env.id.is_none() || env.jsonrpc.is_none()) {
        return Plan::Whole;
    }
    let said = match rules::read(body, env) {
        Ok(said) => said,
        Err(why) => {
            let id = env.id.map(|span| span.of(body));
            let id = id.filter(|id| envelope::is_id(id));
            return error(400, id, INVALID_REQUEST, why);
        }
    };
    if said.is_modern(heads.version) {
        return modern::modern(gateway, heads, body, env, &said);
    }
    let Some(method) = &said.method else {
        return response(gateway, heads, body, env);
    };
    // A session says legacy; else only all of `params` can tell that it is not modern.
    let told_legacy = heads.session.is_some();
    if !whole && !told_legacy && env.members.meta.is_none() {
        return Plan::Whole;
    }
    legacy::legacy(gateway, heads, body, env, method)
}

fn response(gateway: &Gateway, heads: &Heads<'_>, body: &[u8], env: &Envelope) -> Plan {
    if !env.complete {
        return Plan::Whole;
    }
    match gateway.known(heads.version, heads.session, None, heads.principal) {
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
