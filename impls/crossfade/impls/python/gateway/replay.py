"""Owns what a legacy session can read again: the latest events of its streams, with their ids.

Rules: bounded by number and by bytes, for the session as a whole; an event is replayed on its own stream only, and only
if nothing behind it was dropped (2025-11-25 basic/transports, "Resumability and Redelivery").
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from crossfade.impls.python import event_id
from crossfade.impls.python.sse import event

if TYPE_CHECKING:
    from crossfade.impls.python.gateway.streams import Stream

MOST_BYTES: Final = 1 << 20


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
        """The event of a message, with its id; empty for one that only carries an id."""
        n = stream.said
        stream.said += 1
        tag = event_id.write(stream.number, n).encode()
        if self._limit:
            self._kept.append((stream, n, message))
            self._bytes += len(message)
            stream.kept += 1
            while len(self._kept) > self._limit or self._bytes > MOST_BYTES:
                self._forget()
        return event(message, tag)

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

    def after(self, text: str) -> tuple[Stream, list[bytes]] | None:
        """The stream of an event, and the events behind it; None if it is unknown, or some of them are gone."""
        found = event_id.read(text)
        stream = self._streams.get(found.stream) if found is not None else None
        if found is None or stream is None or found.n >= stream.said or found.n < stream.gone:
            return None
        events = [
            event(message, event_id.write(stream.number, n).encode())
            for of, n, message in self._kept
            if of is stream and n > found.n and message
        ]
        return stream, events
