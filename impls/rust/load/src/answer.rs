//! Is this answer the answer? One pass: the right id, no error, no `isError`, and the text that was sent.
//!
//! Rule: a wrong answer is never counted as a fast one. The kinds of failure are the keys of a result's `errors`.

use std::fmt;

use crate::scan::{self, NotJson};
use crate::template::{Method, Template};

mod stream;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Connect,
    Reset,
    Timeout,
    Http(u16),
    Rpc(i64),
    ToolError,
    /// A well-formed answer to another request, or another text.
    Mismatch,
    /// Not HTTP, or not JSON-RPC.
    Garbage,
    /// Given up on purpose: no error.
    Cancelled,
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => out.write_str("connect"),
            Self::Reset => out.write_str("reset"),
            Self::Timeout => out.write_str("timeout"),
            Self::Http(status) => write!(out, "http_{status}"),
            Self::Rpc(code) => write!(out, "rpc_{code}"),
            Self::ToolError => out.write_str("tool_error"),
            Self::Mismatch => out.write_str("mismatch"),
            Self::Garbage => out.write_str("garbage"),
            Self::Cancelled => out.write_str("cancelled"),
        }
    }
}

/// What was asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    pub id: u64,
    pub nonce: u64,
    /// Which request it was, for [`crate::requests::Requests::at`].
    pub place: usize,
    /// Compare the text too.
    pub check: bool,
}

/// Judges an HTTP answer; `progress` counts the notifications that came before it.
pub fn judge(
    status: u16,
    sse: bool,
    body: &[u8],
    asked: Asked,
    template: &Template,
    progress: &mut u32,
) -> Result<(), Kind> {
    if status != 200 {
        return Err(Kind::Http(status));
    }
    if !sse {
        return message(body, asked, template).unwrap_or(Err(Kind::Garbage));
    }
    // A response stream may carry notifications first: the answer is the event with a result or an error.
    let mut verdict = Err(Kind::Garbage);
    stream::events(body, |data| {
        match message(data, asked, template) {
            Ok(Err(Kind::Garbage)) => match stream::progress_of(data) {
                None => {}
                Some(token) if token == asked.id => *progress += 1,
                // Somebody else's progress.
                Some(_) => {
                    verdict = Err(Kind::Mismatch);
                    return false;
                }
            },
            Ok(judged) => verdict = judged,
            Err(_) => {
                verdict = Err(Kind::Garbage);
                return false;
            }
        }
        true
    });
    verdict
}

/// `Ok(Err(Garbage))`: valid JSON, but neither a result nor an error.
fn message(body: &[u8], asked: Asked, template: &Template) -> Result<Result<(), Kind>, NotJson> {
    let (mut id, mut text, mut code, mut flag, mut tools) = (0..0, 0..0, 0..0, 0..0, 0..0);
    let (mut has_result, mut has_error) = (false, false);
    let start = scan::space(body, 0);
    let end = scan::members(body, start, &mut |key, at| match key {
        b"id" => scan::span(body, at, &mut id),
        b"error" if body.get(at) == Some(&b'{') => {
            has_error = true;
            scan::members(body, at, &mut |key, at| match key {
                b"code" => scan::span(body, at, &mut code),
                _ => scan::value(body, at),
            })
        }
        b"result" if body.get(at) == Some(&b'{') => {
            has_result = true;
            scan::members(body, at, &mut |key, at| match key {
                b"isError" => scan::span(body, at, &mut flag),
                // A call answers `content`, a read `contents`.
                b"content" | b"contents" if body.get(at) == Some(&b'[') => {
                    scan::elements(body, at, &mut |index, at| {
                        if index > 0 || body.get(at) != Some(&b'{') {
                            return scan::value(body, at);
                        }
                        scan::members(body, at, &mut |key, at| match key {
                            b"text" => scan::span(body, at, &mut text),
                            _ => scan::value(body, at),
                        })
                    })
                }
                b"tools" if template.method == Method::List => scan::span(body, at, &mut tools),
                _ => scan::value(body, at),
            })
        }
        _ => scan::value(body, at),
    })?;
    if scan::space(body, end) != body.len() {
        return Err(NotJson(end));
    }
    let number = |range: std::ops::Range<usize>| {
        std::str::from_utf8(&body[range])
            .ok()
            .and_then(|text| text.parse::<i64>().ok())
    };
    if has_error {
        return Ok(Err(number(code).map_or(Kind::Garbage, Kind::Rpc)));
    }
    if !has_result {
        return Ok(Err(Kind::Garbage));
    }
    if number(id) != i64::try_from(asked.id).ok() {
        return Ok(Err(Kind::Mismatch));
    }
    if &body[flag] == b"true" {
        return Ok(Err(Kind::ToolError));
    }
    if template.method == Method::List {
        // Whatever is listed, it is not nothing.
        let some = body[tools].contains(&b'{');
        return Ok(if some { Ok(()) } else { Err(Kind::Mismatch) });
    }
    let inside = text.start + 1..text.end.max(2) - 1;
    if asked.check && (text.is_empty() || !template.is_echo(&body[inside], asked.nonce)) {
        return Ok(Err(Kind::Mismatch));
    }
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    const ASKED: Asked = Asked {
        id: 1_000_000_007,
        nonce: 0xabc,
        place: 0,
        check: true,
    };

    fn asked_of(method: Method, sse: bool, body: &str) -> (Result<(), Kind>, u32) {
        let plan = br#"{"port":1,"mode":"closed","connections":1,"duration_s":1}"#;
        let plan = Plan::parse(plan).unwrap();
        let template = Template::new(&plan, &plan.targets[0], method, "echo");
        let mut progress = 0;
        let verdict = judge(200, sse, body.as_bytes(), ASKED, &template, &mut progress);
        (verdict, progress)
    }

    fn judged(status: u16, sse: bool, body: &str) -> Result<(), Kind> {
        if status == 200 {
            return asked_of(Method::Call, sse, body).0;
        }
        let plan = br#"{"port":1,"mode":"closed","connections":1,"duration_s":1}"#;
        let plan = Plan::parse(plan).unwrap();
        let template = Template::new(&plan, &plan.targets[0], Method::Call, "echo");
        judge(status, sse, body.as_bytes(), ASKED, &template, &mut 0)
    }

    fn echo(id: &str, text: &str, flag: bool) -> String {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":{text}}}],"isError":{flag}}}}}"#
        )
    }

    #[test]
    fn only_the_right_echo_passes() {
        let right = echo("1000000007", r#""0000000000000abc""#, false);
        assert_eq!(judged(200, false, &right), Ok(()));
        assert_eq!(judged(200, false, &format!(" {right}\n")), Ok(()));
        assert_eq!(judged(503, false, &right), Err(Kind::Http(503)));
        for (body, kind) in [
            (echo("1000000008", r#""0000000000000abc""#, false), Kind::Mismatch),
            (echo("1000000007", r#""0000000000000abd""#, false), Kind::Mismatch),
            (echo("1000000007", r#""0000000000000abcd""#, false), Kind::Mismatch),
            (echo("1000000007", "null", false), Kind::Mismatch),
            (echo("1000000007", r#""0000000000000abc""#, true), Kind::ToolError),
            (r#"{"jsonrpc":"2.0","id":1000000007,"result":{}}"#.into(), Kind::Mismatch),
            (r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32020,"message":"0000000000000abc"}}"#.into(), Kind::Rpc(-32020)),
            (r#"{"jsonrpc":"2.0","method":"x"}"#.into(), Kind::Garbage),
            (right[..right.len() - 1].into(), Kind::Garbage),
            (format!("{right}{right}"), Kind::Garbage),
            (String::new(), Kind::Garbage),
        ] {
            assert_eq!(judged(200, false, &body), Err(kind), "{body}");
        }
    }

    #[test]
    fn a_stream_may_carry_notifications_before_the_answer() {
        let right = echo("1000000007", r#""0000000000000abc""#, false);
        let note = r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#;
        assert_eq!(
            judged(
                200,
                true,
                &format!(
                    ": hi\n\nid: 0\ndata:\n\nevent: message\ndata: {note}\n\nid: 1\r\ndata: {right}\r\n\r\n"
                )
            ),
            Ok(())
        );
        assert_eq!(
            judged(200, true, &format!("data: {note}\n\n")),
            Err(Kind::Garbage)
        );
        assert_eq!(judged(200, true, &right), Err(Kind::Garbage));
    }

    #[test]
    fn progress_is_counted_if_it_is_ours() {
        let right = echo("1000000007", r#""0000000000000abc""#, false);
        let note = |token: &str| {
            format!(
                r#"data: {{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1}}}}"#
            )
        };
        let stream = |token| format!("{0}\n\n{0}\n\ndata: {right}\n\n", note(token));
        assert_eq!(
            asked_of(Method::Call, true, &stream("1000000007")),
            (Ok(()), 2)
        );
        assert_eq!(
            asked_of(Method::Call, true, &stream("1000000008")).0,
            Err(Kind::Mismatch)
        );
    }

    #[test]
    fn a_list_lists_and_a_read_echoes() {
        let answer =
            |result: &str| format!(r#"{{"jsonrpc":"2.0","id":1000000007,"result":{result}}}"#);
        for (method, result, verdict) in [
            (Method::List, r#"{"tools":[{"name":"a"}]}"#, Ok(())),
            (Method::List, r#"{"tools":[]}"#, Err(Kind::Mismatch)),
            (Method::List, "{}", Err(Kind::Mismatch)),
            (
                Method::Read,
                r#"{"contents":[{"uri":"echo:///0000000000000abc","text":"0000000000000abc"}]}"#,
                Ok(()),
            ),
            (
                Method::Read,
                r#"{"contents":[{"text":"0000000000000abd"}]}"#,
                Err(Kind::Mismatch),
            ),
        ] {
            assert_eq!(
                asked_of(method, false, &answer(result)).0,
                verdict,
                "{result}"
            );
        }
    }
}
