"""The relay that all planted gateways are: messages framed by their length, passed on one after another.

Owns the connections. The rule: what a flaw may change is in :class:`Relay`, and nothing else knows of flaws.
"""

from __future__ import annotations

import asyncio
import gc
from urllib.parse import urlsplit

COLLECT_EVERY = 8


class Relay:
    """What all connections of a relay share, and what a flaw changes: ``asked`` and ``answered`` see every call."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        self.calls = 0
        self.closed = 0

    def connected(self, client: Client) -> None:
        """A client is there."""

    def asked(self, request: bytes, client: Client) -> bytes | None:
        """Before a call goes upstream; what is returned is the answer, and the call goes nowhere."""
        return None

    def answered(self, request: bytes, answer: bytes, client: Client) -> None:
        """An answer is there and goes to the client."""
        client.write(answer)


class Framed(asyncio.Protocol):
    """Bytes that come in messages framed by their length."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._buffer = b""
        self._whole = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a TCP connection's is
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Hand on whole messages."""
        self._buffer += data
        while self._buffer:
            if not self._whole and not (whole := length(self._buffer)):
                return
            self._whole = self._whole or whole
            if len(self._buffer) < self._whole:
                return
            message, self._buffer, self._whole = self._buffer[: self._whole], self._buffer[self._whole :], 0
            self.message(message)

    def message(self, message: bytes) -> None:
        """One whole message."""
        raise NotImplementedError

    def write(self, message: bytes) -> None:
        """Send, if there is anybody left."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(message)

    def close(self) -> None:
        """Close."""
        if self.transport is not None:
            self.transport.close()


def length(buffer: bytes) -> int:
    """Of the message that begins here, head and body; 0 if its head is not whole."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return 0
    head = buffer[:end].lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        return end + 4
    return end + 4 + int(head[at + 17 :].partition(b"\r\n")[0])


class Upstream(Framed):
    """The fleet's side of one client."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self.client = client

    def message(self, message: bytes) -> None:
        """An answer."""
        self.client.answer(message)

    def connection_lost(self, error: Exception | None) -> None:
        """The client learns it."""
        self.client.close()


class Client(Framed):
    """One client, whose requests go upstream one after another."""

    def __init__(self, relay: Relay) -> None:
        super().__init__()
        self.relay = relay
        self._waiting: list[bytes] = []
        self._request = b""
        self._up: Upstream | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connect its upstream."""
        super().connection_made(transport)
        self.relay.connected(self)
        self._connecting = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, up = await loop.create_connection(lambda: Upstream(self), self.relay.host, self.relay.port)
        except OSError:
            self.close()
            return
        self._up = up
        for request in self._waiting:
            self.message(request)

    def message(self, message: bytes) -> None:
        """A request."""
        if self._up is None:
            self._waiting.append(message)
            return
        self._request = message
        if b'"tools/call"' in message and (answer := self.relay.asked(message, self)) is not None:
            self.write(answer)
        elif self.transport is not None and not self.transport.is_closing():
            self._up.write(message)

    def answer(self, message: bytes) -> None:
        """What the fleet says to the request under way."""
        if b'"tools/call"' in self._request:
            self.relay.answered(self._request, message, self)
        else:
            self.write(message)

    def connection_lost(self, error: Exception | None) -> None:
        """Nobody is left to answer."""
        if self._up is not None:
            self._up.close()
            self._up = None
        self.relay.closed += 1
        if self.relay.closed % COLLECT_EVERY == 0:
            gc.collect()


async def serve(relay: Relay, port: int) -> None:
    """Listen until ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Client(relay), "127.0.0.1", port)
    # Only a closed connection leaves cycles (its transports know themselves), and a collection in the middle of a block
    # whose connections stay would be noise. Where they come and go, they are collected, or this relay would leak.
    gc.freeze()
    gc.disable()
    print("listening", flush=True)  # noqa: T201 - for whoever starts it by hand and waits
    await server.serve_forever()
