"""Owns the members of one JSON object as spans: reading them, and changing single ones without touching the others.

Rule: what is not changed stays as it was, byte for byte, order, white space and unknown members included. Strictly
valid JSON is checked for first (msgspec), so that what is found here is what every other reader finds.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from crossfade.impls.python.envelope import AFTER, KEY, OPEN, plain, skip

_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


class NotAnObject(ValueError):
    """The bytes are no JSON object."""


class Member(NamedTuple):
    """``key`` is the name between quotes, without escapes; it stands from ``at`` to ``behind`` as it was written, its
    value from ``start`` to ``end``.
    """

    key: bytes
    at: int
    behind: int
    start: int
    end: int


def is_object(raw: bytes) -> bool:
    """Whether ``raw`` is one valid JSON object, in UTF-8."""
    try:
        if not raw.isascii():
            raw.decode()
        _OBJECT(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def elements(raw: bytes) -> list[bytes] | None:
    """The elements of an array as they stand; None if it is none."""
    try:
        return [bytes(item) for item in _ARRAY(raw)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def members(raw: bytes) -> list[Member]:
    """Every member in its order, also those that stand twice. Raises :class:`NotAnObject`."""
    if not is_object(raw):
        raise NotAnObject("not a JSON object")
    opened = OPEN.match(raw)
    assert opened is not None  # noqa: S101  it is an object
    found: list[Member] = []
    at = opened.end()
    while (key := KEY.match(raw, at)) is not None:
        name = key.group(1)
        end = skip(raw, key.end())
        found.append(Member(plain(name) if b"\\" in name else name, *key.span(1), key.end(), end))
        after = AFTER.match(raw, end)
        assert after is not None  # noqa: S101  it is an object
        at = after.end()
    return found


def value_of(raw: bytes, key: bytes) -> bytes | None:
    """The value of ``key`` (with its quotes), None if it is not there; of several the last one."""
    found = None
    for member in members(raw):
        if member.key == key:
            found = raw[member.start : member.end]
    return found


def replaced(raw: bytes, key: bytes, value: bytes) -> bytes:
    """The object with ``value`` in every place where ``key`` has one."""
    parts: list[bytes] = []
    at = 0
    for member in members(raw):
        if member.key == key:
            parts += (raw[at : member.start], value)
            at = member.end
    return b"".join((*parts, raw[at:])) if parts else raw


def without(raw: bytes, *keys: bytes) -> bytes:
    """The object without some of its members; the bytes themselves if it has none of them."""
    found = members(raw)
    kept = [
        raw[member.at : member.behind] + b":" + raw[member.start : member.end]
        for member in found
        if member.key not in keys
    ]
    return raw if len(kept) == len(found) else b"{" + b",".join(kept) + b"}"


def added(raw: bytes, fields: list[bytes]) -> bytes:
    """The object with more members in front of its own; each is ``"key":value``."""
    found = members(raw)
    if not fields:
        return raw
    at = raw.index(b"{") + 1
    return raw[:at] + b",".join(fields) + (b"," if found else b"") + raw[at:]
