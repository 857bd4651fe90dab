"""Owns what a legacy session can read again: the latest events of its streams, with their ids.

Rules: bounded by number and by bytes, for the session as a whole; an event is replayed on its own stream only. What is
left behind it is sent although some of it was dropped, because the answer comes last, but never as if nothing were
missing: how many are ``lost`` is said (2025-11-25 basic/transports, "Resumability and Redelivery").
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from crossfade.impls.python import event_id
from crossfade.impls.python.sse import event

if TYPE_CHECKING:
    from crossfade.impls.python.gateway.streams import Stream

MOST_BYTES: Final = 1 << 20


class Rest(NamedTuple):
    """What is left of a stream behind an event: ids and messages. ``lost`` of them, the oldest, are gone."""

    stream: Stream
    lost: int
    events: list[tuple[bytes, bytes]]


class Replay:
    """The latest ``limit`` events of one session, and the streams that they, or events to come, belong to."""

    __slots__ = ("_bytes", "_kept", "_limit", "_streams", "_total")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: deque[tuple[Stream, int, bytes]] = deque()
        self._bytes = 0
        self._streams: dict[int, Stream] = {}
        self._total = 0

    @property
    def on(self) -> bool:
        """Whether anything is kept at all."""
        return self._limit > 0

    def add(self, stream: Stream) -> int:
        """A new stream; returns its number."""
        self._total += 1
        self._streams[self._total] = stream
        return self._total

    def keep(self, stream: Stream, message: bytes) -> bytes:
        """The event of a message, with its id if it can be asked for. The first of a stream is 1: 0 is before it."""
        stream.said = n = stream.said + 1
        if not self._limit:
            return event(message)
        self._kept.append((stream, n, message))
        self._bytes += len(message)
        stream.kept += 1
        while len(self._kept) > self._limit or (self._bytes > MOST_BYTES and len(self._kept) > 1):
            self._forget()
        return event(message, event_id.write(stream.number, n).encode())

    def _forget(self) -> None:
        stream, n, message = self._kept.popleft()
        self._bytes -= len(message)
        stream.kept -= 1
        stream.gone = n
        self.over(stream)

    def over(self, stream: Stream) -> None:
        """Nothing more will be said on it; it is forgotten with its last event."""
        if stream.over and not stream.kept:
            self._streams.pop(stream.number, None)

    def after(self, text: str) -> Rest | None:
        """What is left behind an event; None if its stream is unknown, or never said it."""
        found = event_id.read(text) if self._limit else None
        stream = self._streams.get(found.stream) if found is not None else None
        if found is None or stream is None or found.n > stream.said:
            return None
        events = [
            (event_id.write(stream.number, n).encode(), message)
            for of, n, message in self._kept
            if of is stream and n > found.n
        ]
        return Rest(stream, max(stream.gone - found.n, 0), events)
