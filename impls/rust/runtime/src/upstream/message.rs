//! The JSON-RPC messages of the manager's own, whichever transport carries them.
//!
//! The rule: params and results stay the bytes that they were; only the envelope around them and `_meta` are written.

use std::borrow::Cow;

use bytes::Bytes;

use super::{Caller, discovery};
use crate::envelope::{self, Envelope};
use crate::error::{Error, RemoteFault, Result};
use crate::translate::{self, LOG_KEY, progress};

/// Result or error object of a complete response message.
pub(super) fn read_message(body: &[u8], found: &Envelope) -> Option<Result<Bytes, RemoteFault>> {
    if !found.complete || found.method.is_some() {
        return None;
    }
    match (found.result, found.error) {
        (Some(result), None) => Some(Ok(Bytes::copy_from_slice(result.of(body)))),
        (None, Some(error)) => Some(Err(discovery::fault(Bytes::copy_from_slice(
            error.of(body),
        )))),
        _ => None,
    }
}

/// A JSON-RPC request whose params are JSON already (empty for none).
pub(super) fn request_body(id: u64, method: &str, params: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(64 + method.len() + params.len());
    body.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    body.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
    body.extend_from_slice(b",\"method\":");
    translate::push_json_string(&mut body, method);
    if !params.is_empty() {
        body.extend_from_slice(b",\"params\":");
        body.extend_from_slice(params);
    }
    body.push(b'}');
    body
}

/// `params` with `_meta` as the next hop wants it.
pub(super) fn hop_params(params: &[u8], modern: bool, caller: &Caller<'_>) -> Result<Vec<u8>> {
    let params: &[u8] = if params.is_empty() { b"{}" } else { params };
    let bad = |fault| Error::Config {
        message: format!("params are not a JSON object ({fault:?}); pass one"),
    };
    let found = envelope::scan_params(params).map_err(bad)?;
    let mut edit =
        translate::meta_edit(params, &found, modern, caller.capabilities).map_err(bad)?;
    if let (Some(edit), Some(level), Some(_), true) =
        (&mut edit, caller.level, caller.session, modern)
    {
        edit.with = with_level(&edit.with, level).into();
    }
    let mut out = Vec::with_capacity(params.len() + 256);
    translate::splice(params, edit.as_slice(), &mut out);
    Ok(out)
}

/// `params` with `token` for the progress token of its caller's: callers that share a session may have the same one.
pub(super) fn with_token<'a>(params: &'a [u8], token: u64, caller: &Caller<'_>) -> Cow<'a, [u8]> {
    if !caller.voice.is_some_and(|voice| voice.wants_progress()) {
        return params.into();
    }
    progress::with_token(params, token.to_string().as_bytes())
}

/// What becomes of `_meta`, with the log level of a client that gave it once and for all.
fn with_level(meta: &[u8], level: &str) -> Vec<u8> {
    let mut out = meta.to_vec();
    let end = memchr::memrchr(b'}', &out).unwrap_or(0);
    let mut member = format!(",\"{LOG_KEY}\":").into_bytes();
    translate::push_json_string(&mut member, level);
    if memchr::memmem::find(meta, LOG_KEY.as_bytes()).is_none() {
        out.splice(end..end, member);
    }
    out
}
