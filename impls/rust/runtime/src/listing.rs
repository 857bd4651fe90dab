//! Lists over all servers: every page, concurrently, each server within its own time.
//!
//! The rule: a list has one deadline, however many pages it has; of several servers, none delays or breaks the others:
//! one that fails or is late is left out and named in `missing`. The order is that of registration.

mod index;
mod items;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::envelope;
use crate::error::{Error, Result};
use crate::info::Era;
use crate::manager::ListKind;
use crate::principal::Principal;
use crate::translate;
use crate::upstream::{Caller, Outgoing, Server};
pub(crate) use index::index;
pub(crate) use items::Item;

/// A server that pages for ever is cut here.
const MAX_PAGES: usize = 1_000;
/// How long a list of several servers waits for one of them, if `timeoutMs` does not say less.
const TOGETHER: Duration = Duration::from_secs(5);
const METHOD_NOT_FOUND: i64 = -32601;

/// What several servers list, and the names of those that did not answer.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) items: Vec<Item>,
    pub(crate) missing: Vec<String>,
}

impl ListKind {
    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Resources => "resources/list",
            Self::ResourceTemplates => "resources/templates/list",
            Self::Prompts => "prompts/list",
        }
    }

    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Resources => "resources",
            Self::ResourceTemplates => "resourceTemplates",
            Self::Prompts => "prompts",
        }
    }

    pub(crate) fn of_method(method: &str) -> Option<Self> {
        [
            Self::Tools,
            Self::Resources,
            Self::ResourceTemplates,
            Self::Prompts,
        ]
        .into_iter()
        .find(|kind| kind.method() == method)
    }

    fn capability(self) -> &'static str {
        match self {
            Self::Tools => "\"tools\"",
            Self::Prompts => "\"prompts\"",
            Self::Resources | Self::ResourceTemplates => "\"resources\"",
        }
    }

    fn is_named(self) -> bool {
        matches!(self, Self::Tools | Self::Prompts)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    next_cursor: Option<String>,
}

/// Reads every page of one server.
pub(crate) async fn read(
    server: &Arc<Server>,
    kind: ListKind,
    prefix: bool,
    caller: Caller<'_>,
    deadline: Instant,
) -> Result<Vec<Item>> {
    let _pass = server.let_in(kind.method(), None, caller.principal)?;
    let agreed = match server.agreed() {
        Some(agreed) => agreed,
        None => server.ready(deadline).await?,
    };
    if !offers(agreed.capabilities.as_deref(), kind) {
        return Ok(Vec::new());
    }
    let mut items = Vec::new();
    let mut params = b"{}".to_vec();
    for _ in 0..MAX_PAGES {
        let outgoing = Outgoing {
            method: kind.method(),
            params: &params,
            name: None,
            caller,
            lines: b"",
            deadline,
        };
        let result = match server.answer(outgoing).await {
            Err(Error::Remote { fault, .. }) if fault.code == METHOD_NOT_FOUND => {
                return Ok(Vec::new());
            }
            outcome => outcome?,
        };
        items::take_page(server, kind, prefix, &result, &mut items)?;
        let page: Page = serde_json::from_slice(&result)
            .map_err(|error| broken(server, kind, &error.to_string()))?;
        // To 2026-07-28 an empty cursor is one like any other (server/utilities/pagination). Earlier revisions do not
        // say, and servers of theirs send one behind the last page, for which an endless list is no answer.
        let ends = |cursor: &String| cursor.is_empty() && agreed.era == Era::Legacy;
        let Some(cursor) = page.next_cursor.filter(|cursor| !ends(cursor)) else {
            return Ok(items);
        };
        params = b"{\"cursor\":".to_vec();
        translate::push_json_string(&mut params, &cursor);
        params.push(b'}');
    }
    Err(broken(server, kind, "more pages than anybody reads"))
}

pub(crate) fn offers(capabilities: Option<&RawValue>, kind: ListKind) -> bool {
    // A server that announced nothing at all is asked; one that announced other things is not.
    let Some(raw) = capabilities else { return true };
    let mut found = false;
    let walked = envelope::members(raw.get().as_bytes(), |key, _| {
        found |= key == kind.capability().as_bytes();
    });
    found || walked.is_err()
}

fn broken(server: &Server, kind: ListKind, why: &str) -> Error {
    Error::ProtocolViolation {
        message: format!(
            "server '{}' answered {} with no valid list ({why}); check the server",
            server.name(),
            kind.method()
        ),
        server: server.name().to_owned(),
    }
}

/// Reads one kind from several servers at once, in their order.
pub(crate) async fn read_all(
    servers: &[Arc<Server>],
    kind: ListKind,
    prefix: bool,
    capabilities: &Arc<[u8]>,
    principal: Principal<'_>,
) -> Listing {
    // Every server asks for itself, in a task of its own: the text is what can be shared.
    let principal: Arc<str> = principal.text().into();
    let mut tasks = tokio::task::JoinSet::new();
    for (index, server) in servers.iter().enumerate() {
        let server = Arc::clone(server);
        let capabilities = Arc::clone(capabilities);
        let principal = Arc::clone(&principal);
        tasks.spawn(async move {
            let deadline = server.deadline(None).min(Instant::now() + TOGETHER);
            let caller = Caller {
                capabilities: &capabilities,
                principal: Principal::Named(&principal),
                ..Caller::default()
            };
            let outcome = read(&server, kind, prefix, caller, deadline).await;
            if let Err(error) = &outcome {
                server.shared.metrics.error(error.code());
            }
            (index, outcome)
        });
    }
    let mut parts: Vec<Option<Vec<Item>>> = servers.iter().map(|_| None).collect();
    while let Some(done) = tasks.join_next().await {
        if let Ok((index, outcome)) = done {
            parts[index] = outcome.ok();
        }
    }
    let mut found = Listing::default();
    for (server, part) in servers.iter().zip(parts) {
        if let Some(items) = part {
            found.items.extend(items);
        } else {
            server.interest.missed(kind);
            found.missing.push(server.name().to_owned());
        }
    }
    found
}
