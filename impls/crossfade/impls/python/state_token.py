"""Owns ``requestState``: the token by which a client comes back to a call that waits for its input.

Rules (2026-07-28 basic/patterns/mrtr, "Server Requirements"): whoever sends it is a stranger, so it is authenticated
before anything in it is believed, and bound to a time, to a principal and to the request it was made for. It says
nothing but whose call it is: what the call is stays here. One bit changed anywhere, or another spelling of the same
bytes, is another token. That a round is used once is for the keeper of the calls to see to.

The token is base64url of ``payload || HMAC-SHA256(key, payload)`` (93 bytes: no padding, no bits to spare), payload =
1, call (16 bytes), round (u32), expiry (u64, ms since 1970), principal (BLAKE2b-128), request (BLAKE2b-128);
numbers are big-endian.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from typing import Final, NamedTuple

from crossfade.impls.python.canonical import canonical

KEY_BYTES: Final = 32
CALL_BYTES: Final = 16
_VERSION: Final = 1
_PAYLOAD: Final = struct.Struct(">B16sIQ16s16s")
_MAC_BYTES: Final = 32
_LENGTH: Final = (_PAYLOAD.size + _MAC_BYTES) // 3 * 4
_HOP: Final = frozenset({b'"_meta"', b'"inputResponses"', b'"requestState"'})
"""Params that differ between a request and its retry."""


class State(NamedTuple):
    """What a token that holds says: the call, and which of its rounds is answered."""

    call: bytes
    round: int


def request_digest(method: str, params: bytes) -> bytes:
    """What makes two requests the same, in 16 bytes. ``params`` is a valid JSON object; its spelling does not count."""
    return _hash(method.encode() + b"\0" + canonical(params, leave_out=_HOP))


def make(key: bytes, state: State, expiry_ms: int, principal: str, digest: bytes) -> str:
    """The token for a round of a call; ``digest`` is the request's."""
    payload = _PAYLOAD.pack(_VERSION, state.call, state.round, expiry_ms, _hash(principal.encode()), digest)
    return base64.urlsafe_b64encode(payload + _mac(key, payload)).decode()


def read(key: bytes, token: str, now_ms: int, principal: str, digest: bytes) -> State | str:  # noqa: PLR0911  one return per rule
    """What a token says, or why it counts for nothing: ``malformed``, ``forged``, ``expired``, ``principal`` (it is
    somebody else's) or ``request`` (it belongs to another request).
    """
    if len(token) != _LENGTH or not token.isascii():
        return "malformed"
    try:
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
    except ValueError:
        return "malformed"
    payload, mac = raw[: _PAYLOAD.size], raw[_PAYLOAD.size :]
    # Python before 3.15 also takes the letters of the other alphabet.
    if len(mac) != _MAC_BYTES or "+" in token or "/" in token:
        return "malformed"
    if not hmac.compare_digest(mac, _mac(key, payload)):
        return "forged"
    version, call, number, expiry_ms, whose, what = _PAYLOAD.unpack(payload)
    if version != _VERSION:
        return "malformed"
    if now_ms >= expiry_ms:
        return "expired"
    if whose != _hash(principal.encode()):
        return "principal"
    return State(call, number) if what == digest else "request"


def _mac(key: bytes, payload: bytes) -> bytes:
    return hmac.digest(key, payload, "sha256")


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
