"""Owns the framing of Server-Sent Events: bytes in, whole events out, and back.

Rule: bounded. An event longer than the limit is the sender's fault and raises, it is never collected. Source: HTML
Living Standard, "Server-sent events", the part that MCP uses: fields ``data``, ``event``, ``id`` and ``retry``,
comments, and LF, CRLF or CR as line ends, also when a CRLF is cut in two.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_UNFIT: Final = re.compile(rb"[^\x20-\x7e]|^.{1025}").search
"""An id that cannot go back in a header, or is too long for one, is none."""
_BOM: Final = b"\xef\xbb\xbf"
_LONGEST_RETRY_MS: Final = 60_000
"""A server that wants us to come back later than that is asked earlier: a call is waiting."""


class EventTooLong(ValueError):
    """An event is longer than the limit."""


class ServerEvent(NamedTuple):
    """One event. ``kind`` is ``message`` unless the stream says otherwise."""

    kind: str
    data: bytes


class EventReader:
    """Feed bytes as they come; each call returns the events that are now complete.

    ``last_id`` is the id to resume behind (None: the stream never gave one), ``retry_ms`` what the server asked for.
    An event without data is not handed out; it only carries an id to resume from (2025-11-25 basic/transports).
    """

    __slots__ = ("_begun", "_cr", "_data", "_id", "_kind", "_limit", "_line", "_size", "last_id", "retry_ms")

    def __init__(self, limit: int) -> None:
        self.last_id: bytes | None = None
        self.retry_ms: int | None = None
        self._limit = limit
        self._line = b""
        self._kind = "message"
        self._data: list[bytes] = []
        self._size = 0
        self._id: bytes | None = None
        self._cr = False
        self._begun = False

    def feed(self, data: bytes) -> list[ServerEvent]:
        """Take the next bytes. Raises :class:`EventTooLong`."""
        events: list[ServerEvent] = []
        if self._cr or b"\r" in data:
            data = self._line_feeds(data)
        lines = (self._line + data).split(b"\n") if self._line else data.split(b"\n")
        self._line = lines.pop()
        for line in lines:
            self._take(line, events)
        if self._size + len(self._line) > self._limit:
            raise EventTooLong(f"an event is longer than {self._limit} bytes")
        return events

    def _line_feeds(self, data: bytes) -> bytes:
        """LF for every line end. A CR at the end of what came has ended its line; an LF behind it is part of it."""
        if self._cr and data[:1] == b"\n":
            data = data[1:]
            self._cr = False
        if data:
            self._cr = data[-1:] == b"\r"
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _take(self, line: bytes, events: list[ServerEvent]) -> None:
        if not self._begun:
            self._begun = True
            line = line.removeprefix(_BOM)
        if not line:
            if self._id is not None:
                self.last_id, self._id = self._id or None, None
            if self._size and (data := b"\n".join(self._data)):
                events.append(ServerEvent(self._kind, data))
            self._data, self._size, self._kind = [], 0, "message"
            return
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._size += len(value) + 1
        elif field == b"event":
            self._kind = value.decode("utf-8", "replace")
        elif field == b"id":
            if not _UNFIT(value):
                self._id = value
        elif field == b"retry" and value.isdigit():
            self.retry_ms = min(int(value[:9]), _LONGEST_RETRY_MS)


def event(data: bytes, event_id: bytes | None = None) -> bytes:
    """One message event. JSON may hold line breaks between its tokens; they end a ``data`` line."""
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r", b" ").replace(b"\n", b" ")
    if event_id is not None:
        return b"event: message\nid: " + event_id + b"\ndata: " + data + b"\n\n"
    return b"event: message\ndata: " + data + b"\n\n"


def priming(event_id: bytes) -> bytes:
    """The event without a message that gives a client an id to resume from (2025-11-25, "Sending Messages")."""
    return b"id: " + event_id + b"\ndata: \n\n"


def comment(text: bytes) -> bytes:
    """A line for people: no reader of events takes it for one."""
    return b": " + text + b"\n\n"
