//! What a hop adds, strips and renames, on bytes and without I/O.
//!
//! The rule: what does not belong to the hop stays as it was, byte for byte; a rewrite is a splice at a span that
//! `envelope` found. Sources: revision 2026-07-28, basic/index "_meta", streamable-http "Request Metadata" and
//! "Value Encoding", server/utilities/caching.

pub(crate) mod canonical;
pub(crate) mod codes;
pub(crate) mod cursor;
pub(crate) mod event_id;
pub(crate) mod members;
pub(crate) mod progress;
pub(crate) mod rounds;
pub(crate) mod session;
pub(crate) mod state_token;

use std::borrow::Cow;

use crate::envelope::{self, Fault, Params, Span};

pub(crate) const MODERN: &str = "2026-07-28";
/// Newest first.
pub(crate) const LEGACY: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
pub(crate) const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
pub(crate) const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";
const INFO_KEY: &str = "io.modelcontextprotocol/clientInfo";
pub(crate) const LOG_KEY: &str = "io.modelcontextprotocol/logLevel";
pub(crate) const SERVER_INFO_KEY: &str = "io.modelcontextprotocol/serverInfo";
pub(crate) const NAME: &str = "crossfade";
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Bytes to put in place of a span. Edits of one splice do not overlap.
#[derive(Clone, Debug)]
pub(crate) struct Edit<'a> {
    pub(crate) at: Span,
    pub(crate) with: Cow<'a, [u8]>,
}

/// Appends `body` to `out` with every edit made. Edits are in order of position.
pub(crate) fn splice(body: &[u8], edits: &[Edit<'_>], out: &mut Vec<u8>) {
    let mut at = 0;
    for edit in edits {
        out.extend_from_slice(&body[at..edit.at.start]);
        out.extend_from_slice(&edit.with);
        at = edit.at.end;
    }
    out.extend_from_slice(&body[at..]);
}

/// How much longer (or shorter) a body becomes by `edits`.
pub(crate) fn growth(edits: &[Edit<'_>]) -> isize {
    edits
        .iter()
        .map(|edit| edit.with.len().cast_signed() - (edit.at.end - edit.at.start).cast_signed())
        .sum()
}

/// What `_meta` says about the hop.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HopMeta {
    pub(crate) version: Option<Span>,
    pub(crate) capabilities: Option<Span>,
    pub(crate) info: Option<Span>,
    pub(crate) log: Option<Span>,
}

/// Reads the hop's keys of a `_meta` object; spans count from the start of `meta`. The era hangs on the version, so it
/// stands once.
pub(crate) fn hop_meta(meta: &[u8]) -> Result<HopMeta, Fault> {
    let mut found = HopMeta::default();
    let mut twice = false;
    envelope::members(meta, |key, value| {
        let slot = match envelope::text(key).as_deref() {
            Some(VERSION_KEY) => {
                twice |= found.version.is_some();
                &mut found.version
            }
            Some(CAPABILITIES_KEY) => &mut found.capabilities,
            Some(INFO_KEY) => &mut found.info,
            Some(LOG_KEY) => &mut found.log,
            _ => return,
        };
        *slot = Some(value);
    })?;
    if twice {
        return Err(Fault::Duplicate("protocolVersion in params._meta"));
    }
    Ok(found)
}

/// `_meta` without the keys of the hop: a legacy server must not see them.
pub(crate) fn strip_hop(meta: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut out = vec![b'{'];
    envelope::members(meta, |key, value| {
        if !is_hop_key(key) {
            push_member(&mut out, key, value.of(meta));
        }
    })?;
    out.push(b'}');
    Ok(out)
}

/// `_meta` with the keys that a modern server requires; `capabilities` are the caller's, and so is what it says of
/// itself.
pub(crate) fn with_hop(meta: Option<&[u8]>, capabilities: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut out = vec![b'{'];
    let mut introduced = false;
    if let Some(meta) = meta {
        envelope::members(meta, |key, value| {
            let name = envelope::text(key);
            introduced |= name.as_deref() == Some(INFO_KEY);
            if !matches!(name.as_deref(), Some(VERSION_KEY | CAPABILITIES_KEY)) {
                push_member(&mut out, key, value.of(meta));
            }
        })?;
    }
    push_member(
        &mut out,
        format!("\"{VERSION_KEY}\"").as_bytes(),
        format!("\"{MODERN}\"").as_bytes(),
    );
    if !introduced {
        let info = format!("{{\"name\":\"{NAME}\",\"version\":\"{VERSION}\"}}");
        push_member(
            &mut out,
            format!("\"{INFO_KEY}\"").as_bytes(),
            info.as_bytes(),
        );
    }
    push_member(
        &mut out,
        format!("\"{CAPABILITIES_KEY}\"").as_bytes(),
        capabilities,
    );
    out.push(b'}');
    Ok(out)
}

pub(crate) fn is_hop_key(key: &[u8]) -> bool {
    matches!(
        envelope::text(key).as_deref(),
        Some(VERSION_KEY | CAPABILITIES_KEY | INFO_KEY | LOG_KEY)
    )
}

fn push_member(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    if out.len() > 1 {
        out.push(b',');
    }
    out.extend_from_slice(key);
    out.push(b':');
    out.extend_from_slice(value);
}

/// The edit that turns `params._meta` into what the next hop wants, for a complete `params` object.
/// Spans count from where `params` counts from.
pub(crate) fn meta_edit<'a>(
    input: &[u8],
    params: &Params,
    modern: bool,
    capabilities: &[u8],
) -> Result<Option<Edit<'a>>, Fault> {
    let Some(open) = params.open else {
        return Ok(None);
    };
    match (params.meta, modern) {
        (None, false) => Ok(None),
        (Some(at), false) => {
            let rest = strip_hop(at.of(input))?;
            let empty = rest == b"{}";
            Ok(Some(Edit {
                at: if empty { whole_member(input, at) } else { at },
                with: if empty { Vec::new() } else { rest }.into(),
            }))
        }
        (Some(at), true) => Ok(Some(Edit {
            at,
            with: with_hop(Some(at.of(input)), capabilities)?.into(),
        })),
        (None, true) => {
            let mut field = b"\"_meta\":".to_vec();
            field.extend_from_slice(&with_hop(None, capabilities)?);
            if !params.empty {
                field.push(b',');
            }
            Ok(Some(Edit {
                at: Span {
                    start: open,
                    end: open,
                },
                with: field.into(),
            }))
        }
    }
}

/// The span of the member `_meta` whose value is at `value`, with the comma that leaves with it.
fn whole_member(input: &[u8], value: Span) -> Span {
    // Behind the value or before the key; the key itself holds no quote, however it is spelled.
    let before = &input[..value.start];
    let quote = memchr::memrchr(b'"', before).unwrap_or(0);
    let start = memchr::memrchr(b'"', &before[..quote]).unwrap_or(0);
    let behind = input[value.end..].trim_ascii_start();
    if behind.starts_with(b",") {
        let end = input.len() - behind.len() + 1;
        return Span { start, end };
    }
    let ahead = input[..start].trim_ascii_end();
    Span {
        start: ahead.len() - usize::from(ahead.ends_with(b",")),
        end: value.end,
    }
}

/// True for results that carry `ttlMs` and `cacheScope`.
pub(crate) fn is_cacheable(method: &str) -> bool {
    matches!(
        method,
        "tools/list"
            | "prompts/list"
            | "resources/list"
            | "resources/templates/list"
            | "resources/read"
            | "server/discover"
    )
}

/// A legacy `result` with what a modern client must find. A legacy server gave no caching hint, so the honest one is
/// "stale at once, for nobody else".
pub(crate) fn result_to_modern(method: &str, raw: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    let (mut kind, mut ttl, mut scope, mut empty) = (false, false, false, true);
    envelope::members(raw, |key, _| {
        empty = false;
        match &*envelope::plain_key(key) {
            b"\"resultType\"" => kind = true,
            b"\"ttlMs\"" => ttl = true,
            b"\"cacheScope\"" => scope = true,
            _ => {}
        }
    })?;
    let open = memchr::memchr(b'{', raw).unwrap_or(0) + 1;
    out.extend_from_slice(&raw[..open]);
    let before = out.len();
    let add = |out: &mut Vec<u8>, field: &[u8]| {
        if out.len() > before {
            out.push(b',');
        }
        out.extend_from_slice(field);
    };
    if !kind {
        add(out, b"\"resultType\":\"complete\"");
    }
    if is_cacheable(method) {
        if !ttl {
            add(out, b"\"ttlMs\":0");
        }
        if !scope {
            add(out, b"\"cacheScope\":\"private\"");
        }
    }
    if out.len() > before && !empty {
        out.push(b',');
    }
    out.extend_from_slice(&raw[open..]);
    Ok(())
}

/// `text` as a value of `Mcp-Name`: plain where that is safe, Base64 with its sentinel elsewhere.
pub(crate) fn header_value(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let visible = |byte: Option<&u8>| byte.is_some_and(|b| (0x21..=0x7e).contains(b));
    let safe = visible(bytes.first())
        && visible(bytes.last())
        && bytes
            .iter()
            .all(|b| (0x20..=0x7e).contains(b) || *b == b'\t')
        && !(text.starts_with("=?base64?") && text.ends_with("?="));
    if safe {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("=?base64?{}?=", base64(bytes)))
    }
}

/// What a header value stands for; `None` if it claims to be Base64 and is not.
pub(crate) fn header_text(value: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(value).ok()?;
    match text
        .strip_prefix("=?base64?")
        .and_then(|rest| rest.strip_suffix("?="))
    {
        None => Some(Cow::Borrowed(text)),
        Some(coded) => String::from_utf8(unbase64(coded.as_bytes())?)
            .ok()
            .map(Cow::Owned),
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(input: &[u8]) -> String {
    let mut out = String::with_capacity(input.len().div_ceil(3) * 4);
    for group in input.chunks(3) {
        let bits = group
            .iter()
            .fold(0u32, |bits, &byte| bits << 8 | u32::from(byte))
            << (8 * (3 - group.len()));
        for place in 0..4 {
            if place <= group.len() {
                out.push(ALPHABET[(bits >> (18 - 6 * place) & 63) as usize] as char);
            } else {
                out.push('=');
            }
        }
    }
    out
}

pub(crate) fn unbase64(input: &[u8]) -> Option<Vec<u8>> {
    if !input.len().is_multiple_of(4) {
        return None;
    }
    let pad = input
        .iter()
        .rev()
        .take(2)
        .take_while(|&&byte| byte == b'=')
        .count();
    let mut out = Vec::with_capacity(input.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0u32);
    for &byte in &input[..input.len() - pad] {
        let value = u32::try_from(ALPHABET.iter().position(|&letter| letter == byte)?).ok()?;
        bits = bits << 6 | value;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    Some(out)
}

/// Appends `text` as a JSON string.
pub(crate) fn push_json_string(out: &mut Vec<u8>, text: &str) {
    // Writing to a Vec cannot fail.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests;
