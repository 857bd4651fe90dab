//! On whose behalf a request is made: what rate limits, affinity and cached answers are keyed by, and who owns a legacy
//! session.
//!
//! The rule: the value of a header is a secret. It is hashed where it is first looked at and kept nowhere; what leaves
//! this module is a digest. Nothing is computed before a policy or a session asks, so whoever has none pays nothing.

use std::borrow::Cow;
use std::fmt::{self, Write};

use blake2::{Blake2b, Digest, digest::consts::U16};

use crate::names::fnv1a;

const ANONYMOUS: &str = "anonymous";

/// Who asks.
#[derive(Clone, Copy, Default)]
pub(crate) enum Principal<'a> {
    /// The manager itself, which limits are not for.
    #[default]
    Manager,
    /// Who did not say who they are.
    Anonymous,
    /// As the caller in process named it.
    Named(&'a str),
    /// By the header `name` of this request head.
    Head { head: &'a [u8], name: &'a str },
}

impl fmt::Debug for Principal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manager => "Manager",
            Self::Anonymous => "Anonymous",
            Self::Named(_) => "Named",
            Self::Head { .. } => "Head",
        })
    }
}

impl<'a> Principal<'a> {
    pub(crate) fn named(name: Option<&'a str>) -> Self {
        name.map_or(Self::Anonymous, Self::Named)
    }

    /// The principal of a request over HTTP: what its header called `name` says.
    pub(crate) fn of_head(head: &'a [u8], name: &'a str) -> Self {
        Self::Head { head, name }
    }

    /// What stands for it: a name, or 128 bits of `BLAKE2b` in hexadecimal digits.
    pub(crate) fn text(self) -> Cow<'a, str> {
        match self {
            Self::Manager | Self::Anonymous => Cow::Borrowed(ANONYMOUS),
            Self::Named(name) => Cow::Borrowed(name),
            Self::Head { head, name } => {
                digest(head, name).map_or(Cow::Borrowed(ANONYMOUS), |digest| {
                    let mut text = String::with_capacity(2 * digest.len());
                    for byte in digest {
                        let _ = write!(text, "{byte:02x}");
                    }
                    Cow::Owned(text)
                })
            }
        }
    }

    /// The digest of who called over HTTP and said who they are, to compare with: nothing is allocated for it.
    pub(crate) fn digest(self) -> Option<[u8; 16]> {
        match self {
            Self::Head { head, name } => digest(head, name),
            _ => None,
        }
    }

    /// Its key in the cores.
    pub(crate) fn key(self) -> u64 {
        fnv1a(self.text().as_bytes())
    }
}

/// The hash of a header's values. One that stands several times counts as a whole: whoever adds a second value is
/// somebody else.
fn digest(head: &[u8], name: &str) -> Option<[u8; 16]> {
    let mut hash = Blake2b::<U16>::new();
    let mut found = false;
    for line in head.split(|&byte| byte == b'\n').skip(1) {
        let Some((key, rest)) = line.split_at_checked(name.len()) else {
            continue;
        };
        let Some(value) = rest.strip_prefix(b":") else {
            continue;
        };
        if key.eq_ignore_ascii_case(name.as_bytes()) {
            if found {
                hash.update(b"\n");
            }
            hash.update(value.trim_ascii());
            found = true;
        }
    }
    found.then(|| hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_a_header_is_never_shown() {
        let head = b"POST /mcp HTTP/1.1\r\nHost: a\r\nAUTHORIZATION:  Bearer s3cret \r\n\r\n";
        let principal = Principal::of_head(head, "authorization");
        assert!(!format!("{principal:?} {}", principal.text()).contains("s3cret"));
        // `hashlib.blake2b(b"Bearer s3cret", digest_size=16).hexdigest()`
        assert_eq!(principal.text(), "fc4acac2b746578e99f421d9bba47b6d");
    }

    #[test]
    fn who_says_nothing_is_anonymous() {
        for head in [
            &b"POST / HTTP/1.1\r\nAuthorizations: x\r\nX-Authorization: y\r\n\r\n"[..],
            b"authorization: in the request line\r\n\r\n",
        ] {
            let principal = Principal::of_head(head, "authorization");
            assert_eq!(principal.text(), ANONYMOUS);
            assert_eq!(principal.key(), Principal::named(None).key());
        }
        let twice = b"POST / HTTP/1.1\r\nauthorization: a\r\nAuthorization: b\r\n\r\n";
        let once = b"POST / HTTP/1.1\r\nauthorization: a\r\n\r\n";
        assert_ne!(
            Principal::of_head(twice, "authorization").key(),
            Principal::of_head(once, "authorization").key()
        );
        assert_ne!(
            Principal::named(Some("a")).key(),
            Principal::named(Some("b")).key()
        );
    }
}
