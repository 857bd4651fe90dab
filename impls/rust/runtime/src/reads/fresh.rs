//! What an answer says of its own freshness, and the answer once it has aged.
//!
//! The rule: a hint that is no proper one counts as "stale at once"; of a kept answer only its remaining time changes.

use bytes::Bytes;

use super::MILLI;
use crate::envelope::{self, Span};

/// `ttl_ms` is `None` if the answer says nothing; `at` is where it stands.
#[derive(Debug, Default)]
pub(super) struct Hints {
    pub(super) complete: bool,
    pub(super) public: bool,
    pub(super) ttl_ms: Option<u64>,
    at: Option<Span>,
}

/// Reads `resultType`, `ttlMs` and `cacheScope` of a result.
pub(super) fn hints(raw: &[u8]) -> Hints {
    let (mut kind, mut scope, mut ttl) = (None, None, None);
    let walked = envelope::members(raw, |key, value| match &*envelope::plain_key(key) {
        b"\"resultType\"" => kind = Some(value),
        b"\"cacheScope\"" => scope = Some(value),
        b"\"ttlMs\"" => ttl = Some(value),
        _ => {}
    });
    if walked.is_err() {
        return Hints::default();
    }
    let parsed = ttl.map(|span| {
        let token = span.of(raw);
        let digits = !token.is_empty() && token.len() <= 15 && token.iter().all(u8::is_ascii_digit);
        let text = std::str::from_utf8(token).ok().filter(|_| digits);
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    });
    Hints {
        complete: kind.is_none_or(|span| span.of(raw) == b"\"complete\""),
        public: scope.is_some_and(|span| span.of(raw) == b"\"public\""),
        ttl_ms: parsed,
        at: ttl,
    }
}

/// An answer that may be given again.
#[derive(Debug)]
pub(super) struct Kept {
    raw: Bytes,
    at: Option<Span>,
    ttl_ms: u64,
    since_ns: u64,
}

impl Kept {
    pub(super) fn new(raw: Bytes, hints: &Hints, since_ns: u64) -> Self {
        Self {
            raw,
            at: hints.at,
            ttl_ms: hints.ttl_ms.unwrap_or(0),
            since_ns,
        }
    }

    /// The answer, byte for byte, with the time that is left in place of the time that was.
    pub(super) fn aged(&self, now_ns: u64) -> Bytes {
        let Some(at) = self.at else {
            return self.raw.clone();
        };
        let age_ms = now_ns.saturating_sub(self.since_ns).div_ceil(MILLI);
        let mut out = Vec::with_capacity(self.raw.len());
        out.extend_from_slice(&self.raw[..at.start]);
        let mut left = itoa::Buffer::new();
        out.extend_from_slice(left.format(self.ttl_ms.saturating_sub(age_ms)).as_bytes());
        out.extend_from_slice(&self.raw[at.end..]);
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_remaining_time_changes() {
        let raw = Bytes::from_static(
            br#"{"_meta":{"ttlMs":7}, "ttlMs" : 1000 ,"cacheScope":"public","x":[1.50]}"#,
        );
        let found = hints(&raw);
        assert!(found.complete && found.public);
        let kept = Kept::new(raw, &found, 5);
        let aged = kept.aged(5 + 2 * MILLI + 1);
        assert_eq!(
            &aged[..],
            br#"{"_meta":{"ttlMs":7}, "ttlMs" : 997 ,"cacheScope":"public","x":[1.50]}"#
        );
        assert!(
            kept.aged(u64::MAX)
                .windows(12)
                .any(|part| part == b"\"ttlMs\" : 0 ")
        );
    }

    #[test]
    fn a_hint_that_is_none_is_stale_and_private() {
        for odd in ["-1", "1.5", "\"9\"", "null", "1e3", "99999999999999999999"] {
            let raw = format!("{{\"ttlMs\":{odd},\"cacheScope\":\"shared\"}}");
            let found = hints(raw.as_bytes());
            assert_eq!((found.ttl_ms, found.public), (Some(0), false), "{odd}");
        }
        assert_eq!(hints(b"{}").ttl_ms, None);
        assert!(!hints(br#"{"resultType":"input_required"}"#).complete);
        assert!(!hints(b"[1]").complete);
    }
}
