//! Messages of the revisions with sessions.
//!
//! The rule: only `initialize` comes without a session; notifications are accepted whatever they say. Source:
//! 2025-11-25 transports "Session Management".

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::forward::forward;
use super::{Heads, Plan, Verb, Who, answer, error, unknown_method};
use crate::envelope::{self, Envelope};
use crate::gateway::Gateway;
use crate::gateway::answer::{Answer, INVALID_PARAMS, INVALID_REQUEST};
use crate::gateway::sessions::Session;
use crate::manager::ListKind;
use crate::translate::members;

pub(super) fn legacy(
    gateway: &Gateway,
    heads: &Heads<'_>,
    body: &[u8],
    env: &Envelope,
    method: &str,
) -> Plan {
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
    if let (Some(id), "ping", false) = (id, method, heads.layer) {
        return answer(Answer::result(id, b"{}")); // it may come before the handshake (lifecycle, "Initialization")
    }
    let session = match gateway.known(heads.version, heads.session, id, heads.principal) {
        Ok(session) => session,
        Err(refused) => return Plan::Answer(refused),
    };
    let Some(id) = id else {
        if !env.complete {
            return Plan::Whole;
        }
        notified(&session, body, env, method);
        return answer(Answer::accepted());
    };
    if let Some(kind) = ListKind::of_method(method) {
        return Plan::List(kind, id.into(), Who::Legacy(session));
    }
    match (method, Verb::of(method)) {
        (_, Some(verb)) => forward(gateway, body, env, verb, id, Who::Legacy(session)),
        ("resources/subscribe" | "resources/unsubscribe", _) => Plan::Subscribe {
            id: id.into(),
            session,
            on: method == "resources/subscribe",
        },
        ("ping", _) => answer(Answer::result(id, b"{}")),
        ("logging/setLevel", _) => level(id, session, body, env),
        _ => unknown_method(200, id, method),
    }
}

/// What a client tells.
fn notified(session: &Session, body: &[u8], env: &Envelope, method: &str) {
    match method {
        "notifications/cancelled" => {
            let id = env.members.request_id;
            if let Some(flight) = id.and_then(|span| session.find(span.of(body))) {
                flight.cancelled.store(true, Relaxed);
                flight.wake.notify_one();
            }
        }
        "notifications/progress" => session.asked.progressed(body, env),
        "notifications/roots/list_changed" => session.tell_all(body),
        _ => {}
    }
}

/// The levels of RFC 5424, by which servers log.
const LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

fn level(id: &[u8], session: Arc<Session>, body: &[u8], env: &Envelope) -> Plan {
    if !env.complete {
        return Plan::Whole;
    }
    let params = env.params.filter(|_| env.members.open.is_some());
    let wanted = params.and_then(|span| {
        let params = span.of(body);
        let at = members::value_of(params, b"\"level\"").ok().flatten()?;
        envelope::text(at.of(params)).map(std::borrow::Cow::into_owned)
    });
    let Some(wanted) = wanted.filter(|wanted| LEVELS.contains(&wanted.as_str())) else {
        let message = format!(
            "params.level must be one of {}; send one",
            LEVELS.join(", ")
        );
        return error(200, Some(id), INVALID_PARAMS, &message);
    };
    Plan::Level(id.into(), session, wanted.into_boxed_str())
}
