//! What a hop changes in messages, and how it reads what arrives: envelopes, headers, heads, bodies, events.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::laws::read_events;
use super::value::{Args, of_bytes, of_some};
use crate::envelope::{self, Span, Watch};
use crate::translate::{self, session};
use crate::wire::Body;
use crate::wire::body::Chunks;
use crate::wire::head::{self, Content, Method};
use crate::{annotations, names};

fn bad() -> Value {
    json!({"bad": true})
}

pub(super) fn name(name: &str, args: Args<'_>) -> Option<Value> {
    (name == "expose").then(|| Some(names::expose(true, args.text(0)?, args.text(1)?).into()))?
}

/// The envelope of a whole message: spans as what they hold.
pub(super) fn envelope(name: &str, args: Args<'_>) -> Option<Value> {
    let body = args.bytes(0)?;
    match name {
        "read" => Some(read(&body).unwrap_or_else(bad)),
        "watch" => {
            let step = usize::try_from(args.number(1)?).ok()?;
            Some(watch(&body, step).unwrap_or_else(bad))
        }
        _ => None,
    }
}

fn watch(body: &[u8], step: usize) -> Option<Value> {
    let mut watch = Watch::default();
    for piece in body.chunks(step.max(1)) {
        watch.feed(piece).ok()?;
    }
    watch.end().ok()?;
    Some(json!({ "named": watch.named() }))
}

fn read(body: &[u8]) -> Option<Value> {
    let found = envelope::scan(body).ok().filter(|found| found.complete)?;
    let said = session::read(body, &found).ok()?;
    let mut out = Map::new();
    for (key, span) in [
        ("id", found.id),
        ("name", found.members.name),
        ("uri", found.members.uri),
    ] {
        if let Some(span) = span {
            out.insert(key.to_owned(), of_bytes(span.of(body)));
        }
    }
    let text = |span: Span, of: &[u8]| envelope::text(span.of(of)).map(Cow::into_owned);
    if let Some(meta) = found.members.meta {
        let meta = meta.of(body);
        let hop = translate::hop_meta(meta).ok()?;
        if let Some(version) = hop.version {
            out.insert("version".into(), text(version, meta)?.into());
        }
        if let Some(at) = hop.capabilities {
            out.insert("capabilities".into(), of_bytes(at.of(meta)));
        }
    }
    if let Some(method) = said.method {
        out.insert("method".into(), method.into());
    }
    Some(out.into())
}

/// What makes params the end of a message.
const BEFORE: &[u8] = b"{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":";

pub(super) fn meta(name: &str, args: Args<'_>) -> Option<Value> {
    let (params, capabilities) = (args.bytes(0)?, args.bytes(1)?);
    let modern = match name {
        "to_modern" => true,
        "to_legacy" => false,
        _ => return None,
    };
    // Said before anybody sees params.
    if read(&[BEFORE, &params[..], b"}"].concat()).is_none() {
        return Some(bad());
    }
    let made = envelope::scan_params(&params).and_then(|found| {
        let edit = translate::meta_edit(&params, &found, modern, &capabilities)?;
        let mut out = Vec::new();
        translate::splice(&params, edit.as_slice(), &mut out);
        Ok(out)
    });
    Some(made.map_or_else(
        |_| bad(),
        |out| of_bytes(&crate::translate::canonical::canonical(&out, &[])),
    ))
}

pub(super) fn result(name: &str, args: Args<'_>) -> Option<Value> {
    let (method, raw) = (args.text(0)?, args.bytes(1)?);
    let mut out = Vec::new();
    (name == "to_modern").then(|| {
        translate::result_to_modern(method, &raw, &mut out)
            .map_or_else(|_| bad(), |()| of_bytes(&out))
    })
}

pub(super) fn header(name: &str, args: Args<'_>) -> Option<Value> {
    Some(match name {
        "write" => translate::header_value(args.text(0)?).into_owned().into(),
        "read" => translate::header_text(&args.bytes(0)?)
            .map_or(Value::Null, |text| text.into_owned().into()),
        "annotations" => match schema(&args)? {
            Some(found) => found
                .into_iter()
                .map(|(name, path)| (name, path.into()))
                .collect::<Map<_, _>>()
                .into(),
            None => Value::Null,
        },
        "mismatch" => {
            let sent = args.value(2)?.as_object()?;
            let find = |name: &str| {
                let wanted = format!("mcp-param-{}", name.to_ascii_lowercase());
                let found = sent
                    .iter()
                    .find(|(name, _)| name.to_ascii_lowercase() == wanted);
                found
                    .and_then(|(_, value)| value.as_str())
                    .map(str::as_bytes)
            };
            let schema = schema(&args)?.unwrap_or_default();
            annotations::mismatch(&schema, &args.bytes(1)?, find)
                .map_or(Value::Null, |name| format!("Mcp-Param-{name}").into())
        }
        "params" => {
            let lines = annotations::lines(&schema(&args)?.unwrap_or_default(), &args.bytes(1)?);
            let lines = String::from_utf8(lines).ok()?;
            lines
                .lines()
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect::<Map<_, _>>()
                .into()
        }
        _ => return None,
    })
}

#[allow(clippy::option_option)] // the outer one: no JSON
fn schema(args: &Args<'_>) -> Option<Option<Vec<annotations::Annotation>>> {
    let schema: Value = serde_json::from_slice(&args.bytes(0)?).ok()?;
    Some(annotations::read(&schema))
}

pub(super) fn events(name: &str, args: Args<'_>) -> Option<Value> {
    let (input, step) = (args.bytes(0)?, usize::try_from(args.number(1)?).ok()?);
    let limit = usize::try_from(args.number(2)?).ok()?;
    (name == "read").then(|| {
        read_events(&input, step.max(1), limit).map_or_else(bad, |seen| {
            seen.iter()
                .filter(|data| !data.is_empty())
                .map(|data| of_bytes(data))
                .collect()
        })
    })
}

fn length(body: Body) -> Value {
    match body {
        Body::Done => 0.into(),
        Body::Length(length) => length.into(),
        Body::Chunked(_) => "chunked".into(),
        Body::UntilClose => "close".into(),
    }
}

pub(super) fn http(name: &str, args: Args<'_>) -> Option<Value> {
    let raw = args.bytes(0)?;
    Some(match name {
        "request" => match head::request(&raw) {
            Ok(Some((found, len))) if len == raw.len() && !found.http_10 => {
                let of = |span: Option<Span>| of_some(span.map(|span| span.of(&raw)));
                json!({
                    "method": match found.method {
                        Method::Get => "GET", Method::Head => "HEAD", Method::Post => "POST", Method::Delete => "DELETE", Method::Other => "other",
                    },
                    "length": length(found.body), "keep_alive": found.keep_alive, "expect": found.expects_continue,
                    "host": of(found.host), "origin": of(found.origin), "session": of(found.session),
                    "version": of(found.version), "mcp_method": of(found.mcp_method), "mcp_name": of(found.mcp_name),
                })
            }
            _ => bad(),
        },
        "response" => match head::response(&raw, |_, _| {}) {
            Ok(Some(found)) if found.len == raw.len() => json!({
                "status": found.status, "length": length(found.body), "keep_alive": found.keep_alive,
                "json": found.content == Content::Json, "events": found.content == Content::Events,
                "session": of_some(found.session.map(|span| span.of(&raw))),
            }),
            _ => bad(),
        },
        "chunks" => {
            let step = usize::try_from(args.number(1)?).ok()?.max(1);
            chunks(&raw, step).unwrap_or_else(bad)
        }
        _ => return None,
    })
}

fn chunks(raw: &[u8], step: usize) -> Option<Value> {
    let (mut body, mut payload) = (Body::Chunked(Chunks::default()), Vec::new());
    for piece in raw.chunks(step) {
        let taken = body
            .advance(piece, |part| payload.extend_from_slice(part))
            .ok()?;
        if taken < piece.len() {
            return None; // bytes behind its end
        }
    }
    Some(json!({"payload": of_bytes(&payload), "done": body.is_done()}))
}
