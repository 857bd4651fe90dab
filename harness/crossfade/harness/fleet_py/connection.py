"""One HTTP connection of the Python fleet.

The rule: answers leave in the order of their requests; a delayed one holds back those behind it, and a hung fleet all.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, cast

import httptools

from crossfade.harness.fleet_py.responder import Reply

if TYPE_CHECKING:
    from crossfade.harness.fleet_py.server import Server

_REASONS = {200: "OK", 202: "Accepted", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}


class Connection(asyncio.Protocol):
    """Parser callbacks in, answers out."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.transport: asyncio.Transport | None = None
        self.parser = httptools.HttpRequestParser(self)
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.waiting: asyncio.TimerHandle | None = None
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self.server.accepted += 1
        self.server.connections.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.transport = None
        self.server.connections.discard(self)
        if self.waiting is not None:
            self.waiting.cancel()

    def abort(self) -> None:
        """Close without a word."""
        if self.transport is not None:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            if self.transport is not None:
                self.transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                self.transport.close()
            return
        self.work()

    def on_message_begin(self) -> None:
        self.headers, self.body = {}, []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1").strip()

    def on_headers_complete(self) -> None:
        if "expect" in self.headers and self.transport is not None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_message_complete(self) -> None:
        self.requests.append((self.parser.get_method().decode(), self.headers, b"".join(self.body)))

    def work(self) -> None:
        """Answer what is complete, unless the fleet hangs or an answer is delayed."""
        while self.requests and self.transport is not None and self.waiting is None and not self.server.hung:
            method, headers, body = self.requests.pop(0)
            reply = self.server.answer(method, headers, body)
            if reply.delay_s > 0:
                self.waiting = asyncio.get_running_loop().call_later(reply.delay_s, self._late, reply)
            else:
                self.send(reply)

    def _late(self, reply: Reply) -> None:
        self.waiting = None
        if self.server.hung:
            self.server.held.append((self, reply))
            return
        self.send(reply)
        self.work()

    def send(self, reply: Reply) -> None:
        """Write an answer in the configured framing, or what stands for one."""
        if self.transport is None:
            return
        if reply.reset:
            self.transport.abort()
            return
        body = b"" if reply.message is None else json.dumps(reply.message, separators=(",", ":")).encode()
        lines = [f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, 'Service Unavailable')}"]
        if reply.session:
            lines.append(f"Mcp-Session-Id: {reply.session}")
        framing = self.server.config.framing if reply.status == 200 and body else "length"
        if framing == "sse":
            body = b"event: message\ndata: " + body + b"\n\n"
        if body:
            lines.append(f"Content-Type: {'text/event-stream' if framing == 'sse' else 'application/json'}")
        if framing == "length":
            lines.append(f"Content-Length: {len(body)}")
        else:
            lines.append("Transfer-Encoding: chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
