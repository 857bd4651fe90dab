//! The items of one page: what the server's filters show of it, under the names that clients use.
//!
//! The rule: every byte of an item but its name stays as it was.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::annotations::{self, Annotation};
use crate::config::TransportKind;
use crate::envelope::{self, Span};
use crate::error::{Error, Result};
use crate::filters::Shown;
use crate::manager::ListKind;
use crate::names;
use crate::translate::{self, Edit};
use crate::upstream::Server;

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

/// Appends the items of `result` that are shown.
pub(super) fn take_page(
    server: &Arc<Server>,
    kind: ListKind,
    prefix: bool,
    result: &Bytes,
    items: &mut Vec<Item>,
) -> Result<()> {
    let fault = |what: &str| super::broken(server, kind, what);
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
    let fleet = server.fleet();
    let shown = &fleet.current.shown;
    envelope::elements(list, |span| {
        match item(server, kind, shown, prefix, span.of(list)) {
            Ok(item) => items.extend(item),
            Err(wrong) => bad = Some(wrong),
        }
    })
    .map_err(|_| fault("the list is no array"))?;
    match bad {
        None => Ok(()),
        Some(Wrong::Shape(what)) => Err(fault(what)),
        Some(Wrong::Clash(own, other)) => Err(clash(server, kind, &own, &other)),
    }
}

enum Wrong {
    Shape(&'static str),
    /// An own name, and the other one whose alias it is.
    Clash(String, String),
}

fn clash(server: &Server, kind: ListKind, own: &str, other: &str) -> Error {
    Error::Config {
        message: format!(
            "server '{}': {}.alias gives '{other}' the name '{own}', and the server has a '{own}' of its own; \
             choose another alias, or deny '{own}'",
            server.name(),
            kind.key()
        ),
    }
}

fn item(
    server: &Arc<Server>,
    kind: ListKind,
    shown: &Shown,
    prefix: bool,
    raw: &[u8],
) -> std::result::Result<Option<Item>, Wrong> {
    let (mut name, mut uri): (Option<Span>, Option<Span>) = (None, None);
    envelope::members(raw, |key, value| match key {
        b"\"name\"" => name = Some(value),
        b"\"uri\"" | b"\"uriTemplate\"" => uri = Some(value),
        _ => {}
    })
    .map_err(|_| Wrong::Shape("an item is no object"))?;
    let own = name
        .and_then(|span| envelope::text(span.of(raw)))
        .unwrap_or_default()
        .into_owned();
    if !kind.is_named() {
        let uri = uri.and_then(|span| envelope::text(span.of(raw)));
        if !shown.resources.shows(uri.as_deref().unwrap_or_default()) {
            return Ok(None);
        }
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
    if kind == ListKind::Tools && server.traffic.listens() {
        server.traffic.learn(&own, annotations::may_repeat(raw));
    }
    let at = name
        .filter(|_| !own.is_empty())
        .ok_or(Wrong::Shape("an item has no name"))?;
    let filter = match kind {
        ListKind::Tools => &shown.tools,
        _ => &shown.prompts,
    };
    let Some(bare) = filter.shown(&own) else {
        return Ok(None);
    };
    if let Some(other) = filter.clash(&own) {
        let other = other.to_owned();
        return Err(Wrong::Clash(own, other));
    }
    let exposed = names::expose(prefix, server.name(), bare).into_owned();
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
pub(super) fn annotations_of(definition: &[u8]) -> Option<Vec<Annotation>> {
    let definition: Value = serde_json::from_slice(definition).ok()?;
    annotations::read(&definition["inputSchema"])
}

/// Whether a tool cannot be offered, because nobody could send the headers that it asks for.
fn drops(server: &Server, definition: &[u8]) -> bool {
    server.spec().transport() == TransportKind::Http
        && annotations::suspected(definition)
        && annotations_of(definition).is_none()
}
