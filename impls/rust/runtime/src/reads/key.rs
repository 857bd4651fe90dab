//! What makes two requests the same: method, params however they were written, and on whose behalf.
//!
//! The rule: two requests are the same only if no server could tell them apart, but for white space and the order of
//! keys; what belongs to one caller alone has no key.

use std::sync::Arc;

use crate::envelope;
use crate::translate::{self, is_hop_key};
use crate::upstream::Outgoing;

/// JSON that is nested more deeply has no key.
const DEEPEST: u32 = 64;

/// What was asked, and on whose behalf; without a principal it is for answers that are everybody's.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key {
    pub(super) method: &'static str,
    pub(super) params: Arc<[u8]>,
    principal: Option<Arc<str>>,
}

impl Key {
    pub(super) fn new(outgoing: &Outgoing<'_>) -> Option<Self> {
        Some(Self {
            method: of_method(outgoing.method)?,
            params: canonical(outgoing.params, outgoing.caller.capabilities)?.into(),
            principal: Some(outgoing.caller.principal.text().as_ref().into()),
        })
    }

    /// The key of an answer that is everybody's.
    pub(super) fn public(&self) -> Self {
        Self {
            principal: None,
            ..self.clone()
        }
    }
}

/// The methods whose answers may be kept or shared.
pub(super) fn of_method(method: &str) -> Option<&'static str> {
    [
        "resources/read",
        "prompts/get",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
    ]
    .into_iter()
    .find(|known| *known == method)
}

/// Whether `params._meta` asks for what only its sender can use.
pub(crate) fn is_alone(meta: &[u8]) -> bool {
    let mut alone = false;
    let _ = envelope::members(meta, |key, _| {
        alone |= envelope::text(key).as_deref() == Some("progressToken");
    });
    alone
}

/// Params as one text; `None` if they cannot be shared with anybody. The capabilities count, because answers may go
/// by them; who carried the request does not.
pub(super) fn canonical(params: &[u8], capabilities: &[u8]) -> Option<Vec<u8>> {
    let params: &[u8] = if params.is_empty() { b"{}" } else { params };
    let mut out = vec![b'['];
    let mut own = false;
    let mut meta = None;
    object(params, DEEPEST, &mut out, |name, value| match name {
        // Params of a further round belong to one conversation.
        "requestState" | "inputResponses" => {
            own = true;
            false
        }
        "_meta" => {
            meta = Some(value);
            false
        }
        _ => true,
    })?;
    out.push(b',');
    if let Some(meta) = meta {
        let meta = meta.of(params);
        own |= is_alone(meta);
        object(meta, DEEPEST, &mut out, |name, _| {
            !is_hop_key(&token(name)) && !matches!(name, "traceparent" | "tracestate" | "baggage")
        })?;
    } else {
        out.extend_from_slice(b"{}");
    }
    out.push(b',');
    value(capabilities, DEEPEST, &mut out)?;
    out.push(b']');
    (!own).then_some(out)
}

/// A string as it stands in canonical params.
pub(super) fn token(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    translate::push_json_string(&mut out, text);
    out
}

fn value(raw: &[u8], depth: u32, out: &mut Vec<u8>) -> Option<()> {
    let raw = raw.trim_ascii();
    match raw.first()? {
        b'{' => object(raw, depth.checked_sub(1)?, out, |_, _| true),
        b'[' => {
            let depth = depth.checked_sub(1)?;
            let mut spans = Vec::new();
            envelope::elements(raw, |span| spans.push(span)).ok()?;
            out.push(b'[');
            for (index, span) in spans.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                value(span.of(raw), depth, out)?;
            }
            out.push(b']');
            Some(())
        }
        b'"' => {
            translate::push_json_string(out, &envelope::text(raw)?);
            Some(())
        }
        _ => {
            out.extend_from_slice(raw);
            Some(())
        }
    }
}

/// The members that `takes` wants, in order of their names. A name that stands twice has no meaning that all servers
/// agree on.
fn object(
    raw: &[u8],
    depth: u32,
    out: &mut Vec<u8>,
    mut takes: impl FnMut(&str, envelope::Span) -> bool,
) -> Option<()> {
    let mut members = Vec::new();
    envelope::members(raw, |key, value| {
        members.push((envelope::text(key).map(std::borrow::Cow::into_owned), value));
    })
    .ok()?;
    members.sort_by(|one, other| one.0.cmp(&other.0));
    if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return None;
    }
    out.push(b'{');
    let mut first = true;
    for (name, span) in members {
        let name = name?;
        if !takes(&name, span) {
            continue;
        }
        if !first {
            out.push(b',');
        }
        first = false;
        translate::push_json_string(out, &name);
        out.push(b':');
        value(span.of(raw), depth, out)?;
    }
    out.push(b'}');
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, other: &str) -> bool {
        let key = |params: &str| canonical(params.as_bytes(), b"{}");
        assert!(key(one).is_some(), "{one}");
        key(one) == key(other)
    }

    #[test]
    fn order_and_white_space_do_not_matter_and_all_else_does() {
        assert!(same(
            r#"{"a":1,"b":[1,{"x":2,"y":"\u0041"}]}"#,
            "{ \"b\" : [1,{\"y\":\"A\",\"x\":2}] , \"a\":1 }"
        ));
        assert!(same("{}", ""));
        for other in [
            r#"{"a":2}"#,
            r#"{"a":"1"}"#,
            r#"{"a":1.0}"#,
            r#"{"a":[1]}"#,
            r#"{"b":1}"#,
            "{}",
        ] {
            assert!(!same(r#"{"a":1}"#, other), "{other}");
        }
        let hop = r#"{"a":1,"_meta":{"io.modelcontextprotocol/clientInfo":{"name":"x"},"traceparent":"t"}}"#;
        assert!(same(r#"{"a":1}"#, hop));
        assert!(!same(
            r#"{"a":1}"#,
            r#"{"a":1,"_meta":{"vendor/tenant":"x"}}"#
        ));
        assert_ne!(
            canonical(b"{}", b"{}"),
            canonical(b"{}", br#"{"roots":{}}"#)
        );
    }

    #[test]
    fn what_is_one_callers_own_has_no_key() {
        for own in [
            r#"{"requestState":"s"}"#,
            r#"{"inputResponses":{}}"#,
            r#"{"_meta":{"progressToken":1}}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            "[]",
        ] {
            assert_eq!(canonical(own.as_bytes(), b"{}"), None, "{own}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100));
        assert_eq!(canonical(deep.as_bytes(), b"{}"), None);
    }
}
