//! The bytes of an HTTP answer.
//!
//! Rule: only a 200 with a body is framed as configured; everything else has a length, so that errors read alike in every
//! framing.

use std::io::Write;

use crate::fleet::Framing;
use crate::fleet::rpc::Verdict;

pub(super) fn answer(out: &mut Vec<u8>, verdict: Verdict, body: &[u8], framing: Framing) {
    let framing = if body.is_empty() || verdict.status != 200 {
        Framing::Length
    } else {
        framing
    };
    head(out, verdict.status, body.len(), verdict.opened, framing);
    match framing {
        Framing::Length => out.extend_from_slice(body),
        Framing::Chunked => {
            let _ = write!(out, "{:x}\r\n", body.len());
            out.extend_from_slice(body);
            out.extend_from_slice(b"\r\n0\r\n\r\n");
        }
        Framing::Sse => {
            let _ = write!(out, "{:x}\r\nevent: message\ndata: ", body.len() + 23);
            out.extend_from_slice(body);
            out.extend_from_slice(b"\n\n\r\n0\r\n\r\n");
        }
    }
}

pub(super) fn head(
    out: &mut Vec<u8>,
    status: u16,
    length: usize,
    session: Option<u64>,
    framing: Framing,
) {
    let line: &[u8] = match status {
        200 => b"HTTP/1.1 200 OK\r\n",
        202 => b"HTTP/1.1 202 Accepted\r\n",
        400 => b"HTTP/1.1 400 Bad Request\r\n",
        404 => b"HTTP/1.1 404 Not Found\r\n",
        405 => b"HTTP/1.1 405 Method Not Allowed\r\nAllow: POST, DELETE\r\n",
        413 => b"HTTP/1.1 413 Content Too Large\r\n",
        _ => b"HTTP/1.1 503 Service Unavailable\r\n",
    };
    out.extend_from_slice(line);
    if let Some(session) = session {
        let _ = write!(out, "Mcp-Session-Id: {session:016x}\r\n");
    }
    match framing {
        Framing::Length if length == 0 => out.extend_from_slice(b"Content-Length: 0\r\n\r\n"),
        Framing::Length => {
            let _ = write!(
                out,
                "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
            );
        }
        Framing::Chunked => out.extend_from_slice(
            b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        Framing::Sse => out.extend_from_slice(
            b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
    }
}
