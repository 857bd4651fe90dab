//! Exposed names: `server__tool` for what `server` calls `tool`, and back; the mirror of `crossfade.impls.names`.
//!
//! A server's name holds no double underscore (configuration refuses it), so the first `__` separates. Names of more
//! than [`LIMIT`] code points keep server, beginning and a hash; only the server's own list tells what they stand for.

use std::borrow::Cow;

const SEPARATOR: &str = "__";
/// The longest exposed name: "under 64", as some providers count a terminator.
const LIMIT: usize = 63;
const DIGITS: usize = 10;

/// The name a client sees.
pub(crate) fn expose<'a>(prefix: bool, server: &str, name: &'a str) -> Cow<'a, str> {
    if !prefix {
        return Cow::Borrowed(name);
    }
    let full = format!("{server}{SEPARATOR}{name}");
    if full.len() <= LIMIT || full.chars().count() <= LIMIT {
        return Cow::Owned(full);
    }
    let kept: String = full.chars().take(LIMIT - DIGITS - 1).collect();
    Cow::Owned(format!("{kept}_{:010x}", fnv1a(full.as_bytes()) >> 24))
}

/// Server and bare name of an exposed name, if it has that form.
pub(crate) fn split(exposed: &str) -> Option<(&str, &str)> {
    let (server, name) = exposed.split_once(SEPARATOR)?;
    (!server.is_empty() && !name.is_empty()).then_some((server, name))
}

/// Whether `name` may have been shortened, so that it cannot simply be split.
pub(crate) fn is_shortened(name: &str) -> bool {
    name.len() >= LIMIT
        && name.chars().count() == LIMIT
        && name.is_char_boundary(name.len() - DIGITS - 1)
        && name[name.len() - DIGITS - 1..].starts_with('_')
        && name
            .bytes()
            .rev()
            .take(DIGITS)
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// FNV-1a 64 (<http://www.isthe.com/chongo/tech/comp/fnv/>). Stable and short; not for secrets.
pub(crate) fn fnv1a(data: &[u8]) -> u64 {
    data.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_stays_under_64_and_is_known_as_shortened() {
        let long = "tool_".repeat(20);
        let exposed = expose(true, "srv", &long);
        assert_eq!(exposed.chars().count(), LIMIT);
        assert!(is_shortened(&exposed));
        assert_eq!(split(&expose(true, "a", "b__c")), Some(("a", "b__c")));
        assert!(!is_shortened("a__b"));
    }
}
