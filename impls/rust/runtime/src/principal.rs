//! On whose behalf a request is made: what rate limits, affinity and cached answers are keyed by.
//!
//! The rule: the value of a header is a secret. It is hashed where it is first looked at and kept nowhere; what leaves
//! this module is a digest. Nothing is computed before a policy asks, so whoever has none pays nothing.

use std::borrow::Cow;
use std::fmt;

use blake2::{Blake2b, Digest, digest::consts::U16};

use crate::names::fnv1a;

/// Who did not say who they are.
const ANONYMOUS: &str = "anonymous";

/// Who asks.
#[derive(Clone, Copy, Default)]
pub(crate) enum Principal<'a> {
    #[default]
    Anonymous,
    /// As the caller in process named it.
    Named(&'a str),
    /// The value of `gateway.principalHeader`.
    Secret(&'a [u8]),
}

impl fmt::Debug for Principal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Named(_) => "Named",
            Self::Secret(_) => "Secret",
        })
    }
}

impl<'a> Principal<'a> {
    pub(crate) fn named(name: Option<&'a str>) -> Self {
        name.map_or(Self::Anonymous, Self::Named)
    }

    /// The principal of a request head: the first header called `name`, if it has a value.
    pub(crate) fn of_head(head: &'a [u8], name: &str) -> Self {
        let value = head
            .split(|&byte| byte == b'\n')
            .skip(1)
            .find_map(|line| {
                let (found, rest) = line.split_at_checked(name.len())?;
                let value = rest.strip_prefix(b":")?;
                found
                    .eq_ignore_ascii_case(name.as_bytes())
                    .then_some(value.trim_ascii())
            })
            .filter(|value| !value.is_empty());
        value.map_or(Self::Anonymous, Self::Secret)
    }

    /// What stands for it: a name, or 128 bits of BLAKE2b in hexadecimal digits.
    pub(crate) fn text(self) -> Cow<'a, str> {
        match self {
            Self::Anonymous => Cow::Borrowed(ANONYMOUS),
            Self::Named(name) => Cow::Borrowed(name),
            Self::Secret(value) => {
                let digest = Blake2b::<U16>::digest(value);
                let mut text = String::with_capacity(32);
                for byte in digest {
                    use fmt::Write;
                    let _ = write!(text, "{byte:02x}");
                }
                Cow::Owned(text)
            }
        }
    }

    /// Its key in the cores.
    pub(crate) fn key(self) -> u64 {
        fnv1a(self.text().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_a_header_is_never_shown() {
        let head = b"POST /mcp HTTP/1.1\r\nHost: a\r\nAUTHORIZATION:  Bearer s3cret \r\n\r\n";
        let principal = Principal::of_head(head, "authorization");
        assert!(matches!(principal, Principal::Secret(b"Bearer s3cret")));
        assert!(!format!("{principal:?} {}", principal.text()).contains("s3cret"));
        // `hashlib.blake2b(b"Bearer s3cret", digest_size=16).hexdigest()`
        assert_eq!(principal.text(), "fc4acac2b746578e99f421d9bba47b6d");
    }

    #[test]
    fn who_says_nothing_is_anonymous() {
        for head in [
            &b"POST / HTTP/1.1\r\nAuthorizations: x\r\nX-Authorization: y\r\n\r\n"[..],
            b"POST / HTTP/1.1\r\nAuthorization:\r\n\r\n",
            b"authorization: in the request line\r\n\r\n",
        ] {
            let principal = Principal::of_head(head, "authorization");
            assert_eq!(principal.text(), ANONYMOUS);
            assert_eq!(principal.key(), Principal::named(None).key());
        }
        assert_ne!(
            Principal::named(Some("a")).key(),
            Principal::named(Some("b")).key()
        );
    }
}
