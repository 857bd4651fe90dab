"""Cancelled at every await: no slot is lost, and the next call succeeds."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from crossfade.impls import Config, PoolSpec, ServerSpec
from crossfade.impls.python.instance import Instance
from crossfade.impls.python.manager import PythonManager

from .stepping import CancelAt

CHILD = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    if message["method"] == "server/discover":
        result = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
    else:
        result = {"content": [{"type": "text", "text": json.dumps(message["params"].get("arguments"))}]}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An HTTP server that says what the child says, with a pause between head and body."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            message = json.loads(await reader.readexactly(length))
            result: dict[str, object]
            if message["method"] == "server/discover":
                result = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
            else:
                text = json.dumps(message["params"].get("arguments"))
                result = {"resultType": "complete", "content": [{"type": "text", "text": text}]}
            body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % len(body))
            await asyncio.sleep(0)
            writer.write(body)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


@pytest.fixture(params=["stdio", "http"])
async def spec(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ServerSpec]:
    pool = PoolSpec(max_connections=1, stdio_streams=1, acquire_timeout_ms=2000)
    if request.param == "stdio":
        script = tmp_path / "child.py"
        script.write_text(CHILD)
        yield ServerSpec(name="up", command=sys.executable, args=(str(script),), pool=pool, lazy=True)
        return
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield ServerSpec(name="up", urls=(f"http://127.0.0.1:{port}/mcp",), pool=pool, lazy=True)
    server.close()
    await server.wait_closed()


def only_instance(manager: PythonManager) -> Instance:
    return manager.registry["up"].instances[0]


async def settle(manager: PythonManager) -> None:
    """Let what was set going end: a lease is given back at once, a cancelled connect a few turns later."""
    for _ in range(50):
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        while only_instance(manager).pool.in_use or only_instance(manager).pool.connecting:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def cancel_everywhere(manager: PythonManager, busy: bool) -> int:
    """Cancel a call at its suspension 0, 1, 2... until it ends by itself; returns how many there were."""
    for k in range(1000):
        holder = None
        if busy:  # the only place is taken, so the call has to queue
            conn = await only_instance(manager).checkout(2**62)
            holder = asyncio.get_running_loop().call_later(0.002, only_instance(manager).release, conn, True)
        call = CancelAt(manager.call_tool("up__echo", {"k": k}), k)
        result = await call
        if holder is not None and not holder.cancelled() and only_instance(manager).pool.in_use:
            await asyncio.sleep(0.004)
        await settle(manager)
        instance = only_instance(manager)
        assert instance.pool.in_use == 0
        assert instance.pool.waiting == 0
        assert instance.pool.untaken == 0
        assert manager.metrics().in_flight == 0
        assert instance.balancer.pending(0) == 0
        later = await manager.call_tool("up__echo", {"after": k})
        assert json.loads(later.text) == {"after": k}
        if not call.reached:
            assert result is not None
            return k
    raise AssertionError("the call never ended")


@pytest.mark.parametrize("busy", [False, True], ids=["free", "queued"])
async def test_a_call_cancelled_at_any_await_loses_no_slot(spec: ServerSpec, busy: bool) -> None:
    async with PythonManager(Config(servers=(spec,))) as manager:
        if busy:
            await manager.call_tool("up__echo", {})
        assert await cancel_everywhere(manager, busy) >= 1


async def test_a_call_cancelled_at_any_await_of_the_first_connect_loses_no_slot(spec: ServerSpec) -> None:
    """Each k meets a server that nobody has talked to yet, so discovery and connect are cancelled too."""
    for k in range(200):
        async with PythonManager(Config(servers=(spec,))) as manager:
            call = CancelAt(manager.call_tool("up__echo", {}), k)
            await call
            await settle(manager)
            assert only_instance(manager).pool.in_use == 0
            assert manager.metrics().in_flight == 0
            assert json.loads((await manager.call_tool("up__echo", {"k": k})).text) == {"k": k}
        if not call.reached:
            return
    raise AssertionError("the call never ended")


async def test_a_grant_that_comes_together_with_the_cancel_goes_to_the_next(spec: ServerSpec) -> None:
    async with PythonManager(Config(servers=(spec,))) as manager:
        await manager.call_tool("up__echo", {})
        instance = only_instance(manager)
        held = await instance.checkout(2**62)
        waiting = asyncio.create_task(instance.checkout(2**62))
        next_one = asyncio.create_task(instance.checkout(2**62))
        await asyncio.sleep(0)
        instance.release(held, True)  # the grant is made, its task has not run yet
        waiting.cancel()
        async with asyncio.timeout(2):
            conn = await next_one
        with pytest.raises(asyncio.CancelledError):
            await waiting
        instance.release(conn, True)
        assert instance.pool.in_use == 0
