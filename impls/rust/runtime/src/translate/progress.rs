//! The progress token on a hop: the gateway's own in place of a client's, and the client's put back.
//!
//! The rule: tokens of different clients collide, so none of them goes upstream on the long way; the client's comes back
//! as it was written, string or number. Everything else in params stays byte for byte (basic/patterns/progress).

use std::borrow::Cow;

use super::{Edit, members};
use crate::envelope::{self, Envelope, Span};

const META: &[u8] = b"\"_meta\"";
const TOKEN: &[u8] = b"\"progressToken\"";

/// The token in the params of a progress notification as it is written, or `None` if there is no proper one.
pub(crate) fn token_of(params: &[u8]) -> Option<&[u8]> {
    let token = value(params, TOKEN)?.of(params);
    envelope::is_id(token).then_some(token)
}

/// The token in a request's `_meta` as it is written, or `None` if it asks for no progress.
pub(crate) fn asked_for(params: &[u8]) -> Option<&[u8]> {
    token_of(value(params, META)?.of(params))
}

/// A request's params with another token in `_meta`; as they were if they have none. `token` is JSON.
pub(crate) fn with_token<'a>(params: &'a [u8], token: &[u8]) -> Cow<'a, [u8]> {
    let Some(at) = value(params, META) else {
        return params.into();
    };
    match members::replaced(at.of(params), TOKEN, token) {
        Ok(Cow::Owned(meta)) => {
            let mut out = Vec::with_capacity(params.len() + token.len());
            let edit = Edit {
                at,
                with: meta.into(),
            };
            super::splice(params, &[edit], &mut out);
            out.into()
        }
        _ => params.into(),
    }
}

/// The params of a progress notification with the client's token, as [`asked_for`] found it.
pub(crate) fn restored<'a>(params: &'a [u8], token: &[u8]) -> Cow<'a, [u8]> {
    members::replaced(params, TOKEN, token).unwrap_or(params.into())
}

/// [`token_of`] of a whole notification.
pub(crate) fn token_in<'a>(message: &'a [u8], found: &Envelope) -> Option<&'a [u8]> {
    token_of(found.params?.of(message))
}

/// [`restored`] for a whole notification; `None` if it has no params.
pub(crate) fn retold(message: &[u8], found: &Envelope, token: &[u8]) -> Option<Vec<u8>> {
    let at = found.params?;
    let with = restored(at.of(message), token);
    let mut out = Vec::with_capacity(message.len() + token.len());
    super::splice(message, &[Edit { at, with }], &mut out);
    Some(out)
}

fn value(raw: &[u8], key: &[u8]) -> Option<Span> {
    members::value_of(raw, key).ok().flatten()
}
