"""Owns what one request is, as each of its attempts sends it, and what it has behind it already.

Rule: ``_meta`` belongs to the hop: each attempt writes it anew, in the words of the era that its server speaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from crossfade.impls.python.jsonrpc import encode
from crossfade.impls.python.translate import HOP_KEYS, modern_meta
from crossfade.impls.snapshots import Era

if TYPE_CHECKING:
    from crossfade.impls.python.dedicated import Dedicated
    from crossfade.impls.python.instance import Headers, Instance
    from crossfade.impls.python.load import Load
    from crossfade.impls.python.places import Place
    from crossfade.impls.python.voice import Voice


def encode_params(era: Era, fields: Mapping[str, object], meta: Mapping[str, Any] | None) -> bytes:
    """Params with the ``_meta`` that the era of the server asks for; ``meta`` is the caller's, whatever its own era."""
    if era == "modern":
        return encode({**fields, "_meta": modern_meta(meta)})
    if meta:
        meta = {key: value for key, value in meta.items() if key not in HOP_KEYS}
    return encode({**fields, "_meta": meta} if meta else fields)


class Ticket:
    """What a request has behind it, for whoever carries on: the relay hands over to the long way with it.

    ``made`` attempts were made, on ``tried``. ``place`` is the bulkhead's, ``load`` counts the request: who set either
    gives it back.
    """

    __slots__ = ("admitted", "deadline_ns", "load", "made", "place", "tried")

    def __init__(self, deadline_ns: int = 0) -> None:
        self.deadline_ns = deadline_ns
        self.admitted = False
        self.place: Place | None = None
        self.load: Load | None = None
        self.made = 0
        self.tried: list[Instance] = []

    def handed_over(self) -> Ticket:
        """Another one with all that this has, for whoever outlives it; this one has nothing to give back then."""
        other = Ticket(self.deadline_ns)
        other.admitted, other.made, other.tried = self.admitted, self.made, self.tried
        other.place, self.place = self.place, None
        other.load, self.load = self.load, None
        return other

    def leave(self) -> None:
        """Give back what it has of places and counts."""
        if self.place is not None:
            self.place.leave()
            self.place = None
        if self.load is not None:
            self.load.in_flight -= 1
            self.load = None


class Ask:
    """One request, as each of its attempts sends it."""

    __slots__ = ("deadline_ns", "extra", "fields", "key", "meta", "method", "name", "sessions", "tried", "voice")

    def __init__(
        self,
        method: str,
        fields: Mapping[str, object],
        *,
        meta: Mapping[str, Any] | None,
        name: str | None,
        sessions: Dedicated | None,
        extra: Headers,
        key: int,
        ticket: Ticket,
        voice: Voice | None = None,
    ) -> None:
        self.method = method
        self.fields = fields
        self.meta = meta
        self.name = name
        self.sessions = sessions
        self.extra = extra
        self.key = key
        self.deadline_ns = ticket.deadline_ns
        self.tried = ticket.tried
        self.voice = voice
