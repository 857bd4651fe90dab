//! What a relayed request says upstream: its head for this instance, and what is there of its body, with every edit made.
//!
//! The rule: of a body of which only the beginning was looked at, all that is there is looked at before it is written.

use crate::envelope::{Envelope, Fault, Watch};
use crate::gateway::client::{Client, Inbound};
use crate::gateway::dispatch::Who;
use crate::info::Era;
use crate::translate::{self, Edit, MODERN};
use crate::upstream::http::{Head, HttpLink};
use crate::upstream::session::UpstreamSession;
use crate::wire::buffers;

/// Who looks at the rest of a body of which only the beginning was looked at, once it has seen what is there.
pub(super) fn watched(
    client: &Client,
    inbound: &Inbound,
    env: &Envelope,
) -> std::result::Result<Option<Box<Watch>>, Fault> {
    if env.complete {
        return Ok(None);
    }
    let mut watch = Box::<Watch>::default();
    watch.feed(&client.input[inbound.head_len..inbound.head_len + inbound.have])?;
    if inbound.have == inbound.length {
        watch.end()?;
    }
    Ok(Some(watch))
}

/// What a request says upstream.
pub(super) struct Request<'a> {
    pub(super) env: &'a Envelope,
    pub(super) who: &'a Who,
    pub(super) method: &'a str,
    pub(super) name: Option<&'a str>,
    pub(super) rename: Option<&'a Edit<'static>>,
    pub(super) edits_meta: bool,
    pub(super) session: Option<&'a UpstreamSession>,
}

/// Puts head and what is there of the body into `client.output`, with every edit made.
pub(super) fn write_request(
    client: &mut Client,
    link: &HttpLink,
    inbound: &Inbound,
    request: &Request<'_>,
) {
    let body = &client.input[inbound.head_len..inbound.head_len + inbound.have];
    let meta = if request.edits_meta {
        hop_edit(body, request.env, request.who)
    } else {
        None
    };
    let mut edits: Vec<Edit<'_>> = request.rename.cloned().into_iter().chain(meta).collect();
    edits.sort_by_key(|edit| edit.at.start);
    let lines = param_lines(&client.input, inbound);
    let head = words(link, request.session, request.method, request.name, &lines);
    client.output.clear();
    buffers::borrow(&mut client.output);
    link.write_head(
        &mut client.output,
        &head,
        inbound
            .length
            .saturating_add_signed(translate::growth(&edits)),
    );
    translate::splice(body, &edits, &mut client.output);
}

/// What the head of a request says to this instance.
pub(in crate::gateway) fn words<'a>(
    link: &HttpLink,
    session: Option<&'a UpstreamSession>,
    method: &'a str,
    name: Option<&'a str>,
    lines: &'a [u8],
) -> Head<'a> {
    let modern = link.era() == Some(Era::Modern);
    Head {
        version: if modern {
            Some(MODERN)
        } else {
            session.map(|session| session.version.as_str())
        },
        session: session.and_then(|session| session.id.as_deref()),
        method: modern.then_some(method),
        name: name.filter(|_| modern),
        lines,
    }
}

/// What a modern server must find in `_meta` of a legacy client's request.
fn hop_edit(body: &[u8], env: &Envelope, who: &Who) -> Option<Edit<'static>> {
    let capabilities: &[u8] = match who {
        Who::Modern(span) => span.of(body),
        Who::Legacy(session) => &session.capabilities,
    };
    translate::meta_edit(body, &env.members, true, capabilities)
        .ok()
        .flatten()
}

fn param_lines(input: &[u8], inbound: &Inbound) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in &inbound.head.params {
        lines.extend_from_slice(name.of(input));
        lines.extend_from_slice(b": ");
        lines.extend_from_slice(value.of(input));
        lines.extend_from_slice(b"\r\n");
    }
    lines
}
