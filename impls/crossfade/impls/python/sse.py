"""Owns the framing of Server-Sent Events: bytes in, the ``data`` of whole events out, and back.

Rule: bounded. An event longer than the limit is the sender's fault and raises, it is never collected. Source: HTML
Living Standard, "Server-sent events", the part that MCP uses: fields ``data``, ``event`` and ``id``, comments, and LF,
CRLF or CR as line ends (a lone CR is not used by anybody and is not supported).
"""

from __future__ import annotations

from typing import NamedTuple


class EventTooLong(ValueError):
    """An event is longer than the limit."""


class ServerEvent(NamedTuple):
    """One event. ``kind`` is ``message`` unless the stream says otherwise."""

    kind: str
    data: bytes


class EventReader:
    """Feed bytes as they come; each call returns the events that are now complete."""

    __slots__ = ("_data", "_kind", "_limit", "_line", "_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line = b""
        self._kind = "message"
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[ServerEvent]:
        """Take the next bytes. Raises :class:`EventTooLong`."""
        events: list[ServerEvent] = []
        lines = (self._line + data).split(b"\n") if self._line else data.split(b"\n")
        self._line = lines.pop()
        for line in lines:
            self._take(line.removesuffix(b"\r"), events)
        if self._size + len(self._line) > self._limit:
            raise EventTooLong(f"an event is longer than {self._limit} bytes")
        return events

    def _take(self, line: bytes, events: list[ServerEvent]) -> None:
        if not line:
            if self._size:  # an event without data only carries an id to resume from (2025-11-25)
                events.append(ServerEvent(self._kind, b"\n".join(self._data)))
            self._data, self._size, self._kind = [], 0, "message"
            return
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._size += len(value)
        elif field == b"event":
            self._kind = value.decode("utf-8", "replace")


def event(data: bytes) -> bytes:
    """One message event. JSON may hold line breaks between its tokens; they end a ``data`` line."""
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r", b" ").replace(b"\n", b" ")
    return b"event: message\ndata: " + data + b"\n\n"
