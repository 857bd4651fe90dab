//! The index of what one server lists: its URIs, its shortened names, the headers that its tools want.
//!
//! The rule: it is read when somebody needs it, and kept until the server says that a list changed, or is another one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::items::{Item, annotations_of};
use super::read;
use crate::annotations;
use crate::envelope;
use crate::manager::ListKind;
use crate::names;
use crate::upstream::catalog::Index;
use crate::upstream::{Caller, Server};

/// The index of a server's URIs and shortened names, read anew if it is not fresh.
pub(crate) async fn index(server: &Arc<Server>, prefix: bool) -> Arc<Index> {
    let spec = server.spec();
    if let Some(index) = server.catalog.get(&spec) {
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
    let short = |items: Vec<Item>| -> HashMap<String, String> {
        items
            .into_iter()
            .filter(|item| names::is_shortened(&item.name))
            .map(|item| (item.name, item.own))
            .collect()
    };
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
        short_tools: short(tools),
        short_prompts: short(prompts.unwrap_or_default()),
        annotated,
        spec,
        read: Instant::now(),
    })
}
