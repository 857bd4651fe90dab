"""One HTTP connection of the Python fleet.

The rule: answers leave in the order of their requests; a delayed or dripping one holds back those behind it, and a hung
fleet all.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import TYPE_CHECKING, cast

import httptools

from crossfade.harness.fleet_py.responder import Reply

if TYPE_CHECKING:
    from crossfade.harness.fleet_py.server import Server

_NOISE = b'\x00\xff{"jsonrpc": this is no JSON}\r\n'
NOISE = {
    False: _NOISE,
    True: b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_NOISE), _NOISE),
}
"""What is no answer: bytes that are no HTTP, and HTTP whose body is no JSON."""
_REASONS = {200: "OK", 202: "Accepted", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}


class Connection(asyncio.Protocol):
    """Parser callbacks in, answers out."""

    def __init__(self, server: Server, slow_s: float) -> None:
        self.server, self.slow_s = server, slow_s
        self.dripping = b""
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
            reply = self.server.answer(method, headers, body, self.slow_s)
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
            self._reset()
            return
        data = NOISE[reply.status == 200] if reply.garbage else self._encode(reply)
        if self.server.drip_s is None:
            self.transport.write(data)
        else:
            self.dripping = data
            self.drip()

    def drip(self) -> None:
        """Write a byte, and the next one later; all that is left if the fleet does not drip any more."""
        self.waiting = None
        count = len(self.dripping) if self.server.drip_s is None else 1
        if self.transport is not None and self.dripping:
            self.transport.write(self.dripping[:count])
        self.dripping = self.dripping[count:]
        if self.dripping and self.server.drip_s is not None:
            self.waiting = asyncio.get_running_loop().call_later(self.server.drip_s, self._dripped)

    def recover(self) -> None:
        """The fleet is well again: what drips leaves at once, and what waited is answered."""
        if self.dripping:
            if self.waiting is not None:
                self.waiting.cancel()
            self.drip()
        self.work()

    def _dripped(self) -> None:
        self.drip()
        self.work()

    def _reset(self) -> None:
        assert self.transport is not None  # noqa: S101 - asked by the only caller
        sock = self.transport.get_extra_info("socket")
        if self.server.mood == "reset" and sock is not None:
            # The end of the connection is a reset (RST) instead of a farewell (FIN).
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _encode(self, reply: Reply) -> bytes:
        messages = [json.dumps(note, separators=(",", ":")).encode() for note in reply.notes]
        if reply.message is not None:
            messages.append(json.dumps(reply.message, separators=(",", ":")).encode())
        lines = [f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, 'Service Unavailable')}"]
        if reply.session:
            lines.append(f"Mcp-Session-Id: {reply.session}")
        framing = self.server.config.framing if reply.status == 200 and messages else "length"
        framing = "sse" if reply.notes else framing
        if framing == "sse":
            messages = [b"event: message\ndata: " + message + b"\n\n" for message in messages]
        if messages:
            lines.append(f"Content-Type: {'text/event-stream' if framing == 'sse' else 'application/json'}")
        if framing == "length":
            body = b"".join(messages)
            lines.append(f"Content-Length: {len(body)}")
        else:
            lines.append("Transfer-Encoding: chunked")
            body = b"".join(b"%x\r\n%b\r\n" % (len(message), message) for message in messages) + b"0\r\n\r\n"
        return "\r\n".join([*lines, "", ""]).encode() + body
