//! Requests to one server that are no relay: translated, asked by the manager, and the answer put into the client's form.
//!
//! The rule: what a client's revision does not know is translated here and nowhere else: rounds of input, results that
//! need more members, errors with another number, and the HTTP status that goes with them.

use std::sync::Arc;

use super::Gateway;
use super::answer::{Answer, HEADER_MISMATCH, push_failure, push_result};
use super::dispatch::{Forward, Plan, Verb, Who};
use super::voice::{Manner, Voice};
use super::work::{Ask, capabilities};
use super::{asking, inputs, mirrored, suspended};
use crate::envelope::{Envelope, Span, text};
use crate::error::{Error, RemoteFault, Result};
use crate::info::Era;
use crate::listing;
use crate::route::{self, Routed};
use crate::translate::{self, Edit, codes, progress, rounds};
use crate::upstream::{Caller, Outgoing, Pass};

/// The voice of a request: where goes what is said before its answer.
pub(crate) fn voice(gateway: &Gateway, plan: &Plan, body: &[u8], env: &Envelope) -> Arc<Voice> {
    let limit = gateway.input_limit();
    let Plan::Forward(Forward { who, .. }) = plan else {
        return Voice::new(None, false, Manner::Nobody, limit);
    };
    let params = env.params.map(|span| span.of(body));
    let token = params.and_then(progress::asked_for);
    match who {
        Who::Modern(_) => {
            let logs = level(who, body, env).is_some();
            Voice::new(token, logs, Manner::Nobody, limit)
        }
        Who::Legacy(session) => {
            Voice::new(token, true, Manner::Session(Arc::clone(session)), limit)
        }
    }
}

/// The least level of log messages that the client wants.
fn level(who: &Who, body: &[u8], env: &Envelope) -> Option<Arc<str>> {
    match who {
        Who::Legacy(session) => session.level(),
        Who::Modern(_) => {
            let meta = env.members.meta?.of(body);
            let log = translate::hop_meta(meta).ok()?.log?;
            text(log.of(meta)).map(|level| (*level).into())
        }
    }
}

/// `clientInfo` of a stateless client.
fn info<'a>(who: &Who, body: &'a [u8], env: &Envelope) -> Option<&'a [u8]> {
    let Who::Modern(_) = who else { return None };
    let meta = env.members.meta?.of(body);
    let info = translate::hop_meta(meta).ok()?.info?.of(meta);
    (info.first() == Some(&b'{')).then_some(info)
}

pub(super) async fn call(
    gateway: &Gateway,
    forward: &Forward,
    body: &[u8],
    env: &Envelope,
    ask: Ask<'_>,
) -> Answer {
    match attempt(gateway, forward, body, env, ask).await {
        Ok(answer) => answer,
        Err(error) => failed(gateway, forward, error),
    }
}

fn failed(gateway: &Gateway, forward: &Forward, mut error: Error) -> Answer {
    gateway.manager.shared.metrics.error(error.code());
    let mut status = 200;
    if forward.who.is_modern() {
        if let Error::Remote { fault, .. } = &mut error {
            let method = forward.verb.method();
            fault.raw = codes::error_to_modern(method, &fault.raw)
                .into_owned()
                .into();
            fault.code = codes::code_to_modern(method, fault.code);
        }
        status = codes::http_status(error.rpc_code());
    }
    let mut out = Vec::new();
    push_failure(&mut out, &forward.id, &error);
    Answer::new(status, out)
}

async fn attempt(
    gateway: &Gateway,
    forward: &Forward,
    body: &[u8],
    env: &Envelope,
    ask: Ask<'_>,
) -> Result<Answer> {
    let method = forward.verb.method();
    let searched;
    let routed: &Routed = if let Some(routed) = &forward.routed {
        routed
    } else {
        let subject = route::subject(method, body, &env.members)?;
        let servers = gateway.manager.registry.load().servers.clone();
        searched = route::search_subject(&gateway.manager, method, &subject, &servers).await?;
        &searched
    };
    let server = &routed.server;
    let _pass = if forward.let_in {
        Pass::default()
    } else {
        server.let_in(method, routed.name.as_deref(), ask.principal)?
    };
    let deadline = server.deadline(None);
    let agreed = match server.agreed() {
        Some(agreed) => Some(agreed),
        // What a request says of rounds means one thing to one era and another to the other.
        None if forward.who.is_modern() && rounds::may_ask(method) => {
            Some(server.ready(deadline).await?)
        }
        None => None,
    };
    let legacy_server = agreed.is_none_or(|agreed| agreed.era == Era::Legacy);
    let asked = env.params.unwrap_or(Span { start: 0, end: 0 });
    let params = own_params(routed, asked, body);
    let (level, capabilities) = (
        level(&forward.who, body, env),
        capabilities(&forward.who, body),
    );
    let modern = forward.who.is_modern();
    let can_be_asked = modern && rounds::may_ask(method) && asking::is_asked(capabilities);
    if !modern && !legacy_server && method == "tools/call" && server.spec().command.is_none() {
        // A legacy client repeats no arguments in headers; the server's list says which of them it wants there.
        Box::pin(listing::index(server, gateway.manager.gateway.prefix)).await;
    }
    if modern
        && let (Verb::Call, Some(sent), Some(tool)) = (forward.verb, ask.sent, &routed.name)
        && let prefix = gateway.manager.gateway.prefix
        && let Some(why) = mirrored::mismatch(server, prefix, tool, &params, sent).await
    {
        return Ok(Answer::rpc_error(
            400,
            Some(&forward.id),
            HEADER_MISMATCH,
            &why,
        ));
    }
    let outgoing = Outgoing {
        method,
        params: &params,
        name: routed.name.as_deref(),
        caller: Caller {
            capabilities,
            cancels: ask.cancels,
            principal: ask.principal,
            session: forward.who.session(),
            alone: modern && (can_be_asked || level.is_some()),
            info: info(&forward.who, body, env),
            level: level.as_deref(),
            voice: Some(ask.voice),
        },
        lines: b"",
        deadline,
    };
    let result = if modern && legacy_server && rounds::may_ask(method) {
        let asked = asked.of(body);
        suspended::call(gateway, server, outgoing, asked, can_be_asked).await?
    } else {
        let result = gateway.manager.ask(server, outgoing).await?;
        match forward.who.session() {
            Some(session) if rounds::is_input_required(&result) => {
                Box::pin(inputs::go_on(gateway, server, outgoing, session, result)).await?
            }
            _ => result,
        }
    };
    let mut out = Vec::with_capacity(result.len() + 96);
    if modern && legacy_server {
        let mut translated = Vec::with_capacity(result.len() + 64);
        translate::result_to_modern(method, &result, &mut translated).map_err(|_| {
            Error::ProtocolViolation {
                message: format!(
                    "server '{}' answered {method} with no JSON object; check the server",
                    server.name()
                ),
                server: server.name().to_owned(),
            }
        })?;
        push_result(&mut out, &forward.id, &translated);
    } else {
        push_result(&mut out, &forward.id, &result);
    }
    Ok(Answer::new(200, out))
}

/// The params of a request with the server's own name in them.
fn own_params(routed: &Routed, at: Span, body: &[u8]) -> Vec<u8> {
    let mut params = Vec::with_capacity(at.end - at.start);
    // Edits count from the start of the body, `params` does not.
    let edit = routed.edit.as_ref().map(|edit| Edit {
        at: Span {
            start: edit.at.start - at.start,
            end: edit.at.end - at.start,
        },
        with: edit.with.clone(),
    });
    translate::splice(at.of(body), edit.as_slice(), &mut params);
    params
}

/// An error with a number of its own, as a server would have answered it.
pub(in crate::gateway) fn fault(
    server: &str,
    code: i64,
    message: &str,
    data: Option<&str>,
) -> Error {
    let mut raw = format!("{{\"code\":{code},\"message\":").into_bytes();
    translate::push_json_string(&mut raw, message);
    if let Some(data) = data {
        raw.extend_from_slice(b",\"data\":");
        raw.extend_from_slice(data.as_bytes());
    }
    raw.push(b'}');
    Error::Remote {
        fault: Box::new(RemoteFault {
            code,
            message: message.to_owned(),
            data: data.map(|data| data.to_owned().into()),
            raw: raw.into(),
        }),
        server: server.to_owned(),
    }
}
