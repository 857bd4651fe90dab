"""Owns what an answer says of its own freshness, and what makes two requests the same; without I/O.

Rules: a hint that is no proper one counts as "stale at once"; an answer whose age could not be told is not kept; two
requests are the same only if no server could tell them apart, but for white space and the order of keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from crossfade.impls.python.envelope import CAPABILITIES_KEY, VERSION_KEY, Span
from crossfade.impls.python.jsonrpc import encode
from crossfade.impls.python.translate import INFO_KEY, LOG_KEY

_IGNORED: Final = frozenset({VERSION_KEY, INFO_KEY, LOG_KEY, "traceparent", "tracestate", "baggage"})
"""``_meta`` keys that say how or by whom something is asked, and not what."""
_OWN: Final = ("requestState", "inputResponses")
"""Params of a further round (server/utilities, "Multi Round-Trip Requests"): they belong to one conversation."""
_TTL: Final = re.compile(rb'"ttlMs"[ \t\r\n]*:[ \t\r\n]*([0-9]{1,15})(?=[ \t\r\n]*[,}])')


class Hints(NamedTuple):
    """``ttl_ms`` is None if the answer says nothing; ``span`` is where it stands."""

    complete: bool
    public: bool
    ttl_ms: int | None
    span: Span | None


class _Result(msgspec.Struct, gc=False):
    kind: Any = msgspec.field(default="complete", name="resultType")
    ttl: msgspec.Raw | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="ttlMs")
    scope: Any = msgspec.field(default="private", name="cacheScope")


_result = msgspec.json.Decoder(_Result).decode


def hints(raw: bytes) -> Hints:
    """Read ``resultType``, ``ttlMs`` and ``cacheScope`` of a result."""
    try:
        found = _result(raw)
    except (msgspec.DecodeError, RecursionError):
        return Hints(False, False, 0, None)
    complete, public = found.kind == "complete", found.scope == "public"
    if found.ttl is msgspec.UNSET:
        return Hints(complete, public, None, None)
    # The quotes of a key cannot stand inside a string, so a second match is the key of some inner object.
    at = list(_TTL.finditer(raw))
    if len(at) != 1 or at[0][1] != bytes(found.ttl):
        return Hints(complete, public, 0, None)
    return Hints(complete, public, int(at[0][1]), at[0].span(1))


class Kept:
    """An answer that may be given again. ``span`` is where its ``ttlMs`` stands, if it has one."""

    __slots__ = ("_at_ns", "_raw", "_span", "_ttl_ms")

    def __init__(self, raw: bytes, span: Span | None, ttl_ms: int, at_ns: int) -> None:
        self._raw = raw
        self._span = span
        self._ttl_ms = ttl_ms
        self._at_ns = at_ns

    def aged(self, now_ns: int) -> bytes:
        """The answer, byte for byte, with the time that is left in place of the time that was."""
        if self._span is None:
            return self._raw
        left_ms = max(self._ttl_ms - -(-(now_ns - self._at_ns) // 1_000_000), 0)
        start, end = self._span
        return b"%b%d%b" % (self._raw[:start], left_ms, self._raw[end:])


class _Twice(ValueError):
    """A key stands twice in an object: servers may differ in which one they take."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Twice
    return found


def canonical(fields: Mapping[str, object], meta: Mapping[str, Any] | None) -> bytes | None:
    """Params as one text however they were written; None if they cannot be shared with anybody."""
    if any(key in fields for key in _OWN):
        return None
    rest: dict[str, Any] = {CAPABILITIES_KEY: {}}
    for key, value in (meta or {}).items():
        if key == "progressToken":  # its progress is for whoever has the token
            return None
        if key not in _IGNORED:
            rest[key] = value
    try:
        text = json.loads(encode([fields, rest]), object_pairs_hook=_once)
        return json.dumps(text, sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError, OverflowError, TypeError):
        return None


def token(text: str) -> bytes:
    """A string as it stands in canonical params."""
    return json.dumps(text).encode()
