"""A raw HTTP/1.1 client over one socket: says what no proper client would say, and hides nothing of the answer.

Rule: it never repairs, retries or reconnects.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from crossfade.impls import Gateway

ACCEPT = "application/json, text/event-stream"


@dataclass(frozen=True)
class Response:
    """One answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def events(self) -> list[Any]:
        """The messages of an event stream, in order; comments and events without data are left out."""
        blocks = self.body.replace(b"\r\n", b"\n").split(b"\n\n")
        datas = [[line[5:].strip() for line in block.split(b"\n") if line.startswith(b"data:")] for block in blocks]
        return [json.loads(b"\n".join(data)) for data in datas if data and data != [b""]]

    @property
    def message(self) -> Any:
        """The JSON-RPC answer, whether it came as JSON or as the last event of a stream."""
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            return self.events[-1]
        return json.loads(self.body)


class Connection:
    """One socket to the gateway."""

    def __init__(self, gateway: Gateway, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.gateway, self.reader, self.writer = gateway, reader, writer
        self.caller: str | None = None  # its bearer token, sent as Authorization if set

    @classmethod
    async def open(cls, gateway: Gateway) -> Self:
        return cls(gateway, *await asyncio.open_connection(gateway.host, gateway.port, limit=1 << 26))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:  # the gateway cut it first
            return

    def abort(self) -> None:
        """Go away without a word (RST if data is unread)."""
        self.writer.transport.abort()

    def head(self, method: str, path: str, headers: Mapping[str, str | None]) -> bytes:
        """A request head; a header of None is left out, also a default one."""
        base: dict[str, str | None] = {"Host": f"127.0.0.1:{self.gateway.port}", "Accept": ACCEPT}
        if self.caller is not None:
            base["Authorization"] = f"Bearer {self.caller}"
        lines = [f"{name}: {value}" for name, value in {**base, **headers}.items() if value is not None]
        return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def encode(self, body: object, headers: Mapping[str, str | None] | None = None, method: str = "POST") -> bytes:
        """A whole request; ``body`` is bytes, or something to write as JSON, or None for no body at all."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        default = {} if body is None else {"Content-Type": "application/json", "Content-Length": str(len(data))}
        return self.head(method, "/mcp", {**default, **(headers or {})}) + data

    async def post(self, body: object, headers: Mapping[str, str | None] | None = None) -> Response:
        await self.send(self.encode(body, headers))
        return await self.response()

    async def request(self, method: str, path: str, headers: Mapping[str, str | None] | None = None) -> Response:
        await self.send(self.head(method, path, headers or {}))
        return await self.response()

    async def response_head(self) -> tuple[int, dict[str, str]]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")[:-2]
        pairs = [line.partition(":") for line in lines]
        names = [name.lower() for name, _, _ in pairs]
        assert len(names) == len(set(names)), f"a header came twice: {head}"
        return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}

    async def response(self) -> Response:
        status, headers = await self.response_head()
        if status == 100:
            return await self.response()
        assert not {"content-length", "transfer-encoding"} <= headers.keys(), "two framings are request smuggling"
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = await self._chunks()
        elif "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        elif status in (202, 204) or headers.get("connection", "").lower() != "close":
            body = b""
        else:
            body = await self.reader.read()
        return Response(status, headers, body)

    async def _chunks(self) -> bytes:
        body = b""
        while size := int((await self.reader.readline()).split(b";")[0], 16):
            body += await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
        assert await self.reader.readexactly(2) == b"\r\n"
        return body

    async def is_closed_by_peer(self) -> bool:
        """Reads what is left: True once the gateway has closed, False if it has not within five seconds."""
        try:
            async with asyncio.timeout(5):
                await self.reader.read()
        except TimeoutError:
            return False
        except OSError:
            return True
        return True
