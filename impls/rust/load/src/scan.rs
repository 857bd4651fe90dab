//! One pass over JSON without building anything: find members, skip values.
//!
//! Rule: every byte is looked at once. A caller that wants the inside of a value descends from the callback and returns
//! where the value ends, so nothing is skipped first and parsed again. Structure and strings are checked (brackets pair,
//! strings end, members have colons); literals and numbers are taken as they come: the far side does the validating.

use std::ops::Range;

use memchr::memchr2;

/// The text is not JSON as far as we looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not JSON at byte {0}")]
pub struct NotJson(pub usize);

type At = Result<usize, NotJson>;

/// The first byte at or after `at` that is not white space.
#[inline]
pub fn space(text: &[u8], mut at: usize) -> usize {
    while at < text.len() && matches!(text[at], b' ' | b'\n' | b'\r' | b'\t') {
        at += 1;
    }
    at
}

/// The end of the string that opens at `at`.
#[inline]
pub fn string(text: &[u8], at: usize) -> At {
    if text.get(at) != Some(&b'"') {
        return Err(NotJson(at));
    }
    let mut from = at + 1;
    loop {
        match memchr2(b'"', b'\\', text.get(from..).ok_or(NotJson(at))?) {
            None => return Err(NotJson(at)),
            Some(found) if text[from + found] == b'"' => return Ok(from + found + 1),
            Some(found) => from += found + 2,
        }
    }
}

/// The end of the value that starts at `at`.
pub fn value(text: &[u8], at: usize) -> At {
    match text.get(at) {
        Some(b'"') => string(text, at),
        Some(b'{' | b'[') => container(text, at),
        Some(b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
            let scalar = text[at..]
                .iter()
                .position(|b| matches!(b, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'));
            Ok(scalar.map_or(text.len(), |found| at + found))
        }
        _ => Err(NotJson(at)),
    }
}

/// Skips an object or array: brackets are counted on one stack of bits, so depth is bounded at 128 and never recursive.
fn container(text: &[u8], start: usize) -> At {
    let (mut at, mut depth, mut kinds) = (start, 0_u32, 0_u128);
    while at < text.len() {
        match text[at] {
            b'"' => {
                at = string(text, at)?;
                continue;
            }
            open @ (b'{' | b'[') => {
                if depth == 128 {
                    return Err(NotJson(at));
                }
                depth += 1;
                kinds = kinds << 1 | u128::from(open == b'{');
            }
            close @ (b'}' | b']') => {
                if (kinds & 1 == 1) != (close == b'}') {
                    return Err(NotJson(at));
                }
                kinds >>= 1;
                depth -= 1;
                if depth == 0 {
                    return Ok(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    Err(NotJson(start))
}

/// Visits the members of the object at `at`: `visit(key, value_start)` returns the value's end. Returns the object's end.
pub fn members<F>(text: &[u8], at: usize, visit: &mut F) -> At
where
    F: FnMut(&[u8], usize) -> At,
{
    if text.get(at) != Some(&b'{') {
        return Err(NotJson(at));
    }
    let mut at = space(text, at + 1);
    if text.get(at) == Some(&b'}') {
        return Ok(at + 1);
    }
    loop {
        let key_end = string(text, at)?;
        let key = at + 1..key_end - 1;
        at = space(text, key_end);
        if text.get(at) != Some(&b':') {
            return Err(NotJson(at));
        }
        at = space(text, at + 1);
        at = space(text, visit(&text[key], at)?);
        match text.get(at) {
            Some(b',') => at = space(text, at + 1),
            Some(b'}') => return Ok(at + 1),
            _ => return Err(NotJson(at)),
        }
    }
}

/// Visits the elements of the array at `at`, as [`members`] does.
pub fn elements<F>(text: &[u8], at: usize, visit: &mut F) -> At
where
    F: FnMut(usize, usize) -> At,
{
    if text.get(at) != Some(&b'[') {
        return Err(NotJson(at));
    }
    let mut at = space(text, at + 1);
    if text.get(at) == Some(&b']') {
        return Ok(at + 1);
    }
    let mut index = 0;
    loop {
        at = space(text, visit(index, at)?);
        index += 1;
        match text.get(at) {
            Some(b',') => at = space(text, at + 1),
            Some(b']') => return Ok(at + 1),
            _ => return Err(NotJson(at)),
        }
    }
}

/// Skips the value at `at` and notes where it lies.
#[inline]
pub fn span(text: &[u8], at: usize, into: &mut Range<usize>) -> At {
    let end = value(text, at)?;
    *into = at..end;
    Ok(end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(text: &[u8]) -> Result<Vec<(String, String)>, NotJson> {
        let mut seen = Vec::new();
        members(text, 0, &mut |key, at| {
            let mut range = 0..0;
            let end = span(text, at, &mut range)?;
            seen.push((
                String::from_utf8_lossy(key).into(),
                String::from_utf8_lossy(&text[range]).into(),
            ));
            Ok(end)
        })?;
        Ok(seen)
    }

    #[test]
    fn members_are_found_whatever_the_spacing() {
        let seen = keys(b" {".trim_ascii_start()).err();
        assert!(seen.is_some());
        let seen =
            keys(b"{ \"a\" : [1, {\"b\": \"]}\"}] ,\n\"c\":\"\\\"\\\\\", \"d\":-1e3}").unwrap();
        assert_eq!(seen[0], ("a".into(), "[1, {\"b\": \"]}\"}]".into()));
        assert_eq!(seen[1], ("c".into(), "\"\\\"\\\\\"".into()));
        assert_eq!(seen[2], ("d".into(), "-1e3".into()));
    }

    #[test]
    fn broken_text_is_refused_not_read_past() {
        for text in [
            "",
            "[]",
            "{",
            "{\"a\"}",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":\"x",
            "{\"a\":[}",
            "{\"a\":1,}",
            "{\"a\":\"\\",
        ] {
            assert!(keys(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_panic(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = value(&text, 0);
            let _ = keys(&text);
        }

        #[test]
        fn any_json_is_skipped_to_its_end(words in proptest::collection::vec(any::<String>(), 0..6), depth in 0_usize..20) {
            let inner = serde_json::to_string(&words).unwrap();
            let text = format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
            prop_assert_eq!(value(text.as_bytes(), 0), Ok(text.len()));
        }

        #[test]
        fn members_agree_with_serde(words in proptest::collection::hash_map("[a-z]{1,8}", any::<String>(), 0..6)) {
            let text = serde_json::to_string(&words).unwrap();
            let seen = keys(text.as_bytes()).unwrap();
            prop_assert_eq!(seen.len(), words.len());
            for (key, raw) in seen {
                prop_assert_eq!(&serde_json::from_str::<String>(&raw).unwrap(), &words[&key]);
            }
        }
    }
}
