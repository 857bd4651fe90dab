"""One connection of the Python generator.

The rule: one request at a time, and whatever ends the connection ends the request with it.
"""

from __future__ import annotations

import asyncio
from typing import cast

import httptools

from crossfade.harness.mcp import answering_events


class Connection(asyncio.Protocol):
    """One connection, one request at a time: ``ask`` gives the status, the body and the legacy session."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.place, self.host = 0, ""
        self.name = ""
        """The legacy session this connection speaks in, and how many calls it has had."""
        self.calls = 0
        self.ident = 0
        self.answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.fail(exc or ConnectionResetError("closed"))

    def fail(self, error: Exception) -> None:
        """End what was asked with an error, if it is still open."""
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(error)

    def abort(self) -> None:
        """Close without a word."""
        if self.transport is not None:
            self.transport.abort()

    def ask(self, data: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Send a request; the status and the body of its answer, of an SSE answer the data of its last event."""
        self.answer = asyncio.get_running_loop().create_future()
        self.parser = httptools.HttpResponseParser(self)
        self.body: list[bytes] = []
        self.notes: list[bytes] = []
        self.sse, self.session = False, ""
        if self.transport is None or self.lost:
            self.fail(ConnectionResetError("closed"))
        else:
            self.transport.write(data)
        return self.answer

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.fail(error)

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"content-type":
            self.sse = value.lower().startswith(b"text/event-stream")
        elif name == b"mcp-session-id":
            self.session = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_message_complete(self) -> None:
        status = self.parser.get_status_code()
        if status >= 200 and self.answer is not None and not self.answer.done():
            body = b"".join(self.body)
            if self.sse:
                *self.notes, body = answering_events(body)
            self.answer.set_result((status, body))
