//! Requests that the gateway answers by asking the manager: lists, discovery, handshakes, and calls that are no relay.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::{Map, Value};

use super::answer::{Answer, INVALID_PARAMS, push_failure, push_result};
use super::dispatch::{Forward, Plan, Who};
use super::voice::{Manner, Voice};
use super::{Gateway, listen};
use crate::envelope::{self, Envelope, Span};
use crate::error::Result;
use crate::info::Era;
use crate::manager::ListKind;
use crate::principal::Principal;
use crate::route::{self, Routed};
use crate::translate::{self, Edit, LEGACY, MODERN, NAME, SERVER_INFO_KEY, VERSION};
use crate::upstream::{Caller, Outgoing, Pass, Server, token_of};

/// The key of `_meta` under which a list names the servers that are missing in it.
const PARTIAL: &str = "io.crossfade/partial";
/// How long a handshake waits for servers that are not connected yet.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who waits for the work, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) cancels: Option<&'a AtomicBool>,
    pub(crate) principal: Principal<'a>,
    pub(crate) voice: &'a Arc<Voice>,
}

/// The voice of a request: where goes what is said before its answer.
pub(crate) fn voice(plan: &Plan, body: &[u8], env: &Envelope) -> Arc<Voice> {
    let Plan::Forward(Forward { who, .. }) = plan else {
        return Voice::new(None, false, Manner::Nobody);
    };
    let params = env.params.map(|span| span.of(body));
    let token = params.and_then(|params| Some(token_of(params)?.of(params)));
    match who {
        Who::Modern(_) => Voice::new(token, wants_logs(body, env), Manner::Nobody),
        Who::Legacy(session) => Voice::new(token, true, Manner::Session(Arc::clone(session))),
    }
}

/// Whether a request of the stateless revision asks for log messages.
fn wants_logs(body: &[u8], env: &Envelope) -> bool {
    let meta = env.members.meta.map(|span| span.of(body));
    meta.is_some_and(|meta| translate::hop_meta(meta).is_ok_and(|hop| hop.log.is_some()))
}

/// Does what a plan says. `body` is the whole message.
pub(crate) async fn run(
    gateway: &Gateway,
    plan: Plan,
    body: &[u8],
    env: &Envelope,
    ask: Ask<'_>,
) -> Answer {
    match plan {
        Plan::Answer(answer) => *answer,
        Plan::Whole => Answer::refusal(400, "the body ends inside the message; send all of it"),
        Plan::List(kind, id, who) => list(gateway, kind, &id, &who, body, ask.principal).await,
        Plan::Discover(id) => discover(gateway, &id).await,
        Plan::Listen(id) => Answer::rpc_error(
            200,
            Some(&id),
            INVALID_PARAMS,
            "a subscription has no single answer; open a stream for it",
        ),
        Plan::Subscribe { id, session, on } => {
            Box::pin(listen::subscribe(gateway, &session, &id, on, body, env)).await
        }
        Plan::Initialize(id) => initialize(gateway, &id, body, env).await,
        Plan::Forward(forward) => call(gateway, &forward, body, env, ask).await,
    }
}

fn capabilities<'a>(who: &'a Who, body: &'a [u8]) -> &'a [u8] {
    match who {
        Who::Modern(span) => span.of(body),
        Who::Legacy(session) => &session.capabilities,
    }
}

// -- calls

async fn call(
    gateway: &Gateway,
    forward: &Forward,
    body: &[u8],
    env: &Envelope,
    ask: Ask<'_>,
) -> Answer {
    match attempt(gateway, forward, body, env, ask).await {
        Ok(answer) => answer,
        Err(error) => {
            gateway.manager.shared.metrics.error(error.code());
            let mut out = Vec::new();
            push_failure(&mut out, &forward.id, &error);
            Answer::new(200, out)
        }
    }
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
    let _pass = if forward.let_in {
        Pass::default()
    } else {
        routed
            .server
            .let_in(method, routed.name.as_deref(), ask.principal)?
    };
    let at = env.params.unwrap_or(Span { start: 0, end: 0 });
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
    let outgoing = Outgoing {
        method,
        params: &params,
        name: routed.name.as_deref(),
        caller: Caller {
            capabilities: capabilities(&forward.who, body),
            cancels: ask.cancels,
            principal: ask.principal,
            session: forward.who.session(),
            voice: Some(ask.voice),
        },
        lines: b"",
        deadline: routed.server.deadline(None),
    };
    let result = gateway.manager.ask(&routed.server, outgoing).await?;
    let legacy_server = routed
        .server
        .agreed()
        .is_none_or(|agreed| agreed.era == Era::Legacy);
    let mut out = Vec::with_capacity(result.len() + 96);
    if forward.who.is_modern() && legacy_server {
        let mut translated = Vec::with_capacity(result.len() + 64);
        translate::result_to_modern(method, &result, &mut translated).map_err(|_| {
            crate::Error::ProtocolViolation {
                message: format!(
                    "server '{}' answered {method} with no JSON object; check the server",
                    routed.server.name()
                ),
                server: routed.server.name().to_owned(),
            }
        })?;
        push_result(&mut out, &forward.id, &translated);
    } else {
        push_result(&mut out, &forward.id, &result);
    }
    Ok(Answer::new(200, out))
}

// -- lists

async fn list(
    gateway: &Gateway,
    kind: ListKind,
    id: &[u8],
    who: &Who,
    body: &[u8],
    principal: Principal<'_>,
) -> Answer {
    let found = match gateway
        .manager
        .collect(kind, None, capabilities(who, body), principal)
        .await
    {
        Ok(found) => found,
        Err(error) => return Answer::failure(id, &error),
    };
    let mut result = b"{".to_vec();
    if who.is_modern() {
        // What several servers said about freshness has no common truth but the strictest.
        result.extend_from_slice(
            b"\"resultType\":\"complete\",\"ttlMs\":0,\"cacheScope\":\"private\",",
        );
    }
    if !found.missing.is_empty() {
        let partial = serde_json::json!({PARTIAL: found.missing});
        result.extend_from_slice(format!("\"_meta\":{partial},").as_bytes());
    }
    result.extend_from_slice(format!("\"{}\":[", kind.key()).as_bytes());
    for (index, item) in found.items.iter().enumerate() {
        if index > 0 {
            result.push(b',');
        }
        result.extend_from_slice(&item.data);
    }
    result.extend_from_slice(b"]}");
    Answer::result(id, &result)
}

// -- handshakes

/// Connects what is not connected, so that the handshake can speak for it; whoever is late is left out.
async fn connected(gateway: &Gateway) -> Vec<Arc<Server>> {
    let servers = gateway.manager.registry.load().servers.clone();
    let waiting: Vec<_> = servers
        .iter()
        .filter(|server| server.agreed().is_none())
        .cloned()
        .collect();
    if !waiting.is_empty() {
        let mut tasks = tokio::task::JoinSet::new();
        for server in waiting {
            tasks.spawn(async move { server.connect().await });
        }
        let _ = tokio::time::timeout(PATIENCE, async {
            while tasks.join_next().await.is_some() {}
        })
        .await;
        tasks.detach_all();
    }
    servers
}

/// The union of what the servers offer, as far as the gateway passes it on.
fn union(servers: &[Arc<Server>]) -> Value {
    let mut all = Map::new();
    for agreed in servers.iter().filter_map(|server| server.agreed()) {
        let Some(raw) = &agreed.capabilities else {
            continue;
        };
        let Ok(Value::Object(found)) = serde_json::from_str(raw.get()) else {
            continue;
        };
        for key in ["tools", "prompts", "resources", "completions", "logging"] {
            let Some(theirs) = found.get(key) else {
                continue;
            };
            let ours = all.entry(key).or_insert_with(|| Value::Object(Map::new()));
            // Lists change with the registry, whatever the server says of its own.
            if matches!(key, "tools" | "prompts" | "resources") {
                ours["listChanged"] = Value::Bool(true);
            }
            if key == "resources" && theirs.get("subscribe") == Some(&Value::Bool(true)) {
                ours["subscribe"] = Value::Bool(true);
            }
        }
    }
    Value::Object(all)
}

fn instructions(servers: &[Arc<Server>]) -> Option<String> {
    let said: Vec<_> = servers
        .iter()
        .filter_map(|server| server.agreed())
        .filter_map(|agreed| agreed.instructions.clone())
        .collect();
    (!said.is_empty()).then(|| said.join("\n\n"))
}

async fn discover(gateway: &Gateway, id: &[u8]) -> Answer {
    let servers = connected(gateway).await;
    let mut versions = vec![MODERN];
    versions.extend(LEGACY);
    let mut result = serde_json::json!({
        "resultType": "complete",
        "supportedVersions": versions,
        "capabilities": union(&servers),
        "_meta": {SERVER_INFO_KEY: {"name": NAME, "version": VERSION}},
        "ttlMs": 0,
        "cacheScope": "private",
    });
    if let Some(said) = instructions(&servers) {
        result["instructions"] = said.into();
    }
    Answer::result(id, result.to_string().as_bytes())
}

async fn initialize(gateway: &Gateway, id: &[u8], body: &[u8], env: &Envelope) -> Answer {
    let Some(params) = env.params.filter(|_| env.members.open.is_some()) else {
        return Answer::rpc_error(
            200,
            Some(id),
            INVALID_PARAMS,
            "initialize needs params with protocolVersion; send them",
        );
    };
    let params = params.of(body);
    let (mut wanted, mut capabilities) = (None, None);
    let _ = envelope::members(params, |key, value| match key {
        b"\"protocolVersion\"" => wanted = envelope::text(value.of(params)),
        b"\"capabilities\"" if value.of(params).first() == Some(&b'{') => {
            capabilities = Some(value.of(params));
        }
        _ => {}
    });
    let version = LEGACY
        .into_iter()
        .find(|known| wanted.as_deref() == Some(*known))
        .unwrap_or(LEGACY[0]);
    let servers = connected(gateway).await;
    let session = gateway.sessions.create(
        capabilities.unwrap_or(b"{}"),
        version,
        &gateway.manager.shared.metrics,
    );
    let mut result = serde_json::json!({
        "protocolVersion": version,
        "capabilities": union(&servers),
        "serverInfo": {"name": NAME, "version": VERSION},
    });
    if let Some(said) = instructions(&servers) {
        result["instructions"] = said.into();
    }
    let mut answer = Answer::result(id, result.to_string().as_bytes());
    answer.session = Some(session.id.clone());
    answer
}
