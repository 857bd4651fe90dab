//! `requestState`: the token by which a client comes back to a call that waits for its input.
//!
//! The rules (2026-07-28 basic/patterns/mrtr, "Server Requirements"): whoever sends it is a stranger, so it is
//! authenticated before anything in it is believed, and bound to a time, to a principal and to the request it was made
//! for. It says nothing but whose call it is: what the call is stays here. One bit changed anywhere, or another spelling
//! of the same bytes, is another token. That a round is used once is for the keeper of the calls to see to.
//!
//! The token is base64url of `payload || HMAC-SHA256(key, payload)` (93 bytes: no padding, no bits to spare), payload =
//! 1, call (16 bytes), round (u32), expiry (u64, ms since 1970), principal (`BLAKE2b`-128), request (`BLAKE2b`-128);
//! numbers are big-endian.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blake2::{Blake2b, Digest as _, digest::consts::U16};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::canonical::canonical;

const FORMAT: u8 = 1;
const PAYLOAD: usize = 1 + 16 + 4 + 8 + 16 + 16;
const MAC: usize = 32;
/// Length of a token.
pub(crate) const LENGTH: usize = (PAYLOAD + MAC) / 3 * 4;

/// What makes two requests the same.
pub(crate) type Digest = [u8; 16];

/// What a token that holds says: the call, and which of its rounds is answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct State {
    pub(crate) call: [u8; 16],
    pub(crate) round: u32,
}

/// Why a token counts for nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// It has not the form of a token.
    Malformed,
    /// Nobody with the key made it.
    Forged,
    /// Its time is over.
    Expired,
    /// It is somebody else's.
    Principal,
    /// It belongs to another request.
    Request,
}

impl Refusal {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Forged => "forged",
            Self::Expired => "expired",
            Self::Principal => "principal",
            Self::Request => "request",
        }
    }
}

/// What makes two requests the same. `params` is a valid JSON object; its spelling does not count.
pub(crate) fn request_digest(method: &str, params: &[u8]) -> Digest {
    // These differ between a request and its retry.
    let hop: [&[u8]; 3] = [b"\"_meta\"", b"\"inputResponses\"", b"\"requestState\""];
    hash(&[method.as_bytes(), b"\0", &canonical(params, &hop)])
}

/// The token for a round of a call; `digest` is the request's.
pub(crate) fn make(
    key: &[u8; 32],
    state: State,
    expiry_ms: u64,
    principal: &str,
    digest: &Digest,
) -> String {
    let mut raw = Vec::with_capacity(PAYLOAD + MAC);
    raw.push(FORMAT);
    raw.extend_from_slice(&state.call);
    raw.extend_from_slice(&state.round.to_be_bytes());
    raw.extend_from_slice(&expiry_ms.to_be_bytes());
    raw.extend_from_slice(&hash(&[principal.as_bytes()]));
    raw.extend_from_slice(digest);
    let mac = mac(key, &raw).finalize().into_bytes();
    raw.extend_from_slice(&mac);
    URL_SAFE_NO_PAD.encode(raw)
}

/// What a token says, or why it counts for nothing.
pub(crate) fn read(
    key: &[u8; 32],
    token: &str,
    now_ms: u64,
    principal: &str,
    digest: &Digest,
) -> Result<State, Refusal> {
    let mut raw = [0; PAYLOAD + MAC];
    if token.len() != LENGTH || URL_SAFE_NO_PAD.decode_slice(token, &mut raw) != Ok(raw.len()) {
        return Err(Refusal::Malformed);
    }
    let (payload, tag) = raw.split_at(PAYLOAD);
    if mac(key, payload).verify_slice(tag).is_err() {
        return Err(Refusal::Forged);
    }
    let mut rest = payload;
    if take::<1>(&mut rest) != [FORMAT] {
        return Err(Refusal::Malformed);
    }
    let call = take(&mut rest);
    let round = u32::from_be_bytes(take(&mut rest));
    if now_ms >= u64::from_be_bytes(take(&mut rest)) {
        return Err(Refusal::Expired);
    }
    if take(&mut rest) != hash(&[principal.as_bytes()]) {
        return Err(Refusal::Principal);
    }
    if rest != digest {
        return Err(Refusal::Request);
    }
    Ok(State { call, round })
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (head, tail) = rest
        .split_first_chunk()
        .expect("the payload has its length");
    *rest = tail;
    *head
}

fn mac(key: &[u8; 32], payload: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key)
        .expect("HMAC takes keys of any length")
        .chain_update(payload)
}

fn hash(parts: &[&[u8]]) -> Digest {
    let mut hash = Blake2b::<U16>::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}
