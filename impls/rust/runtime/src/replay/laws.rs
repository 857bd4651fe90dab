//! What holds for any bytes at all, as functions that panic where it does not: the fuzz targets, and the test that
//! replays their corpus.
//!
//! The rule: a law says nothing of one implementation's choices; it compares a function with itself (cut elsewhere, done
//! twice, there and back) or with `serde_json`.

use serde::de::IgnoredAny;
use serde_json::Value;

use crate::annotations;
use crate::envelope::{self, Envelope, Span, Watch};
use crate::translate::canonical::canonical;
use crate::translate::event_id::EventId;
use crate::translate::session::{self, Modern, Repeated};
use crate::translate::{self, MODERN, codes, cursor, members, progress, rounds, state_token};
use crate::wire::body::BadFraming;
use crate::wire::sse::Events;
use crate::wire::{Body, head};

/// A law, by the name of its fuzz target.
pub type Law = (&'static str, fn(&[u8]));

/// All of them.
pub const LAWS: [Law; 5] = [
    ("envelope", envelope),
    ("translation", translation),
    ("request", request),
    ("response", response),
    ("events", events),
];

/// At most 64 places to cut input, the last ones among them.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    (0..length).rev().step_by(length.div_ceil(64).max(1))
}

fn spans(found: &Envelope) -> [Option<Span>; 9] {
    let members = &found.members;
    [
        found.jsonrpc,
        found.id,
        found.method,
        found.result,
        found.error,
        found.params,
        members.name,
        members.uri,
        members.meta,
    ]
}

/// A prefix is never worse than the whole, and a whole envelope is JSON.
pub fn envelope(input: &[u8]) {
    let Ok(whole) = envelope::scan(input) else {
        return;
    };
    for cut in cuts(input.len()) {
        let part = envelope::scan(&input[..cut]).expect("a prefix of what is no fault is none");
        for (some, all) in spans(&part).into_iter().zip(spans(&whole)) {
            assert!(some.is_none() || some == all, "seen otherwise at {cut}");
        }
    }
    for span in spans(&whole).into_iter().flatten() {
        let token = span.of(input);
        // serde_json refuses what is nested more than 128 deep, which is no fault here.
        assert!(token.len() > 128 || serde_json::from_slice::<IgnoredAny>(token).is_ok());
    }
    if whole.complete {
        let text = std::str::from_utf8(input).expect("JSON is UTF-8");
        assert!(input.len() > 256 || serde_json::from_str::<IgnoredAny>(text).is_ok());
        verdicts(input, &whole);
    }
    if let Some(meta) = whole.members.meta {
        let _ = translate::hop_meta(meta.of(input));
    }
    for cut in cuts(input.len()) {
        let mut watch = Watch::default();
        let (first, rest) = input.split_at(cut);
        let seen = watch.feed(first).and_then(|()| watch.feed(rest));
        assert!(!whole.complete || seen.and(watch.end()).is_ok());
    }
}

/// What is decided about the beginning of a message is decided about all of it.
fn verdicts(input: &[u8], whole: &Envelope) {
    let headers = Repeated {
        version: Some(MODERN.as_bytes()),
        ..Repeated::default()
    };
    for headers in [Some(headers), None] {
        let decide = |body: &[u8], env: &Envelope| {
            let said = session::read(body, env).ok()?;
            Some(session::modern(headers, body, env, &said))
        };
        let decided = decide(input, whole);
        assert_ne!(decided, Some(Ok(Modern::Whole)), "there is no more");
        for cut in cuts(input.len()) {
            let body = &input[..cut];
            let part = envelope::scan(body).expect("a prefix of what is no fault is none");
            if part.jsonrpc.and(part.id).and(part.method).is_some() {
                let early = decide(body, &part);
                assert!(early == Some(Ok(Modern::Whole)) || early == decided);
            }
        }
    }
}

fn is_object(raw: &[u8]) -> bool {
    envelope::members(raw, |_, _| {}).is_ok()
}

/// Whatever a translation makes of an object is an object, and doing it twice changes nothing more.
pub fn translation(input: &[u8]) {
    texts(input);
    let valid = is_object(input);
    for method in ["tools/call", "tools/list"] {
        let mut once = Vec::new();
        assert_eq!(
            translate::result_to_modern(method, input, &mut once).is_ok(),
            valid
        );
        if valid {
            let mut twice = Vec::new();
            assert!(translate::result_to_modern(method, &once, &mut twice).is_ok());
            assert_eq!(once, twice);
        }
    }
    let _ = (rounds::read_round(input), rounds::is_input_required(input));
    let error = codes::error_to_modern("resources/read", input);
    assert_eq!(is_object(&error), valid);
    if !valid {
        return;
    }
    let stripped = translate::strip_hop(input).expect("an object");
    assert_eq!(
        translate::strip_hop(&stripped).as_deref(),
        Ok(&stripped[..])
    );
    assert!(is_object(
        &translate::with_hop(Some(input), b"{}").expect("an object")
    ));
    if let Ok(params) = envelope::scan_params(input) {
        for modern in [true, false] {
            let Ok(edit) = translate::meta_edit(input, &params, modern, b"{}") else {
                continue; // `_meta` is no object
            };
            let mut out = Vec::new();
            translate::splice(input, edit.as_slice(), &mut out);
            assert!(is_object(&out));
        }
    }
    if progress::asked_for(input).is_some() {
        let replaced = progress::with_token(input, b"7");
        assert_eq!(progress::asked_for(&replaced), Some(&b"7"[..]));
    }
    assert!(is_object(&progress::restored(input, b"\"t\"")));
    if let Ok(retry) = rounds::read_retry(input) {
        let next = rounds::next_params(input, &retry.responses, retry.state.as_deref());
        assert_eq!(rounds::read_retry(&next.expect("an object")), Ok(retry));
    }
    assert_eq!(
        members::without(
            &rounds::without_round(input).expect("an object"),
            &[b"\"requestState\""]
        )
        .as_deref(),
        rounds::without_round(input).as_deref()
    );
    let once = canonical(input, &[]);
    assert!(is_object(&once));
    assert_eq!(canonical(&once, &[]), once);
    if let Ok(schema) = serde_json::from_slice::<Value>(input)
        && let Some(found) = annotations::read(&schema)
    {
        let lines = annotations::lines(&found, input);
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            assert!(line.starts_with(b"Mcp-Param-") && line.ends_with(b"\r\n"));
        }
    }
}

/// A text goes through a header and back; tokens, cursors and ids of a stranger are read without trust.
fn texts(input: &[u8]) {
    let _ = translate::header_text(input);
    if let Some(id) = EventId::read(input) {
        assert_eq!(id.to_string().as_bytes(), input);
    }
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let value = translate::header_value(text);
    assert!(
        value
            .bytes()
            .all(|byte| matches!(byte, b'\t' | 0x20..=0x7e))
    );
    assert_eq!(
        translate::header_text(value.as_bytes()).as_deref(),
        Some(text)
    );
    assert!(state_token::read(&[7; 32], text, 0, "", &[0; 16]).is_err());
    assert_eq!(cursor::read(text, &[0; 10], 9).filter(|&at| at >= 9), None);
}

/// Follows `body` over `input` in pieces of `step` bytes: payload, bytes used, whether it ended; or broken framing.
fn follow(mut body: Body, input: &[u8], step: usize) -> Result<(Vec<u8>, usize, bool), BadFraming> {
    let (mut payload, mut used) = (Vec::new(), 0);
    for piece in input.chunks(step) {
        used += body.advance(piece, |part| payload.extend_from_slice(part))?;
        if body.is_done() {
            break;
        }
    }
    Ok((payload, used, body.is_done()))
}

fn body(body: Body, input: &[u8]) {
    let whole = follow(body, input, input.len().max(1));
    for step in [1, 2, 7] {
        assert_eq!(follow(body, input, step), whole, "in pieces of {step}");
    }
}

/// A head is read at its last byte and not before, and its body ends at the same byte however it arrives.
pub fn request(input: &[u8]) {
    let Ok(Some((found, length))) = head::request(input) else {
        return;
    };
    for cut in cuts(length) {
        assert!(
            matches!(head::request(&input[..cut]), Ok(None)),
            "cut at {cut}"
        );
    }
    let spans = [
        found.host,
        found.origin,
        found.accept,
        found.session,
        found.version,
    ];
    for span in spans.into_iter().flatten().chain([found.path]) {
        assert!(span.start <= span.end && span.end <= length);
    }
    body(found.body, &input[length..]);
}

/// As [`request`], for what a server sends.
pub fn response(input: &[u8]) {
    let mut headers = Vec::new();
    let Ok(Some(found)) = head::response(input, |name, value| {
        headers.push((name.to_owned(), value.to_vec()));
    }) else {
        return;
    };
    for cut in cuts(found.len) {
        assert!(
            matches!(head::response(&input[..cut], |_, _| {}), Ok(None)),
            "cut at {cut}"
        );
    }
    for (name, value) in headers {
        assert!(!name.eq_ignore_ascii_case("mcp-session-id"));
        assert!(!value.contains(&b'\r') && !value.contains(&b'\n'));
    }
    body(found.body, &input[found.len..]);
}

/// The data of every event in `input`, fed in pieces; `None` if one is too long.
pub(super) fn read_events(input: &[u8], step: usize, limit: usize) -> Option<Vec<Vec<u8>>> {
    let (mut events, mut seen) = (Events::new(limit), Vec::new());
    for piece in input.chunks(step) {
        events.feed(piece, |data| seen.push(data.to_vec())).ok()?;
    }
    Some(seen)
}

/// Events are the same however they arrive, and none is longer than allowed.
pub fn events(input: &[u8]) {
    let whole = read_events(input, input.len().max(1), 64);
    for step in [1, 2, 7] {
        assert_eq!(read_events(input, step, 64), whole, "in pieces of {step}");
    }
    for data in whole.iter().flatten() {
        assert!(data.len() <= 64 + 16);
    }
}
