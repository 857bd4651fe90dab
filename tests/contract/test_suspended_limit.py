"""As many calls as may wait for their clients' input: each costs little, and the next one is told why it may not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from tests.contract.clients import Client, modern_meta, serving

from crossfade.impls import DedicatedSpec, PoolSpec, ServerSpec

MOST = 1024
KIB = 1024
META = modern_meta(**{"io.modelcontextprotocol/clientCapabilities": {"roots": {}}})
CALL = {"name": "fix__ask", "arguments": {}, "_meta": META}


class Asker:
    """A legacy server as small as can be: every call asks for the roots, and is answered when they come."""

    def __init__(self) -> None:
        self.asked: dict[str, asyncio.Future[Any]] = {}
        self.sessions = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:-2])
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                await self.answer(head.partition(" ")[0], json.loads(body) if body else {}, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()

    async def answer(self, verb: str, message: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        method, number = message.get("method"), message.get("id")
        if verb != "POST":
            writer.write(b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n")
        elif method is None and number in self.asked:
            self.asked.pop(number).set_result(message.get("result"))
            writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        elif method == "initialize":
            self.sessions += 1
            info = {"name": "asker", "version": "1"}
            result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
            self.json(writer, number, result, f"Mcp-Session-Id: s{self.sessions}\r\n")
        elif method == "tools/call":
            await self.call(number, writer)
        elif number is None:
            writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        else:
            error = {"code": -32601, "message": "Method not found"}
            self.whole(writer, 400, {"jsonrpc": "2.0", "id": number, "error": error})

    async def call(self, number: Any, writer: asyncio.StreamWriter) -> None:
        key = f"ask-{self.sessions}-{len(self.asked)}-{number}"
        reply = self.asked[key] = asyncio.get_running_loop().create_future()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.event(writer, {"jsonrpc": "2.0", "id": key, "method": "roots/list"})
        said = await reply
        result = {"content": [{"type": "text", "text": json.dumps(said)}]}
        self.event(writer, {"jsonrpc": "2.0", "id": number, "result": result})
        writer.write(b"0\r\n\r\n")

    def event(self, writer: asyncio.StreamWriter, message: object) -> None:
        data = f"data: {json.dumps(message)}\n\n".encode()
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))

    def json(self, writer: asyncio.StreamWriter, number: Any, result: object, more: str = "") -> None:
        self.whole(writer, 200, {"jsonrpc": "2.0", "id": number, "result": result}, more)

    def whole(self, writer: asyncio.StreamWriter, status: int, message: object, more: str = "") -> None:
        body = json.dumps(message).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{more}Content-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)


@asynccontextmanager
async def asker() -> AsyncIterator[ServerSpec]:
    server = await asyncio.start_server(Asker().serve, "127.0.0.1", 0, backlog=MOST)
    port = server.sockets[0].getsockname()[1]
    pool = PoolSpec(max_connections=2 * MOST)
    dedicated = DedicatedSpec(max=2 * MOST)
    async with server:
        yield ServerSpec("fix", urls=(f"http://127.0.0.1:{port}/mcp",), pool=pool, dedicated=dedicated, era="legacy")


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4 * KIB


async def suspended(client: Client) -> dict[str, Any]:
    result = await client.result("tools/call", CALL)
    assert result["resultType"] == "input_required", result
    return result


async def many(clients: list[Client], count: int) -> list[dict[str, Any]]:
    """So many calls that wait, from all clients at once; each client has one connection."""

    async def some(client: Client) -> list[dict[str, Any]]:
        return [await suspended(client) for _ in range(count // len(clients))]

    return list(chain.from_iterable(await asyncio.gather(*(some(client) for client in clients))))


@pytest.mark.timeout(120)
async def test_as_many_calls_wait_as_may_and_the_next_is_told_so(variant: str) -> None:
    async with asker() as spec, serving(variant, spec) as served, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(served.client("modern")) for _ in range(16)]
        client = clients[0]
        states = await many(clients, 64)  # what is set up once is no call's own
        before = resident()
        states += await many(clients, MOST - 64)
        each = (resident() - before) / (MOST - 64)
        assert each < 100 * KIB, f"{each / KIB:.0f} KiB for a call that waits, the fixture's part included"
        refused = await client.error("tools/call", CALL)
        assert f"{MOST} calls wait" in refused["message"], refused
        assert refused["data"]["code"] == "load_shed"
        for state in (states[0], states[-1]):
            responses: dict[str, Any] = {key: {"roots": []} for key in state["inputRequests"]}
            retry = {**CALL, "inputResponses": responses, "requestState": state["requestState"]}
            assert (await client.result("tools/call", retry))["content"][0]["text"] == '{"roots": []}'
            await suspended(client)
        assert "error" in await client.message("tools/call", CALL)
