"""Owns one spelling for JSON that means the same: members in order of their names, no white space, escapes only where
they must be.

Rules: numbers stay as they are written (a server could tell ``1`` from ``1.0``); members that stand twice both stay,
in their order; a string that has no UTF-8 (half a surrogate pair) and whatever is nested more than 64 deep stay as they
are written. It walks and does not recurse: no input can exhaust the stack.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container
from typing import Final

from crossfade.impls.python.envelope import STRING

DEEPEST: Final = 64
_TOKEN: Final = re.compile(rb"([{}\[\],:])|(" + STRING + rb")|([^ \t\n\r{}\[\],:\"]++)", re.DOTALL)


class _Open:
    """A container that is not closed yet. ``key`` is the name that waits for its value."""

    __slots__ = ("array", "items", "key", "members")

    def __init__(self, *, array: bool) -> None:
        self.array = array
        self.items: list[bytes] = []
        self.members: list[tuple[bytes, bytes]] = []
        self.key: bytes | None = None

    def take(self, text: bytes) -> None:
        if self.array:
            self.items.append(text)
        elif self.key is None:
            self.key = text
        else:
            self.members.append((self.key, text))
            self.key = None

    def text(self, leave_out: Container[bytes]) -> bytes:
        if self.array:
            return b"[" + b",".join(self.items) + b"]"
        # The quote sorts after a name that is a part of it, so names are compared without.
        ordered = sorted(self.members, key=lambda member: member[0][1:-1])
        return b"{" + b",".join(key + b":" + value for key, value in ordered if key not in leave_out) + b"}"


def canonical(raw: bytes, *, leave_out: Container[bytes] = ()) -> bytes:
    """The one spelling of ``raw``, which is valid JSON; without some members (quoted) of the outermost object."""
    stack: list[_Open] = []
    deep = from_ = 0
    for token in _TOKEN.finditer(raw):
        mark, string, word = token.groups()
        if deep:
            if mark in (b"{", b"["):
                deep += 1
            elif mark in (b"}", b"]"):
                deep -= 1
                if not deep:
                    stack[-1].take(raw[from_ : token.end()])
        elif mark in (b"{", b"["):
            if len(stack) == DEEPEST:
                deep, from_ = 1, token.start()
            else:
                stack.append(_Open(array=mark == b"["))
        elif mark in (b"}", b"]"):
            closed = stack.pop()
            text = closed.text(leave_out if not stack else ())
            if not stack:
                return text
            stack[-1].take(text)
        elif mark is None:
            text = _string(string) if string is not None else word
            if not stack:
                return text
            stack[-1].take(text)
    raise ValueError("not JSON: it ends too early")


def _string(token: bytes) -> bytes:
    if b"\\" not in token:
        return token
    try:
        return json.dumps(json.loads(token), ensure_ascii=False).encode()
    except ValueError:  # UnicodeError is one
        return token
