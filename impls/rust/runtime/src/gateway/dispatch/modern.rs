//! Messages of the stateless revision: everything that is needed stands in the message.
//!
//! The rule: `params._meta` names revision and capabilities, and headers that repeat the body must equal it; only then
//! is the method looked at. Source: 2026-07-28 streamable-http "Server Validation".

use super::forward::forward;
use super::{Heads, Plan, Verb, Who, answer, unknown_method};
use crate::envelope::Envelope;
use crate::gateway::Gateway;
use crate::gateway::answer::Answer;
use crate::manager::ListKind;
use crate::translate::session::{self as rules, Modern, Repeated, Said};

pub(super) fn modern(
    gateway: &Gateway,
    heads: &Heads<'_>,
    body: &[u8],
    env: &Envelope,
    said: &Said<'_>,
) -> Plan {
    // Only a request is answered by its id.
    let (id, method) = match (env.id, said.method.as_deref()) {
        (Some(at), Some(method)) => (Some(at.of(body)), method),
        (_, method) => (None, method.unwrap_or_default()),
    };
    let headers = heads.layer.then_some(Repeated {
        version: heads.version,
        method: heads.method,
        name: heads.name,
    });
    let capabilities = match rules::modern(headers, body, env, said) {
        Ok(Modern::Request(capabilities)) => capabilities,
        Ok(Modern::Notification) => return answer(Answer::accepted()),
        Ok(Modern::Whole) => return Plan::Whole,
        Err(refusal) => return answer(Answer::refused(id, &refusal)),
    };
    let id = id.unwrap_or_default();
    let who = Who::Modern(capabilities);
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
