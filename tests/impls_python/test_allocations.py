"""The relay passes bodies on and does not collect them: what it allocates goes by the chunk, not by the body.

Counted with tracemalloc in the gateway's process. The client beside it, a thread, allocates nothing while it counts:
its requests are made before, and it reads into one buffer. ``pytest -s`` prints the figures.
"""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import uvloop
from tests.contract.clients import MODERN, modern_meta
from tests.contract.kit import HttpServer, http_spec

from crossfade.impls import Config, Gateway, open_manager

KIB = 1024
CHUNK = 256 * KIB
"""What an event loop reads from a socket at once, at most."""
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Wire:
    """A client that learns how long the answer is from its first one, and then only reads so much."""

    def __init__(self, gateway: Gateway) -> None:
        self.socket = socket.create_connection((gateway.host, gateway.port))
        self.buffer = memoryview(bytearray(KIB * KIB))
        self.length = 0

    def exchange(self, request: bytes, times: int = 1) -> None:
        """Send and read it all, one time after the other."""
        for _ in range(times):
            self.socket.sendall(request)
            self.receive()

    def receive(self) -> None:
        left = self.length or self._learn()
        while left:
            got = self.socket.recv_into(self.buffer, min(left, len(self.buffer)))
            assert got, "the gateway closed the connection"
            left -= got

    def _learn(self) -> int:
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.socket.recv(1)
        assert head.startswith(b"HTTP/1.1 200"), head
        [length] = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        self.length = len(head) + length
        return length


def call(gateway: Gateway, tool: str, **arguments: Any) -> bytes:
    params = {"name": f"fix__{tool}", "arguments": arguments, "_meta": modern_meta()}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\nAccept: application/json, text/event-stream\r\n"
        f"Content-Type: application/json\r\nMCP-Protocol-Version: {MODERN}\r\nMcp-Method: tools/call\r\n"
        f"Mcp-Name: fix__{tool}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@contextmanager
def counting() -> Iterator[Callable[[], tuple[int, int]]]:
    """Bytes that came since it began: what is left of them, and the most there was at once."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        yield lambda: (tracemalloc.get_traced_memory()[0] - before, tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()


def tell(request: pytest.FixtureRequest, figures: str) -> None:
    sys.stdout.write(f"\n{request.node.name}: {figures}\n")


async def peaks(server: HttpServer, tool: str, arguments: dict[str, Any], times: tuple[int, ...]) -> list[int]:
    """The most bytes at once while so many requests are relayed, one after the other."""
    found = []
    async with open_manager(Config(servers=(http_spec(server),)), "python") as manager:
        gateway = await manager.serve(port=0)
        wire, request = Wire(gateway), call(gateway, tool, **arguments)
        await asyncio.to_thread(wire.exchange, request, 3)  # route, era and pool are known from here on
        for count in times:
            with counting() as counted:
                await asyncio.to_thread(wire.exchange, request, count)
                found.append(counted()[1])
        wire.socket.close()
    return found


@pytest.fixture(scope="module")
def modern() -> Iterator[HttpServer]:
    server = HttpServer(era="modern")
    yield server
    server.stop()


@pytest.fixture(params=list(LOOPS))
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    def runs(work: Any) -> Any:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(work)

    return runs


def test_what_many_requests_of_64_kib_allocate_does_not_grow_with_their_number(
    run: Callable[..., Any], modern: HttpServer, request: pytest.FixtureRequest
) -> None:
    few, many = run(peaks(modern, "echo", {"text": "x" * (64 * KIB)}, (5, 100)))
    tell(request, f"peak {few // KIB} KiB for 5 requests of 64 KiB, {many // KIB} KiB for 100")
    assert many < few + CHUNK, "100 requests of 64 KiB leave their bodies behind"
    assert many < 3 * CHUNK


@pytest.mark.parametrize("way", ["request", "answer"])
def test_a_long_body_is_passed_on_by_the_chunk(
    run: Callable[..., Any], modern: HttpServer, way: str, request: pytest.FixtureRequest
) -> None:
    sizes = {}
    for mib in (1, 8):
        size = mib * KIB * KIB
        arguments = {"bytes": 10, "pad": "x" * size} if way == "request" else {"bytes": size}
        [sizes[mib]] = run(peaks(modern, "huge", arguments, (3,)))
    tell(request, f"peak {sizes[1] // KIB} KiB for 1 MiB, {sizes[8] // KIB} KiB for 8 MiB")
    assert sizes[1] < 3 * CHUNK, "a body of four chunks was collected"
    assert sizes[8] < 8 * CHUNK, "eight times the body must not be eight times the memory"


async def in_flight(server: HttpServer, count: int) -> tuple[float, float, int]:
    """Blocks and bytes that a small request holds while it waits for its answer; bytes left after all answers."""
    async with open_manager(Config(servers=(http_spec(server),)), "python") as manager:
        gateway = await manager.serve(port=0)
        wires = [Wire(gateway) for _ in range(count)]
        request = call(gateway, "sleep", ms=400)
        with ThreadPoolExecutor(count) as threads:

            async def everybody(work: Callable[[Wire], None]) -> None:
                loop = asyncio.get_running_loop()
                await asyncio.gather(*(loop.run_in_executor(threads, work, wire) for wire in wires))

            for _ in range(2):
                await everybody(partial(Wire.exchange, request=request))
            with counting() as counted:
                before = tracemalloc.take_snapshot()
                for wire in wires:
                    wire.socket.sendall(request)
                while manager.metrics().in_flight < count:  # noqa: ASYNC110  nobody announces it
                    await asyncio.sleep(0.001)
                after = tracemalloc.take_snapshot()
                await everybody(Wire.receive)
                while manager.metrics().in_flight:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
                del wire
                gc.collect()
                ours = [tracemalloc.Filter(True, "*/crossfade/impls/*")]
                grown = after.filter_traces(ours).compare_to(before.filter_traces(ours), "filename")
                left = counted()[0]
        for wire in wires:
            wire.socket.close()
        return sum(s.count_diff for s in grown) / count, sum(s.size_diff for s in grown) / count, left


def test_a_small_request_in_flight_holds_few_blocks(
    run: Callable[..., Any], modern: HttpServer, request: pytest.FixtureRequest
) -> None:
    blocks, size, left = run(in_flight(modern, 20))
    tell(request, f"{blocks:.1f} blocks, {size:.0f} bytes a request; {left} bytes left of all")
    assert 0 < blocks < 60
    assert size < 8 * KIB
