"""Owns the progress token on a hop: the gateway's own in place of a client's, and the client's put back.

Rule: tokens of different clients collide, so none of them goes upstream on the long way; the client's comes back as it
was written, string or number. Everything else in params stays byte for byte (basic/patterns/progress).
"""

from __future__ import annotations

from typing import Final

from crossfade.impls.python.envelope import ID
from crossfade.impls.python.members import NotAnObject, members, replaced, value_of

_META: Final = b'"_meta"'
_TOKEN: Final = b'"progressToken"'


def token_of(params: bytes) -> bytes | None:
    """The token in the params of a progress notification as it is written, or None if there is no proper one."""
    return _proper(_value(params, _TOKEN))


def asked_for(params: bytes) -> bytes | None:
    """The token in a request's ``_meta`` as it is written, or None if it asks for no progress."""
    meta = _value(params, _META)
    return None if meta is None else _proper(_value(meta, _TOKEN))


def with_token(params: bytes, token: bytes) -> bytes:
    """A request's params with another token in ``_meta``; as they were if they have none. ``token`` is JSON."""
    meta = _value(params, _META)
    if meta is None or _value(meta, _TOKEN) is None:
        return params
    # A key that stands twice keeps the meaning that the last one gives it.
    last = [member for member in members(params) if member.key == _META][-1]
    return params[: last.start] + replaced(meta, _TOKEN, token) + params[last.end :]


def restored(params: bytes, token: bytes) -> bytes:
    """The params of a progress notification with the client's token, as :func:`asked_for` found it."""
    try:
        return replaced(params, _TOKEN, token)
    except NotAnObject:
        return params


def _value(raw: bytes, key: bytes) -> bytes | None:
    try:
        return value_of(raw, key)
    except NotAnObject:
        return None


def _proper(token: bytes | None) -> bytes | None:
    return token if token is not None and ID.fullmatch(token) else None
