//! The HTTP responses that the gateway makes itself.
//!
//! The rule: its own errors are JSON-RPC errors with the request's id and HTTP 200, except where the transport fixes a
//! status; what an upstream said passes through untouched.

use crate::error::Error;
use crate::translate;
pub(crate) use crate::translate::codes::{HEADER_MISMATCH, INVALID_PARAMS, INVALID_REQUEST};
use crate::translate::session::Refusal;

pub(crate) const PARSE_ERROR: i64 = -32700;
pub(crate) const METHOD_NOT_FOUND: i64 = -32601;

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) kind: &'static str,
    pub(crate) session: Option<String>,
    pub(crate) allow: Option<&'static str>,
    /// The connection cannot go on behind this answer.
    pub(crate) close: bool,
    /// Only the head is sent: what HEAD asked for (RFC 9110 section 9.3.2). A body would be read as the next answer.
    pub(crate) bare: bool,
}

pub(crate) const JSON: &str = "application/json";

impl Answer {
    pub(crate) fn new(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            body,
            kind: JSON,
            session: None,
            allow: None,
            close: false,
            bare: false,
        }
    }

    pub(crate) fn accepted() -> Self {
        Self::new(202, Vec::new())
    }

    /// A response whose result is JSON already.
    pub(crate) fn result(id: &[u8], result: &[u8]) -> Self {
        let mut body = Vec::with_capacity(result.len() + id.len() + 40);
        push_result(&mut body, id, result);
        Self::new(200, body)
    }

    /// A JSON-RPC error with the status that the transport asks for.
    pub(crate) fn rpc_error(status: u16, id: Option<&[u8]>, code: i64, message: &str) -> Self {
        let mut body = Vec::new();
        push_error(&mut body, id, code, message, b"");
        Self::new(status, body)
    }

    /// The answer to a message that is not served; no `id` if it is no request.
    pub(crate) fn refused(id: Option<&[u8]>, refusal: &Refusal) -> Self {
        let requested = refusal.requested.as_deref();
        let data = requested.map(supported_data).unwrap_or_default();
        let mut body = Vec::new();
        push_error(&mut body, id, refusal.code, &refusal.message, &data);
        Self::new(refusal.status, body)
    }

    /// A refusal before any message was read: an error without id, as the transport suggests.
    pub(crate) fn refusal(status: u16, why: &str) -> Self {
        Self::rpc_error(status, None, INVALID_REQUEST, why)
    }

    /// What went wrong, as a JSON-RPC error.
    pub(crate) fn failure(id: &[u8], error: &Error) -> Self {
        let mut body = Vec::new();
        push_failure(&mut body, id, error);
        Self::new(200, body)
    }

    /// Appends the response to `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, keep_alive: bool) {
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(itoa::Buffer::new().format(self.status).as_bytes());
        out.push(b' ');
        out.extend_from_slice(reason(self.status).as_bytes());
        let mut line = |name: &str, value: &str| {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(value.as_bytes());
        };
        if !self.body.is_empty() {
            line("\r\nContent-Type: ", self.kind);
        }
        if let Some(session) = &self.session {
            line("\r\nMcp-Session-Id: ", session);
        }
        if let Some(allow) = self.allow {
            line("\r\nAllow: ", allow);
        }
        if !keep_alive || self.close {
            line("\r\nConnection: ", "close");
        }
        // 204 says no length (RFC 9110 section 8.6).
        if self.status != 204 {
            line(
                "\r\nContent-Length: ",
                itoa::Buffer::new().format(self.body.len()),
            );
        }
        out.extend_from_slice(b"\r\n\r\n");
        if !self.bare {
            out.extend_from_slice(&self.body);
        }
    }
}

pub(crate) fn push_result(out: &mut Vec<u8>, id: &[u8], result: &[u8]) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id);
    out.extend_from_slice(b",\"result\":");
    out.extend_from_slice(result);
    out.push(b'}');
}

/// `data` is JSON, or empty for none.
pub(crate) fn push_error(
    out: &mut Vec<u8>,
    id: Option<&[u8]>,
    code: i64,
    message: &str,
    data: &[u8],
) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.unwrap_or(b"null"));
    out.extend_from_slice(b",\"error\":{\"code\":");
    out.extend_from_slice(itoa::Buffer::new().format(code).as_bytes());
    out.extend_from_slice(b",\"message\":");
    translate::push_json_string(out, message);
    if !data.is_empty() {
        out.extend_from_slice(b",\"data\":");
        out.extend_from_slice(data);
    }
    out.extend_from_slice(b"}}");
}

pub(crate) fn push_failure(out: &mut Vec<u8>, id: &[u8], error: &Error) {
    if let Some(fault) = error.remote() {
        out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
        out.extend_from_slice(id);
        out.extend_from_slice(b",\"error\":");
        out.extend_from_slice(&fault.raw);
        out.push(b'}');
        return;
    }
    let mut data = b"{\"code\":".to_vec();
    translate::push_json_string(&mut data, error.code());
    data.extend_from_slice(b",\"server\":");
    match error.server() {
        Some(server) => translate::push_json_string(&mut data, server),
        None => data.extend_from_slice(b"null"),
    }
    data.extend_from_slice(b",\"recovery\":");
    translate::push_json_string(&mut data, error.recovery());
    if let Error::RateLimited { retry_after_ms, .. } = error {
        data.extend_from_slice(b",\"retryAfterMs\":");
        data.extend_from_slice(itoa::Buffer::new().format(*retry_after_ms).as_bytes());
    }
    data.push(b'}');
    push_error(out, Some(id), error.rpc_code(), &error.message(), &data);
}

/// The `data` of an error about an unknown revision.
fn supported_data(requested: &str) -> Vec<u8> {
    let mut data = b"{\"supported\":[\"".to_vec();
    data.extend_from_slice(translate::MODERN.as_bytes());
    for version in translate::LEGACY {
        data.extend_from_slice(b"\",\"");
        data.extend_from_slice(version.as_bytes());
    }
    data.extend_from_slice(b"\"],\"requested\":");
    translate::push_json_string(&mut data, requested);
    data.push(b'}');
    data
}

pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}
