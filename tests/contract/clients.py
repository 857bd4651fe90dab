"""The smallest MCP clients of both eras over one raw HTTP connection.

Rule: every request carries the id 1 unless the test says otherwise, because real clients do.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from tests.contract.kit import manager_of
from tests.contract.rawhttp import Connection, Response

from crossfade.impls import Gateway, Manager, ServerSpec

_T = TypeVar("_T", bound=AbstractAsyncContextManager[Any])

MODERN = "2026-07-28"
META = "io.modelcontextprotocol/"
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}

NO_MESSAGES: list[tuple[bytes, int]] = [
    (b"{not json", -32700),
    (b"\xff\xfe{}", -32700),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping"', -32700),
    (b"[]", -32600),
    (b"42", -32600),
    (b'{"jsonrpc":"2.0","id":1}', -32600),
    (b'{"jsonrpc":"2.0","id":1,"params":{}}', -32600),
    (b'{"jsonrpc":"2.0"}', -32600),
    (b'{"jsonrpc":"2.0","id":1,"method":7}', -32600),
    (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
    (b'{"jsonrpc":2.0,"id":1,"method":"ping"}', -32600),
    (b'{"id":1,"method":"ping"}', -32600),
    (b'{"jsonrpc":"1.0","method":"notifications/initialized"}', -32600),
    (b'{"jsonrpc":"1.0","id":1,"result":{}}', -32600),
    (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600),
]
"""What is no message of JSON-RPC 2.0, and the code of the answer."""


def modern_meta(**more: Any) -> dict[str, Any]:
    info = {META + "protocolVersion": MODERN, META + "clientCapabilities": {}}
    return {**info, META + "clientInfo": {"name": "contract", "version": "1"}, **more}


class Client:
    """A client of one era; ``last`` is the raw answer to the last request."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.last: Response | None = None

    @classmethod
    async def open(cls, gateway: Gateway, *, caller: str | None = None) -> Self:
        client = cls(await Connection.open(gateway))
        client.connection.caller = caller
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.connection.__aexit__()

    def encode(self, method: str, params: dict[str, Any] | None = None, *, id: Any = 1) -> bytes:  # noqa: A002 -- the field's name
        raise NotImplementedError

    async def raw(self, method: str, params: dict[str, Any] | None = None, *, id: Any = 1) -> Response:  # noqa: A002
        """The HTTP answer to one request."""
        await self.connection.send(self.encode(method, params, id=id))
        self.last = await self.connection.response()
        return self.last

    async def message(self, method: str, params: dict[str, Any] | None = None, *, id: Any = 1) -> dict[str, Any]:  # noqa: A002
        """The JSON-RPC answer; its id is checked."""
        answer: dict[str, Any] = (await self.raw(method, params, id=id)).message
        assert answer["jsonrpc"] == "2.0"
        assert answer["id"] == id
        return answer

    async def result(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = await self.message(method, params)
        assert "result" in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    async def error(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = await self.message(method, params)
        assert "error" in answer, answer
        error: dict[str, Any] = answer["error"]
        return error

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        return await self.result("tools/call", {"name": tool, "arguments": arguments})

    async def text(self, tool: str, **arguments: Any) -> str:
        text: str = (await self.call(tool, **arguments))["content"][0]["text"]
        return text


class ModernClient(Client):
    """2026-07-28: no session, everything in the request."""

    def encode(self, method: str, params: dict[str, Any] | None = None, *, id: Any = 1) -> bytes:  # noqa: A002
        params = {"_meta": modern_meta(), **(params or {})}
        headers: dict[str, str | None] = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
        if method in NAMED and NAMED[method] in params:
            headers["Mcp-Name"] = params[NAMED[method]]
        return self.connection.encode({"jsonrpc": "2.0", "id": id, "method": method, "params": params}, headers)


class LegacyClient(Client):
    """2025-11-25 by default; :meth:`open` does the handshake."""

    session: str | None = None
    version = "2025-11-25"

    @classmethod
    async def open(cls, gateway: Gateway, version: str = "2025-11-25", *, caller: str | None = None) -> Self:
        client = await super().open(gateway, caller=caller)
        client.version = version
        await client.initialize()
        return client

    async def initialize(self) -> dict[str, Any]:
        params = {
            "protocolVersion": self.version,
            "capabilities": {},
            "clientInfo": {"name": "contract", "version": "1"},
        }
        self.session = None
        result = await self.result("initialize", params)
        assert self.last is not None
        self.session = self.last.headers.get("mcp-session-id")
        self.version = result["protocolVersion"]
        accepted = await self.notify("notifications/initialized")
        assert accepted.status == 202
        return result

    def headers(self) -> dict[str, str | None]:
        return {"Mcp-Session-Id": self.session, "MCP-Protocol-Version": self.version if self.session else None}

    def encode(self, method: str, params: dict[str, Any] | None = None, *, id: Any = 1) -> bytes:  # noqa: A002
        message = {"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}}
        return self.connection.encode(message, self.headers())

    async def notify(self, method: str, params: dict[str, Any] | None = None) -> Response:
        message = {"jsonrpc": "2.0", "method": method, **({} if params is None else {"params": params})}
        return await self.connection.post(json.dumps(message).encode(), self.headers())

    async def delete(self) -> Response:
        return await self.connection.request("DELETE", "/mcp", self.headers())


CLIENTS: dict[str, type[Client]] = {"modern": ModernClient, "legacy": LegacyClient}


@dataclass(frozen=True)
class Served:
    """A manager with its gateway face, for as long as the test's ``async with`` lasts."""

    manager: Manager
    gateway: Gateway

    def connect(self) -> AbstractAsyncContextManager[Connection]:
        """A raw connection."""
        return _opened(Connection.open(self.gateway))

    def client(self, era: str, caller: str | None = None) -> AbstractAsyncContextManager[Client]:
        """A client of one era, its handshake done; ``caller`` is its bearer token."""
        return _opened(CLIENTS[era].open(self.gateway, caller=caller))

    def legacy(
        self, version: str = "2025-11-25", caller: str | None = None
    ) -> AbstractAsyncContextManager[LegacyClient]:
        """A legacy client of one revision; ``caller`` is its bearer token."""
        return _opened(LegacyClient.open(self.gateway, version, caller=caller))


@asynccontextmanager
async def serving(variant: str, *servers: ServerSpec, **gateway: Any) -> AsyncIterator[Served]:
    """A manager over ``servers`` that serves on a free port."""
    async with manager_of(variant, *servers, **gateway) as manager:
        yield Served(manager, await manager.serve(port=0))


@asynccontextmanager
async def _opened(opening: Coroutine[Any, Any, _T]) -> AsyncIterator[_T]:
    async with await opening as opened:
        yield opened
