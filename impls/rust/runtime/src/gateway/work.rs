//! Requests that the gateway answers by asking the manager: lists, discovery, handshakes, and calls that are no relay.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::{Map, Value};

use super::answer::{Answer, INVALID_PARAMS, INVALID_REQUEST};
use super::dispatch::{Plan, Who};
use super::mirrored::Sent;
use super::sessions::Guest;
use super::voice::Voice;
use super::{Gateway, calling, listen, paging};
use crate::envelope::{self, Envelope};
use crate::manager::ListKind;
use crate::principal::Principal;
use crate::translate::{LEGACY, MODERN, NAME, SERVER_INFO_KEY, VERSION, session};
use crate::upstream::Server;

/// The key of `_meta` under which a list names the servers that are missing in it.
const PARTIAL: &str = "io.crossfade/partial";
/// How long a handshake waits for servers that are not connected yet.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who waits for the work, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) cancels: Option<&'a AtomicBool>,
    pub(crate) principal: Principal<'a>,
    /// On HTTP.
    pub(crate) sent: Option<Sent<'a>>,
    pub(crate) voice: &'a Arc<Voice>,
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
        Plan::List(kind, id, who) => list(gateway, kind, &id, &who, body, env, ask.principal).await,
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
        Plan::Initialize(id) => initialize(gateway, &id, body, env, ask.principal).await,
        Plan::Level(id, session, level) => {
            session.set_level(&level).await;
            Answer::result(&id, b"{}")
        }
        Plan::Forward(forward) => calling::call(gateway, &forward, body, env, ask).await,
    }
}

pub(super) fn capabilities<'a>(who: &'a Who, body: &'a [u8]) -> &'a [u8] {
    match who {
        Who::Modern(span) => span.of(body),
        Who::Legacy(session) => &session.capabilities,
    }
}

// -- lists

async fn list(
    gateway: &Gateway,
    kind: ListKind,
    id: &[u8],
    who: &Who,
    body: &[u8],
    env: &Envelope,
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
    let cut = match paging::cut(
        kind,
        &found.items,
        body,
        env,
        gateway.manager.gateway.page_size,
    ) {
        Ok(cut) => cut,
        Err(why) => return Answer::rpc_error(200, Some(id), INVALID_PARAMS, why),
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
    for (index, item) in found.items[cut.start..cut.end].iter().enumerate() {
        if index > 0 {
            result.push(b',');
        }
        result.extend_from_slice(&item.data);
    }
    result.push(b']');
    if let Some(cursor) = cut.following {
        result.extend_from_slice(format!(",\"nextCursor\":\"{cursor}\"").as_bytes());
    }
    result.push(b'}');
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

async fn initialize(
    gateway: &Gateway,
    id: &[u8],
    body: &[u8],
    env: &Envelope,
    principal: Principal<'_>,
) -> Answer {
    let params = env.params.map(|span| span.of(body));
    let (Some(params), Some(version)) = (params, session::agree(params)) else {
        return Answer::rpc_error(
            200,
            Some(id),
            INVALID_PARAMS,
            "initialize needs params with protocolVersion; send them",
        );
    };
    let (mut capabilities, mut info) = (None, None);
    let _ = envelope::members(params, |key, value| match key {
        b"\"capabilities\"" if value.of(params).first() == Some(&b'{') => {
            capabilities = Some(value.of(params));
        }
        b"\"clientInfo\"" if value.of(params).first() == Some(&b'{') => {
            info = Some(value.of(params));
        }
        _ => {}
    });
    let servers = connected(gateway).await;
    let guest = Guest {
        principal,
        version,
        capabilities: capabilities.unwrap_or(b"{}"),
        info,
    };
    let Some(session) = gateway.open_session(&guest) else {
        let most = gateway.manager.gateway.max_sessions;
        let why = format!("all {most} sessions are in use; end one, or raise gateway.maxSessions");
        return Answer::rpc_error(503, Some(id), INVALID_REQUEST, &why);
    };
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
