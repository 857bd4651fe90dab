//! What an error is called on the other side: HTTP statuses for modern clients, and codes with a new number.
//!
//! Sources: 2026-07-28 streamable-http "Protocol Errors", basic/index "Error Codes", server/resources "Error Handling".

use std::borrow::Cow;

use super::members;

pub(crate) const INVALID_REQUEST: i64 = -32600;
pub(crate) const INVALID_PARAMS: i64 = -32602;
pub(crate) const HEADER_MISMATCH: i64 = -32020;
pub(crate) const UNSUPPORTED_VERSION: i64 = -32022;
/// What legacy servers say of a resource that is not there; since 2026-07-28 it is -32602.
const RESOURCE_NOT_FOUND: i64 = -32002;

/// The status of a response to a modern client that carries error `code`.
pub(crate) fn http_status(code: i64) -> u16 {
    match code {
        -32601 => 404,
        -32022..=-32020 => 400,
        _ => 200,
    }
}

/// What a legacy server's error `code` is called in 2026-07-28.
pub(crate) fn code_to_modern(method: &str, code: i64) -> i64 {
    match (method, code) {
        ("resources/read", RESOURCE_NOT_FOUND) => INVALID_PARAMS,
        _ => code,
    }
}

/// A legacy server's error object as a modern client expects it: only the code may be another. What is no object stays
/// as it is.
pub(crate) fn error_to_modern<'a>(method: &str, raw: &'a [u8]) -> Cow<'a, [u8]> {
    let code = code_to_modern(method, RESOURCE_NOT_FOUND);
    let says = |span: crate::envelope::Span| span.of(raw) == b"-32002";
    match members::value_of(raw, b"\"code\"") {
        Ok(Some(at)) if code != RESOURCE_NOT_FOUND && says(at) => members::replaced(
            raw,
            b"\"code\"",
            itoa::Buffer::new().format(code).as_bytes(),
        )
        .unwrap_or(raw.into()),
        _ => raw.into(),
    }
}
