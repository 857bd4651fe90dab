"""Arguments that a modern server wants in headers: sent when known, learnt when refused, dropped when invalid."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from crossfade.impls import Config, ServerSpec
from crossfade.impls.errors import RemoteError
from crossfade.impls.python.manager import PythonManager

TOOLS = [
    {
        "name": "query",
        "inputSchema": {
            "type": "object",
            "properties": {"region": {"type": "string", "x-mcp-header": "Region"}, "q": {"type": "string"}},
        },
    },
    {
        "name": "broken",
        "inputSchema": {"type": "object", "properties": {"n": {"type": "number", "x-mcp-header": "N"}}},
    },
]


def respond(message: dict[str, Any], head: str) -> dict[str, Any]:
    method = message["method"]
    if method == "server/discover":
        return {
            "result": {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
        }
    if method == "tools/list":
        return {"result": {"resultType": "complete", "tools": TOOLS, "ttlMs": 0, "cacheScope": "public"}}
    wanted = message["params"]["arguments"].get("region")
    sent = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in head.split("\r\n")}
    if sent.get("mcp-param-region") != wanted:
        return {"error": {"code": -32020, "message": "Header mismatch: Mcp-Param-Region"}}
    return {"result": {"resultType": "complete", "content": [{"type": "text", "text": "served"}]}}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
            message = json.loads(await reader.readexactly(length))
            answer = respond(message, head)
            body = json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}).encode()
            status = b"400 Bad Request" if "error" in answer else b"200 OK"
            writer.write(b"HTTP/1.1 %b\r\nContent-Type: application/json\r\n" % status)
            writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


@pytest.fixture
async def manager() -> AsyncIterator[PythonManager]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    spec = ServerSpec(name="up", urls=(f"http://127.0.0.1:{port}/mcp",))
    async with PythonManager(Config(servers=(spec,))) as opened:
        yield opened
    server.close()
    await server.wait_closed()


async def test_a_header_that_the_definition_asks_for_is_sent(manager: PythonManager) -> None:
    await manager.list_tools()
    assert (await manager.call_tool("up__query", {"region": "us-west1", "q": "x"})).text == "served"


async def test_a_refused_call_learns_the_definition_and_succeeds(manager: PythonManager) -> None:
    assert (await manager.call_tool("up__query", {"region": "us-west1"})).text == "served"


async def test_a_tool_whose_annotations_are_invalid_is_not_listed(manager: PythonManager) -> None:
    assert [item.name for item in await manager.list_tools()] == ["up__query"]


async def test_a_refusal_that_persists_is_told(manager: PythonManager) -> None:
    with pytest.raises(RemoteError, match="Header mismatch"):
        await manager.call_tool("up__other", {"region": "x"})
