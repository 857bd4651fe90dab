"""A server whose port turns out to speak something else: that is said at once, and not waited for."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import pytest
from tests.contract.kit import manager_of

from crossfade.impls import ServerSpec
from crossfade.impls.errors import ServerError

NOISE = b'\x00\xff{"jsonrpc": this is no JSON}\r\n'
"""It has a line's end and never the end of a head."""


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers as a server should, and a call of the tool ``noise`` by what is no HTTP; it never hangs up itself."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            message = json.loads(await reader.readexactly(length))
            if message.get("params", {}).get("name") == "noise":
                writer.write(NOISE)
                continue
            result: dict[str, object] = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
            result |= {"resultType": "complete", "content": [{"type": "text", "text": "served"}]}
            body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
    writer.close()


async def test_what_is_no_http_is_an_error_at_once_and_not_a_timeout(variant: str) -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    spec = ServerSpec("fix", urls=(f"http://127.0.0.1:{port}/mcp",))
    async with server, manager_of(variant, spec) as manager, asyncio.timeout(10):
        assert (await manager.call_tool("fix__echo", {})).text == "served"
        with pytest.raises(ServerError) as caught:
            await manager.call_tool("fix__noise", {})
        assert "fix" in caught.value.message
        assert (await manager.call_tool("fix__echo", {})).text == "served"
