//! Where the parts of a message lie that a fleet server looks at.
//!
//! Rule: one pass, nothing copied and nothing converted: ranges into the message, empty for what is absent. A key that is
//! given twice counts as it was given last.

use std::ops::Range;

use crate::scan::{self, NotJson};

#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) id: Range<usize>,
    pub(super) method: Range<usize>,
    pub(super) name: Range<usize>,
    pub(super) text: Range<usize>,
    pub(super) millis: Range<usize>,
    pub(super) events: Range<usize>,
    pub(super) uri: Range<usize>,
    pub(super) progress: Range<usize>,
    pub(super) requested: Range<usize>,
    pub(super) cancelled: Range<usize>,
    pub(super) version: Range<usize>,
    pub(super) capabilities: bool,
}

/// A JSON string without its quotes; anything else is empty.
pub(super) fn strip(raw: &[u8]) -> &[u8] {
    if raw.len() >= 2 && raw[0] == b'"' {
        &raw[1..raw.len() - 1]
    } else {
        b""
    }
}

pub(super) fn parse(body: &[u8]) -> Result<Message, NotJson> {
    let mut message = Message::default();
    let start = scan::space(body, 0);
    let end = scan::members(body, start, &mut |key, at| match key {
        b"id" => scan::span(body, at, &mut message.id),
        b"method" => scan::span(body, at, &mut message.method),
        b"params" if body.get(at) == Some(&b'{') => params(body, at, &mut message),
        _ => scan::value(body, at),
    })?;
    if scan::space(body, end) == body.len() {
        Ok(message)
    } else {
        Err(NotJson(end))
    }
}

fn params(body: &[u8], at: usize, message: &mut Message) -> Result<usize, NotJson> {
    scan::members(body, at, &mut |key, at| match key {
        b"name" => scan::span(body, at, &mut message.name),
        b"protocolVersion" => scan::span(body, at, &mut message.requested),
        b"uri" => scan::span(body, at, &mut message.uri),
        b"requestId" => scan::span(body, at, &mut message.cancelled),
        b"arguments" if body.get(at) == Some(&b'{') => {
            scan::members(body, at, &mut |key, at| match key {
                b"text" => scan::span(body, at, &mut message.text),
                b"ms" => scan::span(body, at, &mut message.millis),
                b"events" => scan::span(body, at, &mut message.events),
                _ => scan::value(body, at),
            })
        }
        b"_meta" if body.get(at) == Some(&b'{') => {
            scan::members(body, at, &mut |key, at| match key {
                b"io.modelcontextprotocol/protocolVersion" => {
                    scan::span(body, at, &mut message.version)
                }
                b"progressToken" => scan::span(body, at, &mut message.progress),
                b"io.modelcontextprotocol/clientCapabilities" => {
                    message.capabilities = true;
                    scan::value(body, at)
                }
                _ => scan::value(body, at),
            })
        }
        _ => scan::value(body, at),
    })
}
