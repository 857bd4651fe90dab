"""Owns the event stream: every reader has a bounded queue, and a slow one learns how much it missed.

Rule: publishing never waits and never grows without bound; what does not fit becomes one ``gap`` event in its place.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

from crossfade.impls.snapshots import Event

CAPACITY: Final = 1024


class _Reader:
    """One reader's queue; ``missed`` counts what was dropped since it last read."""

    __slots__ = ("__weakref__", "missed", "queue", "wake")

    def __init__(self) -> None:
        self.queue: deque[Event] = deque()
        self.missed = 0
        self.wake = asyncio.Event()


class Events:
    """Broadcasts changes to all readers."""

    __slots__ = ("_closed", "_readers")

    def __init__(self) -> None:
        # Weak: a stream that was asked for and never read, or dropped half-way, takes its queue along.
        self._readers: weakref.WeakSet[_Reader] = weakref.WeakSet()
        self._closed = False

    def publish(self, event: Event) -> None:
        """Tell every reader."""
        for reader in self._readers:
            # What comes behind a gap must not be read before it.
            if reader.missed or len(reader.queue) >= CAPACITY:
                reader.missed += 1
            else:
                reader.queue.append(event)
            reader.wake.set()

    def close(self) -> None:
        """End every stream after what is queued."""
        self._closed = True
        for reader in self._readers:
            reader.wake.set()

    def stream(self, count: Callable[[int], None] = lambda _: None) -> AsyncIterator[Event]:
        """Events from this call on (not from the first ``anext``). ``count`` is told that a reader came, or went."""
        reader = _Reader()
        self._readers.add(reader)
        count(1)
        weakref.finalize(reader, count, -1).atexit = False
        return self._read(reader)

    async def _read(self, reader: _Reader) -> AsyncIterator[Event]:
        try:
            while True:
                while reader.queue:
                    yield reader.queue.popleft()
                if reader.missed:
                    missed, reader.missed = reader.missed, 0
                    yield Event(kind="gap", server="", missed=missed)
                    continue
                if self._closed:
                    return
                reader.wake.clear()
                await reader.wake.wait()
        finally:
            self._readers.discard(reader)
