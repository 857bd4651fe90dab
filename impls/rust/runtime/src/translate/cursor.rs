//! The cursors of lists that the gateway cuts into pages.
//!
//! The rule: a cursor holds for the list it was given for. It names a position and a digest of the list's names in their
//! order; when the list has changed, or belongs to somebody who sees another one, the cursor is unknown (server/
//! utilities/pagination: -32602). A page is never guessed. It is no secret: whoever makes one up sees a page of their own
//! list.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blake2::{Blake2b, Digest as _, digest::consts::U10};

const FORMAT: u8 = 1;
const SIZE: usize = 1 + 4 + 10;
const LENGTH: usize = SIZE / 3 * 4;

/// What stands for a list: which one it is, and the names in it.
pub(crate) type ListDigest = [u8; 10];

/// Items `start` to `end` of the list, and the cursor of what follows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Page {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) following: Option<String>,
}

/// The digest of the list that `method` gives, by its names (of resources the URIs).
pub(crate) fn digest<'a>(method: &'a str, names: impl IntoIterator<Item = &'a str>) -> ListDigest {
    let mut hash = Blake2b::<U10>::new();
    for text in std::iter::once(method).chain(names) {
        hash.update(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

/// The cursor for `position` in the list with that digest.
pub(crate) fn make(position: u32, listed: &ListDigest) -> String {
    let mut raw = [FORMAT; SIZE];
    raw[1..5].copy_from_slice(&position.to_be_bytes());
    raw[5..].copy_from_slice(listed);
    URL_SAFE_NO_PAD.encode(raw)
}

/// The position that `cursor` stands for in a list of `count` names, or `None` if it is not one of its cursors.
pub(crate) fn read(cursor: &str, listed: &ListDigest, count: usize) -> Option<usize> {
    let mut raw = [0; SIZE];
    if cursor.len() != LENGTH || URL_SAFE_NO_PAD.decode_slice(cursor, &mut raw) != Ok(SIZE) {
        return None;
    }
    let (format, rest) = raw.split_first()?;
    let (position, of) = rest.split_first_chunk()?;
    let position = usize::try_from(u32::from_be_bytes(*position)).ok()?;
    (*format == FORMAT && of == listed && position > 0 && position < count).then_some(position)
}

/// The page that `cursor` asks for (`None`: the first), or `None` if it is unknown. `size` 0: all in one page.
pub(crate) fn page(
    listed: &ListDigest,
    count: usize,
    size: usize,
    cursor: Option<&str>,
) -> Option<Page> {
    let start = match cursor {
        Some(cursor) => read(cursor, listed, count)?,
        None => 0,
    };
    let end = match size {
        0 => count,
        size => count.min(start.saturating_add(size)),
    };
    let following = (end < count).then(|| make(u32::try_from(end).unwrap_or(u32::MAX), listed));
    Some(Page {
        start,
        end,
        following,
    })
}
