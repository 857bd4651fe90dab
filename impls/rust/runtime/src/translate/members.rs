//! Changing single members of one JSON object without touching the others.
//!
//! The rule: what is not changed stays as it was, byte for byte, order, white space and unknown members included.

use std::borrow::Cow;

use crate::envelope::{self, Fault, Span};

/// The value of `key` (with its quotes); of several the last one.
pub(crate) fn value_of(raw: &[u8], key: &[u8]) -> Result<Option<Span>, Fault> {
    let mut found = None;
    envelope::members(raw, |name, value| {
        if is(name, key) {
            found = Some(value);
        }
    })?;
    Ok(found)
}

/// The object with `value` in every place where `key` has one; borrowed if there is none.
pub(crate) fn replaced<'a>(
    raw: &'a [u8],
    key: &[u8],
    value: &[u8],
) -> Result<Cow<'a, [u8]>, Fault> {
    let mut spans = Vec::new();
    envelope::members(raw, |name, span| {
        if is(name, key) {
            spans.push(span);
        }
    })?;
    if spans.is_empty() {
        return Ok(raw.into());
    }
    let edits: Vec<_> = spans
        .into_iter()
        .map(|at| super::Edit {
            at,
            with: value.into(),
        })
        .collect();
    let mut out = Vec::with_capacity(raw.len() + value.len());
    super::splice(raw, &edits, &mut out);
    Ok(out.into())
}

/// The object without some of its members; borrowed if it has none of them.
pub(crate) fn without<'a>(raw: &'a [u8], keys: &[&[u8]]) -> Result<Cow<'a, [u8]>, Fault> {
    let (mut out, mut gone) = (vec![b'{'], false);
    envelope::members(raw, |name, value| {
        if keys.iter().any(|key| is(name, key)) {
            gone = true;
        } else {
            super::push_member(&mut out, name, value.of(raw));
        }
    })?;
    out.push(b'}');
    Ok(if gone { out.into() } else { raw.into() })
}

/// The object with more members in front of its own; each is `"key":value`.
pub(crate) fn added(raw: &[u8], fields: &[Vec<u8>]) -> Result<Vec<u8>, Fault> {
    let mut empty = true;
    envelope::members(raw, |_, _| empty = false)?;
    let open = memchr::memchr(b'{', raw).unwrap_or(0) + 1;
    let mut out = raw[..open].to_vec();
    out.extend_from_slice(&fields.join(&b','));
    if !empty && !fields.is_empty() {
        out.push(b',');
    }
    out.extend_from_slice(&raw[open..]);
    Ok(out)
}

/// Whether a key, however it is spelled, is `wanted` (with its quotes, without escapes).
pub(crate) fn is(key: &[u8], wanted: &[u8]) -> bool {
    *envelope::plain_key(key) == *wanted
}
