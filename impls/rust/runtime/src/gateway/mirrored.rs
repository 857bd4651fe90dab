//! Arguments that a modern client repeats in `Mcp-Param-*` headers, compared where this hop is the last that sees them:
//! before children, servers of revisions without them, and whenever the headers are written anew.
//!
//! The rule: what is compared is what the tool's definition marks (`x-mcp-header`), as it was listed last; a request that
//! brings such a header makes an unknown definition be asked for. The relay to a modern HTTP server passes them on
//! untouched instead: an intermediary that does not act on a header "MUST forward it and otherwise ignore it", and the
//! server checks (streamable-http, "Server Behavior for Custom Headers").

use std::sync::Arc;

use crate::annotations;
use crate::envelope::Span;
use crate::listing;
use crate::upstream::Server;

/// The headers `Mcp-Param-*` of a request, in its head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent<'a> {
    pub(crate) head: &'a [u8],
    pub(crate) params: &'a [(Span, Span)],
}

impl<'a> Sent<'a> {
    /// The value of the header whose name goes on with `name`.
    fn get(&self, name: &str) -> Option<&'a [u8]> {
        let mut found = self.params.iter().filter(|(header, _)| {
            let header = header.of(self.head);
            header["Mcp-Param-".len()..].eq_ignore_ascii_case(name.as_bytes())
        });
        let (_, value) = found.next()?;
        // Of two nobody knows which one was meant; no argument is equal to this.
        Some(if found.next().is_some() {
            b"\0"
        } else {
            value.of(self.head)
        })
    }
}

/// What is wrong with the headers of a call of `tool`, whose `params` stand in the body.
pub(super) async fn mismatch(
    server: &Arc<Server>,
    prefix: bool,
    tool: &str,
    params: &[u8],
    sent: Sent<'_>,
) -> Option<String> {
    let index = match server.catalog.get(&server.spec()) {
        Some(index) => index,
        None if sent.params.is_empty() => return None,
        None => Box::pin(listing::index(server, prefix)).await,
    };
    let annotations = index.annotated.get(tool)?;
    annotations::mismatch(annotations, params, |name| sent.get(name)).map(|name| {
        format!(
            "Header mismatch: Mcp-Param-{name} is not what the argument says; list the tools, and send what their schema \
             marks"
        )
    })
}
