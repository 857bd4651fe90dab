//! The JSON-RPC messages of the manager's own, whichever transport carries them.
//!
//! The rule: params and results stay the bytes that they were; only the envelope around them and `_meta` are written.

use bytes::Bytes;

use super::discovery;
use crate::envelope::{self, Envelope};
use crate::error::{Error, RemoteFault, Result};
use crate::translate;

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
pub(super) fn hop_params(params: &[u8], modern: bool, capabilities: &[u8]) -> Result<Vec<u8>> {
    let params: &[u8] = if params.is_empty() { b"{}" } else { params };
    let bad = |fault| Error::Config {
        message: format!("params are not a JSON object ({fault:?}); pass one"),
    };
    let found = envelope::scan_params(params).map_err(bad)?;
    let edit = translate::meta_edit(params, &found, modern, capabilities).map_err(bad)?;
    let mut out = Vec::with_capacity(params.len() + 256);
    translate::splice(params, edit.as_slice(), &mut out);
    Ok(out)
}
