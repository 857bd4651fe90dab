"""Owns the cursors of lists that the gateway cuts into pages.

Rule: a cursor holds for the list it was given for. It names a position and a digest of the list's names in their order;
when the list has changed, or belongs to somebody who sees another one, the cursor is unknown (server/utilities/
pagination: -32602). A page is never guessed. It is no secret: whoever makes one up sees a page of their own list.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

_CURSOR: Final = struct.Struct(">BI10s")
_VERSION: Final = 1
_LENGTH: Final = _CURSOR.size // 3 * 4


class Page(NamedTuple):
    """Items ``start`` to ``end`` of the list, and the cursor of what follows."""

    start: int
    end: int
    following: str | None


def digest(method: str, names: Sequence[str]) -> bytes:
    """Ten bytes that stand for a list: which one it is, and the names (of resources the URIs) in it."""
    hashed = hashlib.blake2b(digest_size=10)
    for text in (method, *names):
        data = text.encode("utf-8", "surrogatepass")
        hashed.update(len(data).to_bytes(4, "big") + data)
    return hashed.digest()


def make(position: int, listed: bytes) -> str:
    """The cursor for ``position`` in the list with that digest."""
    return base64.urlsafe_b64encode(_CURSOR.pack(_VERSION, position, listed)).decode()


def read(cursor: str, listed: bytes, count: int) -> int | None:
    """The position that ``cursor`` stands for in a list of ``count`` names, or None if it is not one of its cursors."""
    if len(cursor) != _LENGTH or not cursor.isascii() or "+" in cursor or "/" in cursor:
        return None
    try:
        raw = base64.b64decode(cursor, altchars=b"-_", validate=True)
    except ValueError:
        return None
    if len(raw) != _CURSOR.size:
        return None
    version, position, of = _CURSOR.unpack(raw)
    return position if version == _VERSION and of == listed and 0 < position < count else None


def page(method: str, names: Sequence[str], size: int, cursor: str | None) -> Page | None:
    """The page that ``cursor`` asks for (None: the first), or None if it is unknown. ``size`` 0: all in one page."""
    listed = digest(method, names)
    start = 0 if cursor is None else read(cursor, listed, len(names))
    if start is None:
        return None
    end = min(start + size, len(names)) if size > 0 else len(names)
    return Page(start, end, make(end, listed) if end < len(names) else None)
