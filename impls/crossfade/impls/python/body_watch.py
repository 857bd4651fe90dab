"""Owns the look at a body that is passed on while it arrives: no key of the envelope may stand twice in it.

The beginning has named the tool, and was routed and filtered by it; the server behind may take a second ``name`` that
stands behind the arguments. Rule: every byte is fed before it is passed on, so whoever refuses here has never sent the
whole message. It is lexical like ``envelope.scan``, and keeps no more than one unfinished key.

Only keys of the message and of ``params`` count. All that is deeper is skipped by counting brackets outside of strings,
with bytes methods alone: one long string costs a ``find``, and no byte a turn of a Python loop.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from crossfade.impls.python.envelope import CLOSE, IN_PARAMS, KEY, OPEN, STRING, TOP, EnvelopeError, plain

_SPACE: Final = b" \t\n\r"
_HELD: Final = 1024
"""The longest key, with the white space around it, that may be cut by the end of a piece."""
_SLICE: Final = 4096
_WALK: Final = 64
"""So many brackets and strings are walked one by one before whole slices are reduced to their brackets."""
_TOKEN: Final = re.compile(rb'["{}\[\]]')
_SPACES: Final = re.compile(rb"[ \t\n\r]*")
_REST_OF_STRING: Final = re.compile(STRING[1:], re.DOTALL)
_SCALAR: Final = re.compile(rb"[0-9A-Za-z.+-]*")
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b'"{}[]'))

_Step = Callable[[bytes, int], int]


class BodyWatch:
    """One body. ``named`` says whether ``params.name`` has been seen."""

    __slots__ = ("_deep", "_escaped", "_held", "_in_params", "_quoted", "_seen", "_step")

    def __init__(self) -> None:
        self._step: _Step = self._enter
        self._held = b""
        self._in_params = False
        self._seen: tuple[set[bytes], set[bytes]] = (set(), set())
        self._deep = 0
        self._quoted = False
        self._escaped = False

    @property
    def named(self) -> bool:
        return b'"name"' in self._seen[1]

    def feed(self, piece: bytes) -> None:
        """More bytes. Raises :class:`EnvelopeError` for what must not be passed on."""
        if self._held:
            piece = self._held + piece
            self._held = b""
        at = 0
        while at >= 0:
            at = self._step(piece, at)

    def end(self) -> None:
        """There are no more. Raises :class:`EnvelopeError` if the message is not complete."""
        if self._held or self._step != self._over:
            raise EnvelopeError(-32700, "not JSON: the body ends inside the message")

    # -- the message and its params, member by member; each step returns the offset it got to, or -1 for "more"

    def _enter(self, data: bytes, at: int) -> int:
        opened = OPEN.match(data, at)
        if opened is None:
            return self._hold(data, at)
        self._step = self._first
        return opened.end()

    def _first(self, data: bytes, at: int) -> int:
        closed = CLOSE.match(data, at)
        if closed is None:
            return self._member(data, at)
        return self._close(closed.end())

    def _member(self, data: bytes, at: int) -> int:
        key = KEY.match(data, at)
        if key is None:
            return self._hold(data, at)
        name = key.group(1)
        if b"\\" in name:
            name = plain(name)
        if name in (IN_PARAMS if self._in_params else TOP):
            seen = self._seen[self._in_params]
            if name in seen:
                raise EnvelopeError(-32600, f"the key {name.decode()} stands twice; send it once")
            seen.add(name)
        self._step = self._params if name == b'"params"' and not self._in_params else self._value
        return key.end()

    def _params(self, data: bytes, at: int) -> int:
        opened = OPEN.match(data, at)
        if opened is None:
            return self._value(data, at)
        self._in_params = True
        self._step = self._first
        return opened.end()

    def _value(self, data: bytes, at: int) -> int:
        at = _behind_space(data, at)
        first = data[at : at + 1]
        if not first:
            return -1
        if first in b"{[":
            self._step, self._deep = self._nested, 1
            return at + 1
        if first == b'"':
            self._step, self._quoted = self._string, True
            return at + 1
        self._step = self._scalar
        return at

    def _scalar(self, data: bytes, at: int) -> int:
        found = _SCALAR.match(data, at)
        assert found is not None  # noqa: S101  it may be empty
        if found.end() == len(data):
            return -1
        self._step = self._behind_value
        return found.end()

    def _string(self, data: bytes, at: int) -> int:
        at = self._behind_string(data, at)
        if at >= 0:
            self._step = self._behind_value
        return at

    def _behind_value(self, data: bytes, at: int) -> int:
        at = _behind_space(data, at)
        match data[at : at + 1]:
            case b"":
                return -1
            case b",":
                self._step = self._member
                return at + 1
            case b"}":
                return self._close(at + 1)
            case _:
                raise _unexpected()

    def _close(self, at: int) -> int:
        self._step = self._behind_value if self._in_params else self._over
        self._in_params = False
        return at

    def _over(self, data: bytes, at: int) -> int:
        if data[at:].strip(_SPACE):
            raise EnvelopeError(-32700, "not JSON: more bytes after the message")
        return -1

    def _hold(self, data: bytes, at: int) -> int:
        held = data[at:].lstrip(_SPACE)
        if len(held) > _HELD:
            raise _unexpected()
        self._held = held
        return -1

    # -- what is deeper

    def _nested(self, data: bytes, at: int) -> int:
        """Skip to where the brackets that are open now are closed."""
        walked = 0
        while at >= 0:
            walked += 1
            if walked > _WALK:
                walked = 0
                at = self._leap(data, at)
            elif self._quoted:
                at = self._behind_string(data, at)
            else:
                at = self._token(data, at)
            if not self._deep:
                break
        return at

    def _token(self, data: bytes, at: int) -> int:
        """The next bracket or quote outside of a string."""
        token = _TOKEN.search(data, at)
        if token is None:
            return -1
        match token.group():
            case b'"':
                self._quoted = True
            case b"{" | b"[":
                self._deep += 1
            case _:
                self._deep -= 1
                if not self._deep:
                    self._step = self._behind_value
        return token.end()

    def _leap(self, data: bytes, at: int) -> int:
        """Skip whole slices in which the value cannot end; -1 if that is all."""
        end = len(data)
        while at < end:
            if self._quoted:
                at = self._behind_string(data, at)
                if at < 0:
                    break
            piece = data[at : at + _SLICE]
            escaped = _ends_in_escape(piece, 0)
            if b"\\" in piece:
                piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
            # Two quotes with nothing between them may go, whichever strings they belong to: no bracket changes sides.
            parts = piece.translate(None, _NOT_BRACKETS).replace(b'""', b"").split(b'"')
            brackets = b"".join(parts[::2])
            closed = brackets.count(b"}") + brackets.count(b"]")
            if closed >= self._deep and _falls(brackets) >= self._deep:
                return at
            self._deep += len(brackets) - 2 * closed
            self._quoted = len(parts) % 2 == 0
            self._escaped = escaped
            at += _SLICE
        return -1

    def _behind_string(self, data: bytes, at: int) -> int:
        if self._escaped:
            if at >= len(data):
                return -1
            self._escaped = False
            at += 1
        end = data.find(b'"', at)
        if end > at and data[end - 1] == 0x5C:
            found = _REST_OF_STRING.match(data, at)
            end = -1 if found is None else found.end() - 1
        if end < 0:
            self._escaped = _ends_in_escape(data, at)
            return -1
        self._quoted = False
        return end + 1


def _ends_in_escape(data: bytes, at: int) -> bool:
    """Whether a backslash at the end escapes what follows."""
    if not data.endswith(b"\\", at):
        return False
    tail = data[at:]
    return (len(tail) - len(tail.rstrip(b"\\"))) % 2 == 1


def _falls(brackets: bytes) -> int:
    """How far below its beginning the nesting falls; too high a number for what is nested very deeply."""
    for _ in range(8):
        shorter = brackets.replace(b"{}", b"").replace(b"[]", b"")
        if len(shorter) == len(brackets):
            break
        brackets = shorter
    return brackets.count(b"}") + brackets.count(b"]")


def _behind_space(data: bytes, at: int) -> int:
    found = _SPACES.match(data, at)
    return at if found is None else found.end()


def _unexpected() -> EnvelopeError:
    return EnvelopeError(-32700, "not JSON: unexpected bytes behind the beginning of the message; send one JSON object")
