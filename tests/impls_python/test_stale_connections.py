"""A keep-alive connection that the server closed meanwhile: sent again once where that is safe, and only there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from crossfade.impls import Config, ServerSpec
from crossfade.impls.errors import ServerCrashed
from crossfade.impls.python.http_connection import STALE_NS
from crossfade.impls.python.manager import PythonManager


class Server:
    """Hangs up on ``hang_up`` calls, after reading each of them."""

    def __init__(self) -> None:
        self.calls = 0
        self.hang_up = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                message = json.loads(await reader.readexactly(length))
                result: dict[str, object] = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
                if message["method"] == "tools/call":
                    self.calls += 1
                    if self.hang_up:
                        self.hang_up -= 1
                        break
                    result = {"content": [{"type": "text", "text": "served"}]}
                body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
                writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, PythonManager]]:
    peer = Server()
    listener = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    spec = ServerSpec(name="up", urls=(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/mcp",))
    async with PythonManager(Config(servers=(spec,))) as manager:
        assert (await manager.call_tool("up__echo", {})).text == "served"
        yield peer, manager
    listener.close()
    await listener.wait_closed()


def age(manager: PythonManager) -> None:
    """As if the connections had been idle for longer than a server's keep-alive limit."""
    for conn in manager.registry["up"].instances[0].conns.values():
        conn.idle_since_ns -= STALE_NS


async def test_a_call_on_a_connection_that_had_gone_stale_is_sent_again(server: tuple[Server, PythonManager]) -> None:
    peer, manager = server
    age(manager)
    peer.hang_up = 1
    assert (await manager.call_tool("up__echo", {})).text == "served"
    assert manager.metrics().errors == 0


async def test_it_is_sent_again_once_and_not_for_ever(server: tuple[Server, PythonManager]) -> None:
    peer, manager = server
    age(manager)
    before, peer.hang_up = peer.calls, 5
    with pytest.raises(ServerCrashed):
        await manager.call_tool("up__echo", {})
    assert peer.calls == before + 2


async def test_a_call_that_may_have_run_is_not_sent_again(server: tuple[Server, PythonManager]) -> None:
    """The connection was busy a moment ago: its end is a crash, and the tool may have had its effect."""
    peer, manager = server
    before, peer.hang_up = peer.calls, 1
    with pytest.raises(ServerCrashed, match="call again"):
        await manager.call_tool("up__echo", {})
    assert peer.calls == before + 1
    assert manager.metrics().in_flight == 0
