//! Lists over all servers: every page, concurrently, names exposed, every other byte of an item untouched.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::annotations::{self, Annotation};
use crate::config::TransportKind;
use crate::envelope::{self, Span};
use crate::error::{Error, Result};
use crate::manager::ListKind;
use crate::names;
use crate::translate::{self, Edit};
use crate::upstream::catalog::Index;
use crate::upstream::{Caller, Outgoing, Server};

/// A server that pages for ever is cut here.
const MAX_PAGES: usize = 1_000;

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

/// One listed item.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) server: Arc<Server>,
    /// The server's own name for it.
    pub(crate) own: String,
    /// The name clients use.
    pub(crate) name: String,
    /// The definition, with the exposed name.
    pub(crate) data: Vec<u8>,
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
        let result = server.call(outgoing).await?;
        take_page(server, kind, prefix, &result, &mut items)?;
        let page: Page = serde_json::from_slice(&result)
            .map_err(|error| broken(server, kind, &error.to_string()))?;
        let Some(cursor) = page.next_cursor.filter(|cursor| !cursor.is_empty()) else {
            break;
        };
        params = b"{\"cursor\":".to_vec();
        translate::push_json_string(&mut params, &cursor);
        params.push(b'}');
    }
    Ok(items)
}

fn offers(capabilities: Option<&RawValue>, kind: ListKind) -> bool {
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

fn take_page(
    server: &Arc<Server>,
    kind: ListKind,
    prefix: bool,
    result: &Bytes,
    items: &mut Vec<Item>,
) -> Result<()> {
    let fault = |what: &str| broken(server, kind, what);
    let wanted = format!("\"{}\"", kind.key());
    let mut list: Option<Span> = None;
    envelope::members(result, |key, value| {
        if key == wanted.as_bytes() {
            list = Some(value);
        }
    })
    .map_err(|_| fault("not a JSON object"))?;
    let list = list
        .ok_or_else(|| fault(&format!("no {wanted} in it")))?
        .of(result);
    let mut bad = None;
    envelope::elements(list, |span| {
        match item(server, kind, prefix, span.of(list)) {
            Ok(item) => items.extend(item),
            Err(what) => bad = Some(what),
        }
    })
    .map_err(|_| fault("the list is no array"))?;
    bad.map_or(Ok(()), |what| Err(fault(what)))
}

fn item(
    server: &Arc<Server>,
    kind: ListKind,
    prefix: bool,
    raw: &[u8],
) -> std::result::Result<Option<Item>, &'static str> {
    let mut name: Option<Span> = None;
    envelope::members(raw, |key, value| {
        if key == b"\"name\"" {
            name = Some(value);
        }
    })
    .map_err(|_| "an item is no object")?;
    let own = name
        .and_then(|span| envelope::text(span.of(raw)))
        .unwrap_or_default()
        .into_owned();
    if !kind.is_named() {
        return Ok(Some(Item {
            server: Arc::clone(server),
            name: own.clone(),
            own,
            data: raw.to_vec(),
        }));
    }
    if kind == ListKind::Tools && drops(server, raw) {
        return Ok(None);
    }
    let at = name
        .filter(|_| !own.is_empty())
        .ok_or("an item has no name")?;
    let exposed = names::expose(prefix, server.name(), &own).into_owned();
    let mut token = Vec::with_capacity(exposed.len() + 2);
    translate::push_json_string(&mut token, &exposed);
    let mut data = Vec::with_capacity(raw.len() + 48);
    translate::splice(
        raw,
        &[Edit {
            at,
            with: token.into(),
        }],
        &mut data,
    );
    Ok(Some(Item {
        server: Arc::clone(server),
        own,
        name: exposed,
        data,
    }))
}

/// Annotations of a definition: of the tool's own name, the header lines it wants.
fn annotations_of(definition: &[u8]) -> Option<Vec<Annotation>> {
    let definition: Value = serde_json::from_slice(definition).ok()?;
    annotations::read(&definition["inputSchema"])
}

/// Whether a tool cannot be offered, because nobody could send the headers that it asks for.
fn drops(server: &Server, definition: &[u8]) -> bool {
    server.spec().transport() == TransportKind::Http
        && annotations::suspected(definition)
        && annotations_of(definition).is_none()
}

/// Reads one kind from several servers at once, in their order; a server that fails is left out.
pub(crate) async fn read_all(
    servers: &[Arc<Server>],
    kind: ListKind,
    prefix: bool,
    capabilities: &Arc<[u8]>,
) -> Vec<Item> {
    let mut tasks = tokio::task::JoinSet::new();
    for (index, server) in servers.iter().enumerate() {
        let server = Arc::clone(server);
        let capabilities = Arc::clone(capabilities);
        tasks.spawn(async move {
            let deadline = server.deadline(None);
            let caller = Caller {
                capabilities: &capabilities,
                ..Caller::default()
            };
            let outcome = read(&server, kind, prefix, caller, deadline).await;
            if let Err(error) = &outcome {
                server.shared.metrics.error(error.code());
            }
            (index, outcome.unwrap_or_default())
        });
    }
    let mut lists: Vec<Vec<Item>> = servers.iter().map(|_| Vec::new()).collect();
    while let Some(done) = tasks.join_next().await {
        if let Ok((index, items)) = done {
            lists[index] = items;
        }
    }
    lists.into_iter().flatten().collect()
}

/// The index of a server's URIs and shortened names, read anew if it is not fresh.
pub(crate) async fn index(server: &Arc<Server>, prefix: bool) -> Arc<Index> {
    if let Some(index) = server.catalog.get() {
        return index;
    }
    let deadline = server.deadline(None);
    let all = |kind| read(server, kind, prefix, Caller::default(), deadline);
    let (resources, templates, tools, prompts) = tokio::join!(
        all(ListKind::Resources),
        all(ListKind::ResourceTemplates),
        all(ListKind::Tools),
        all(ListKind::Prompts)
    );
    let field = |item: &Item, key: &str| {
        let mut found = None;
        let _ = envelope::members(&item.data, |name, value| {
            if name == key.as_bytes() {
                found = envelope::text(value.of(&item.data)).map(std::borrow::Cow::into_owned);
            }
        });
        found
    };
    let tools = tools.unwrap_or_default();
    let annotated = tools
        .iter()
        .filter(|item| annotations::suspected(&item.data))
        .filter_map(|item| Some((item.own.clone(), annotations_of(&item.data)?)))
        .collect();
    let named = tools.into_iter().chain(prompts.unwrap_or_default());
    server.catalog.set(Index {
        uris: resources
            .unwrap_or_default()
            .iter()
            .filter_map(|item| field(item, "\"uri\""))
            .collect(),
        templates: templates
            .unwrap_or_default()
            .iter()
            .filter_map(|item| field(item, "\"uriTemplate\""))
            .collect(),
        shortened: named
            .filter(|item| names::is_shortened(&item.name))
            .map(|item| (item.name, item.own))
            .collect(),
        annotated,
        read: Instant::now(),
    })
}
