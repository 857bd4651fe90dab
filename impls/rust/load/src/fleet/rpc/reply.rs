//! How an answer is written, and what its carrier must know besides.
//!
//! Rule: the id goes back as the bytes it came in, so that no number or string is ever read and written differently.

use std::io::Write;

/// How the carrier must treat the answer that was written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each is one thing to do, not a state
pub struct Verdict {
    pub status: u16,
    pub delay_ns: u64,
    /// A new session was opened with this id.
    pub opened: Option<u64>,
    /// Nothing is to be sent: close the connection instead.
    pub reset: bool,
    /// Instead of an answer, what is none.
    pub garbage: bool,
    /// The buffer holds lines: notifications, and last the answer.
    pub lines: bool,
}

pub(super) const OK: Verdict = Verdict {
    status: 200,
    delay_ns: 0,
    opened: None,
    reset: false,
    garbage: false,
    lines: false,
};

pub(super) fn result(out: &mut Vec<u8>, id: &[u8], parts: &[&[u8]]) {
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id);
    out.extend_from_slice(br#","result":"#);
    for part in parts {
        out.extend_from_slice(part);
    }
    out.push(b'}');
}

/// The n-th of so many notifications for a token, as a line before what follows.
pub(super) fn progress(out: &mut Vec<u8>, token: &[u8], number: u64, total: u64) {
    let begin = br#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"#;
    out.extend_from_slice(begin);
    out.extend_from_slice(token);
    let _ = writeln!(out, r#","progress":{number},"total":{total}}}}}"#);
}

pub(super) fn refuse(
    out: &mut Vec<u8>,
    id: &[u8],
    status: u16,
    code: i32,
    why: &str,
    data: &str,
) -> Verdict {
    let id = if id.is_empty() { b"null" } else { id };
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id);
    let _ = write!(
        out,
        r#","error":{{"code":{code},"message":"{why}"{data}}}}}"#
    );
    Verdict { status, ..OK }
}
