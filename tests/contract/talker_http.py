"""Talkers over HTTP: one connection for each request, so that answers may come as event streams side by side."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from tests.contract.clients import MODERN, NAMED
from tests.contract.rawhttp import Connection
from tests.contract.talker import WITHIN_S, Answer, Message, Pending, Talker

from crossfade.impls import Gateway


class Stream:
    """The answer to one HTTP request, message by message; ``last_event`` is the id of the latest event, and ``notes``
    are the comments that say something."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.status = 0
        self.headers: dict[str, str] = {}
        self.comments = 0
        self.notes: list[str] = []
        self.received: list[Message] = []
        self.last_event: str | None = None
        self.event_ids: list[str] = []

    async def open(self) -> None:
        async with asyncio.timeout(WITHIN_S):
            self.status, self.headers = await self.connection.response_head()

    @property
    def is_events(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")

    async def messages(self) -> AsyncIterator[Message]:
        """All of them, until the body ends."""
        if not self.is_events:
            body = await self._all()
            if body:
                yield json.loads(body)
            return
        data: list[bytes] = []
        async for line in self._lines():
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if not line and data:
                text, data = b"\n".join(data), []
                if text:
                    yield json.loads(text)
            elif line.startswith(b":"):
                self.comments += 1
                if value:
                    self.notes.append(value.decode())
            elif name == b"data":
                data.append(value)
            elif name == b"id":
                self.last_event = value.decode()
                self.event_ids.append(self.last_event)

    async def _lines(self) -> AsyncIterator[bytes]:
        kept = b""
        async for piece in self._pieces():
            *lines, kept = (kept + piece).replace(b"\r\n", b"\n").split(b"\n")
            for line in lines:
                yield line

    async def _pieces(self) -> AsyncIterator[bytes]:
        reader = self.connection.reader
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            while piece := await reader.read(1 << 16):
                yield piece
            return
        while size := int((await reader.readline()).split(b";")[0] or b"0", 16):
            yield await reader.readexactly(size)
            await reader.readexactly(2)

    async def _all(self) -> bytes:
        if "content-length" in self.headers:
            return await self.connection.reader.readexactly(int(self.headers["content-length"]))
        if "transfer-encoding" in self.headers:
            return b"".join([piece async for piece in self._pieces()])
        return b""


class HttpTalker(Talker):
    """What both eras do over HTTP."""

    def __init__(
        self,
        gateway: Gateway,
        answers: dict[str, Answer] | None = None,
        capabilities: Message | None = None,
        caller: str | None = None,
    ) -> None:
        super().__init__(answers, capabilities)
        self.gateway, self.caller = gateway, caller
        self.streams: dict[Any, Stream] = {}

    def headers(self, message: Message) -> dict[str, str | None]:
        raise NotImplementedError

    async def connect(self) -> Connection:
        connection = await Connection.open(self.gateway)
        connection.caller = self.caller
        return connection

    async def transmit(self, message: Message, pending: Pending) -> None:
        connection = await self.connect()
        stream = self.streams[pending.id] = Stream(connection)
        pending.abandon = connection.abort
        await connection.send(connection.encode(message, self.headers(message)))
        self.task(self._follow(stream, pending))

    async def _follow(self, stream: Stream, pending: Pending) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):  # cut: the request stays without an answer
            async with stream.connection:
                await stream.open()
                async for message in stream.messages():
                    await self.receive(message, pending)
        if not pending.done.done():
            pending.done.set_exception(ConnectionError(f"the stream of {pending.method} ended without its answer"))
            pending.done.exception()  # whoever asks is told; whoever does not ask knows

    async def tell(self, message: Message) -> None:
        async with asyncio.timeout(WITHIN_S), await self.connect() as connection:
            answer = await connection.post(message, self.headers(message))
            assert answer.status == 202, answer


class ModernHttpTalker(HttpTalker):
    """2026-07-28: no session; closing a stream is cancelling."""

    era = "modern"

    def headers(self, message: Message) -> dict[str, str | None]:
        method, params = message["method"], message["params"]
        named = {"Mcp-Name": params[NAMED[method]]} if NAMED.get(method, "") in params else {}
        return {"MCP-Protocol-Version": MODERN, "Mcp-Method": method, **named}

    async def cancel(self, pending: Pending) -> None:
        pending.abandon()


class LegacyHttpTalker(HttpTalker):
    """2025-11-25: a session, and its own stream if the test wants one."""

    era = "legacy"
    version = "2025-11-25"
    session: str | None = None
    own: Stream | None = None

    async def __aenter__(self) -> LegacyHttpTalker:
        pending = await self.start("initialize", self.hello(self.version))
        assert "result" in await pending.answer()
        self.session = self.streams[pending.id].headers["mcp-session-id"]
        await self.notify("notifications/initialized")
        return self

    def headers(self, message: Message | None = None) -> dict[str, str | None]:
        del message
        return {"Mcp-Session-Id": self.session, "MCP-Protocol-Version": self.version if self.session else None}

    async def open_stream(self, last_event: str | None = None) -> None:
        if self.own is None:
            self.own = await self.get(last_event)
            assert self.own.status == 200, self.own.status

    async def get(self, last_event: str | None = None) -> Stream:
        """A GET stream, from where an earlier one ended if ``last_event`` is its last id."""
        stream = Stream(await self.connect())
        resumed = {} if last_event is None else {"Last-Event-ID": last_event}
        head = stream.connection.head("GET", "/mcp", {**self.headers(), "Accept": "text/event-stream", **resumed})
        await stream.connection.send(head)
        await stream.open()
        self.task(self._listen(stream))
        return stream

    async def _listen(self, stream: Stream) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            async with stream.connection:
                async for message in stream.messages():
                    await self.receive(message, None)

    async def delete(self) -> int:
        async with asyncio.timeout(WITHIN_S), await self.connect() as connection:
            return (await connection.request("DELETE", "/mcp", self.headers())).status
