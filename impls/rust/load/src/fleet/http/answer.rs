//! The bytes of an HTTP answer.
//!
//! Rule: only a 200 with a body is framed as configured; everything else has a length, so that errors read alike in every
//! framing.

use std::io::Write;

use crate::fleet::Framing;
use crate::fleet::rpc::Verdict;

pub(super) fn answer(out: &mut Vec<u8>, verdict: Verdict, body: &[u8], framing: Framing) {
    if verdict.garbage {
        return garbage(out, verdict.status == 200);
    }
    if verdict.lines {
        head(out, 200, 1, verdict.opened, Framing::Sse);
        for line in body.split(|byte| *byte == b'\n') {
            event(out, line);
        }
        return out.extend_from_slice(b"0\r\n\r\n");
    }
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
            event(out, body);
            out.extend_from_slice(b"0\r\n\r\n");
        }
    }
}

/// One event, in a chunk of its own.
fn event(out: &mut Vec<u8>, data: &[u8]) {
    let _ = write!(out, "{:x}\r\nevent: message\ndata: ", data.len() + 23);
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n\r\n");
}

/// What is no answer: bytes that are no HTTP, or HTTP whose body is no JSON.
pub(super) fn garbage(out: &mut Vec<u8>, framed: bool) {
    const NOISE: &[u8] = b"\x00\xff{\"jsonrpc\": this is no JSON}\r\n";
    if framed {
        head(out, 200, NOISE.len(), None, Framing::Length);
    }
    out.extend_from_slice(NOISE);
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
