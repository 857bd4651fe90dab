"""Cancelled at every await of queue, backoff and race: no place, slot or count is lost, and the next call succeeds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from crossfade.impls import BreakerSpec, BulkheadSpec, CacheSpec, Config, HedgeSpec, RetrySpec, ServerSpec, ShedSpec
from crossfade.impls.errors import BulkheadFull, RemoteError, ServerCrashed
from crossfade.impls.python.manager import PythonManager
from crossfade.impls.python.places import Place, Places
from crossfade.impls.python.race import race

from .stepping import CancelAt

FOREVER_NS = 1 << 62
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


@asynccontextmanager
async def upstream(*, delay_s: float = 0.0, fails: Callable[[], bool] = lambda: False) -> AsyncIterator[str]:
    """A modern server that answers anything after ``delay_s``, or closes the connection if ``fails`` says so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                message = json.loads(await reader.readexactly(length))
                result: dict[str, Any] = {"resultType": "complete", "contents": [], "content": []}
                if message["method"] == "server/discover":
                    result = {"resultType": "complete", "supportedVersions": ["2026-07-28"]}
                    result["capabilities"] = {"tools": {}, "resources": {}}
                elif fails():
                    return
                else:
                    await asyncio.sleep(delay_s)
                body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
                )
                await asyncio.sleep(0)
                writer.write(body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    finally:
        server.close()


def spec_of(*urls: str, **more: Any) -> ServerSpec:
    fixed: dict[str, Any] = {"breaker": BreakerSpec(enabled=False), "cache": CacheSpec(enabled=False)}
    return ServerSpec(**{"name": "up", "urls": urls, **fixed, **more})


async def nothing_is_held(manager: PythonManager) -> None:
    """Leases are given back at once, by a cancelled task a few turns later, by the holder of a place in 2 ms."""
    server = manager.registry["up"]
    places = server.calls.places

    def held() -> bool:
        pools = any(i.pool.in_use or i.pool.connecting for i in server.instances)
        return pools or (places is not None and places._core.in_flight > 0)

    async with asyncio.timeout(5):
        while held():  # noqa: ASYNC110  several things, none of which is announced
            await asyncio.sleep(0.001)
    for instance in server.instances:
        assert instance.pool.waiting == instance.pool.untaken == 0
        assert instance.balancer.pending(instance.index) == 0
        assert instance.users == 0
    assert manager.metrics().in_flight == 0
    if manager.load is not None:
        assert manager.load.in_flight == 0
    if places is not None:
        assert places._core.waiting == places._core.untaken == 0
        assert not places._queue


async def everywhere(manager: PythonManager, make: Callable[[], Any], before: Callable[[], Any] | None = None) -> int:
    """Cancel what ``make`` begins at its suspension 0, 1, 2... until it ends by itself; returns how many there were."""
    for k in range(300):
        if before is not None:
            before()
        call = CancelAt(make(), k)
        await call
        for _ in range(20):
            await asyncio.sleep(0)
        await nothing_is_held(manager)
        if not call.reached:
            return k
    raise AssertionError("the call never ended")


async def test_a_call_cancelled_at_any_await_in_the_queue_loses_no_place() -> None:
    async with upstream() as url:
        spec = spec_of(url, bulkhead=BulkheadSpec(max_in_flight=1, max_queue=5))
        async with PythonManager(Config(servers=(spec,), shed=ShedSpec(max_in_flight=100, target_ms=1000))) as manager:
            places = manager.registry["up"].calls.places
            assert places is not None

            def taken() -> None:
                held = places.try_enter()
                assert held is not None
                asyncio.get_running_loop().call_later(0.002, held.leave)

            assert await everywhere(manager, lambda: manager.call_tool("up__echo", {}), taken) >= 2


async def test_a_call_cancelled_at_any_await_of_a_second_attempt_loses_nothing() -> None:
    odd = iter(range(10_000))
    async with upstream(fails=lambda: next(odd) % 2 == 0) as url:
        retry = RetrySpec(attempts=3, base_ms=1, cap_ms=2, budget_burst=1000, tools=("*",))
        spec = spec_of(url, retry=retry, bulkhead=BulkheadSpec(max_in_flight=2, max_queue=5))
        async with PythonManager(Config(servers=(spec,), shed=ShedSpec(max_in_flight=100))) as manager:
            assert await everywhere(manager, lambda: manager.call_tool("up__echo", {})) >= 3


@pytest.mark.parametrize("kept", [False, True], ids=["asked", "coalesced"])
async def test_a_read_cancelled_at_any_await_of_its_race_loses_nothing(kept: bool) -> None:
    async with upstream(delay_s=0.02) as slow, upstream(delay_s=0.004) as quick:
        hedge = HedgeSpec(enabled=True, delay_ms=2, per_mille=1000)
        spec = spec_of(slow, quick, hedge=hedge, balancer="round_robin", cache=CacheSpec(enabled=kept, coalesce=kept))
        async with PythonManager(Config(servers=(spec,), shed=ShedSpec(max_in_flight=100))) as manager:
            await everywhere(manager, lambda: manager.read_resource("x://y", server="up"))
            assert manager.metrics().servers["up"]["hedges"] >= 1


async def test_a_place_that_is_granted_together_with_the_cancel_goes_to_the_next() -> None:
    async with PythonManager(Config(servers=(spec_of("http://127.0.0.1:9/mcp", lazy=True),))) as manager:
        places = Places(manager.registry["up"], BulkheadSpec(max_in_flight=1, max_queue=5))
        held = await places.enter(FOREVER_NS)
        leaver = asyncio.create_task(places.enter(FOREVER_NS))
        next_one = asyncio.create_task(places.enter(FOREVER_NS))
        await asyncio.sleep(0)
        held.leave()  # the grant is made, its task has not run yet
        leaver.cancel()
        async with asyncio.timeout(2):
            place = await next_one
        with pytest.raises(asyncio.CancelledError):
            await leaver
        held.leave()
        assert places.try_enter() is None, "leaving twice made a place out of nothing"
        place.leave()
        assert places.try_enter() is not None


async def test_an_earlier_deadline_behind_a_later_one_is_kept() -> None:
    async with PythonManager(Config(servers=(spec_of("http://127.0.0.1:9/mcp", lazy=True),))) as manager:
        places = Places(manager.registry["up"], BulkheadSpec(max_in_flight=1, max_queue=5, queue_timeout_ms=60_000))
        held = await places.enter(FOREVER_NS)
        patient = asyncio.create_task(places.enter(FOREVER_NS))
        await asyncio.sleep(0)
        async with asyncio.timeout(2):
            with pytest.raises(BulkheadFull):
                await places.enter(int(asyncio.get_running_loop().time() * 1e9) + 20_000_000)
        held.leave()
        assert isinstance(await patient, Place)


# -- the race itself


async def answering(value: bytes, after_s: float) -> bytes:
    await asyncio.sleep(after_s)
    return value


async def failing(error: Exception, after_s: float) -> bytes:
    await asyncio.sleep(after_s)
    raise error


def yes() -> bool:
    return True


async def test_the_first_answer_wins_and_a_failure_does_not() -> None:
    crash = ServerCrashed("gone; call again")
    won = await race(lambda: answering(b"1", 0.05), lambda: answering(b"2", 0.001), 1_000_000, yes)
    assert (won.value, won.second) == (b"2", True)
    won = await race(lambda: answering(b"1", 0.03), lambda: failing(crash, 0.001), 1_000_000, yes)
    assert (won.value, won.second) == (b"1", False)
    won = await race(lambda: failing(crash, 0.005), lambda: answering(b"2", 0.03), 1_000_000, yes)
    assert (won.value, won.second) == (b"2", True)


async def test_an_error_of_the_server_is_an_answer() -> None:
    with pytest.raises(RemoteError, match="no such"):
        await race(lambda: answering(b"1", 0.05), lambda: failing(RemoteError("no such thing"), 0.001), 1_000_000, yes)


async def test_if_both_fail_the_first_ones_error_is_told() -> None:
    first, second = ServerCrashed("first; call again"), ServerCrashed("second; call again")
    for after_s in (0.002, 0.02):
        copies = partial(failing, first, after_s), partial(failing, second, 0.01)
        with pytest.raises(ServerCrashed, match="first"):
            await race(*copies, 1_000_000, yes)


async def test_a_first_copy_that_fails_before_the_delay_starts_no_second() -> None:
    def never() -> bool:
        raise AssertionError("a second copy of what has failed is a retry, and nobody asked for one")

    with pytest.raises(ServerCrashed):
        await race(lambda: failing(ServerCrashed("gone; call again"), 0), lambda: answering(b"2", 0), 50_000_000, never)


async def test_without_permission_the_first_runs_on_alone() -> None:
    won = await race(lambda: answering(b"1", 0.01), lambda: answering(b"2", 0), 1_000_000, lambda: False)
    assert (won.value, won.second) == (b"1", False)
