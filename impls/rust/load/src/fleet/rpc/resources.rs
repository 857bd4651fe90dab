//! The resources: one that is listed, and a template whose every URI reads as its own text.
//!
//! Rule: like the echo, a read answers what it was asked, so that an answer to another read is found out.

use super::LIST_TAIL;
use super::reply::{OK, Verdict, refuse, result};

pub(super) const LIST: &[u8] =
    br#"{"resources":[{"uri":"echo:///hello","name":"hello","mimeType":"text/plain"}]"#;
pub(super) const TEMPLATES: &[u8] = br#"{"resourceTemplates":[{"uriTemplate":"echo:///{text}","name":"echo","description":"Reads as its text.","mimeType":"text/plain"}]"#;
const PREFIX: &[u8] = b"echo:///";

/// Answers `resources/read`. The text goes back as the bytes it came in, escapes and all.
pub(super) fn read(uri: &[u8], modern: bool, id: &[u8], out: &mut Vec<u8>) -> Verdict {
    let Some(text) = uri.strip_prefix(PREFIX) else {
        // 2026-07-28 has no code of its own for it any more.
        let code = if modern { -32602 } else { -32002 };
        return refuse(
            out,
            id,
            200,
            code,
            "Resource not found; this fleet has echo:///{text}",
            "",
        );
    };
    let begin = br#"{"contents":[{"uri":""#;
    let middle = br#"","mimeType":"text/plain","text":""#;
    result(out, id, &[begin, uri, middle, text, br#""}]"#, LIST_TAIL]);
    OK
}
