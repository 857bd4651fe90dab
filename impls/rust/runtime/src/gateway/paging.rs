//! Lists that are cut into pages.
//!
//! The rule: a page is a piece of the list as it is now; when that has changed, the cursor is unknown and the client
//! begins anew (server/utilities/pagination).

use crate::envelope::{self, Envelope};
use crate::listing::Item;
use crate::manager::ListKind;
use crate::translate::cursor::{self, Page};

const UNKNOWN: &str =
    "params.cursor is none of this list; it may have changed: list it again from the start";

/// Which items the request in `body` gets, or why none: all of them if `size` is 0.
pub(crate) fn cut(
    kind: ListKind,
    items: &[Item],
    body: &[u8],
    env: &Envelope,
    size: usize,
) -> Result<Page, &'static str> {
    let mut wanted = None;
    if let Some(params) = env.params.map(|span| span.of(body)) {
        // They were scanned already.
        let _ = envelope::members(params, |key, value| {
            if key == b"\"cursor\"" && value.of(params) != b"null" {
                wanted = Some(envelope::text(value.of(params)).unwrap_or_default());
            }
        });
    }
    if size == 0 && wanted.is_none() {
        return Ok(Page {
            start: 0,
            end: items.len(),
            following: None,
        });
    }
    let names: Vec<_> = items.iter().map(|item| name(kind, item)).collect();
    let listed = cursor::digest(kind.method(), names.iter().map(AsRef::as_ref));
    cursor::page(&listed, items.len(), size, wanted.as_deref()).ok_or(UNKNOWN)
}

/// What tells an item from others in its list.
fn name(kind: ListKind, item: &Item) -> std::borrow::Cow<'_, str> {
    let key: &[u8] = match kind {
        ListKind::Tools | ListKind::Prompts => return item.name.as_str().into(),
        ListKind::Resources => b"\"uri\"",
        ListKind::ResourceTemplates => b"\"uriTemplate\"",
    };
    let mut found = None;
    let _ = envelope::members(&item.data, |name, value| {
        if name == key {
            found = envelope::text(value.of(&item.data));
        }
    });
    found.unwrap_or_default()
}
