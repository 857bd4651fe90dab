"""The bulkhead: so many requests with one server and no more, a queue with an end, and no place that is ever lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.contract.clients import Client, Served, serving
from tests.contract.kit import HttpServer, http_spec, manager_of, stdio_spec, until

from crossfade.impls import BreakerSpec, BulkheadSpec, Manager, ServerSpec
from crossfade.impls.errors import BulkheadFull, CrossfadeError

KINDS = [f"{transport}-{era}" for transport in ("stdio", "http") for era in ("modern", "legacy")]


@pytest.fixture(params=KINDS)
def upstream(request: pytest.FixtureRequest, shared_http: Callable[..., HttpServer]) -> Callable[..., ServerSpec]:
    transport, _, era = request.param.partition("-")

    def of(places: int, queue: int = 0, timeout_ms: int = 5000) -> ServerSpec:
        bulkhead = BulkheadSpec(max_in_flight=places, max_queue=queue, queue_timeout_ms=timeout_ms)
        more: dict[str, Any] = {"bulkhead": bulkhead, "breaker": BreakerSpec(enabled=False)}
        if transport == "stdio":
            return stdio_spec("fix", era=era, **more)
        return http_spec(shared_http(era=era), "fix", **more)

    return of


Upstream = Callable[..., ServerSpec]


def sleeping(manager: Manager, ms: int, count: int = 1) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(manager.call_tool("fix__sleep", {"ms": ms})) for _ in range(count)]


async def busy(manager: Manager, count: int) -> None:
    await until(lambda: manager.metrics().in_flight == count, what=f"{count} calls in flight")


async def test_one_more_than_the_places_is_refused_at_once(variant: str, upstream: Upstream) -> None:
    async with manager_of(variant, upstream(2)) as manager:
        calls = sleeping(manager, 400, 2)
        await busy(manager, 2)
        with pytest.raises(BulkheadFull) as caught:
            async with asyncio.timeout(0.3):
                await manager.call_tool("fix__echo", {})
        assert caught.value.server == "fix"
        assert "; " in caught.value.message
        assert [(await call).text for call in calls] == ["slept"] * 2
        assert (await manager.call_tool("fix__echo", {"text": "free"})).text == "free"
        assert manager.metrics().rejected == 1
        assert manager.metrics().errors_by_code["bulkhead_full"] == 1


async def test_whoever_queues_is_served_and_the_queue_has_an_end(variant: str, upstream: Upstream) -> None:
    async with manager_of(variant, upstream(1, 2)) as manager:
        (holder,) = sleeping(manager, 300)
        await busy(manager, 1)
        waiting = [asyncio.create_task(manager.call_tool("fix__echo", {"text": str(n)})) for n in range(2)]
        await until(lambda: manager.metrics().servers["fix"]["queued"] == 2, what="two in the queue")
        with pytest.raises(BulkheadFull):
            await manager.call_tool("fix__echo", {})
        assert not holder.done()
        assert [(await call).text for call in waiting] == ["0", "1"]
        assert manager.metrics().servers["fix"]["queued"] == 2


async def test_a_queue_that_takes_too_long_is_left(variant: str, upstream: Upstream) -> None:
    async with manager_of(variant, upstream(1, 5, timeout_ms=100)) as manager:
        (holder,) = sleeping(manager, 1500)
        await busy(manager, 1)
        async with asyncio.timeout(1.2):
            with pytest.raises(BulkheadFull):
                await manager.call_tool("fix__echo", {})
        assert not holder.done()
        holder.cancel()


async def test_the_deadline_of_the_request_ends_the_wait_too(variant: str, upstream: Upstream) -> None:
    async with manager_of(variant, upstream(1, 5, timeout_ms=60_000)) as manager:
        (holder,) = sleeping(manager, 1500)
        await busy(manager, 1)
        async with asyncio.timeout(1.2):
            with pytest.raises(CrossfadeError):
                await manager.call_tool("fix__echo", {}, timeout_s=0.1)
        assert not holder.done()
        holder.cancel()


async def test_reads_and_lists_need_a_place_too(variant: str, upstream: Upstream) -> None:
    async with manager_of(variant, upstream(1)) as manager:
        (holder,) = sleeping(manager, 400)
        await busy(manager, 1)
        with pytest.raises(BulkheadFull):
            await manager.read_resource("fixture://greeting", server="fix")
        with pytest.raises(BulkheadFull):
            await manager.list_tools("fix")
        await holder
        assert await manager.list_tools("fix")


async def test_a_failure_frees_its_place(variant: str, upstream: Upstream) -> None:
    async with manager_of(variant, upstream(1)) as manager:
        for _ in range(3):
            with pytest.raises(CrossfadeError):
                await manager.call_tool("fix__refuse", {})
            with pytest.raises(CrossfadeError):
                await manager.call_tool("fix__never", {}, timeout_s=0.1)
        assert (await manager.call_tool("fix__echo", {"text": "free"})).text == "free"


async def test_callers_and_waiters_that_leave_lose_no_place(variant: str, upstream: Upstream) -> None:
    async with manager_of(variant, upstream(3, 40)) as manager:
        chance = random.Random(5)
        calls = sleeping(manager, 30, 40)
        for call in chance.sample(calls, 33):
            await asyncio.sleep(chance.random() * 0.004)  # spread over queue, grant, write and wait
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        async with asyncio.timeout(5):
            assert [(await call).text for call in sleeping(manager, 20, 3)] == ["slept"] * 3
        await busy(manager, 0)


async def test_an_unregistered_server_leaves_nobody_waiting(variant: str, upstream: Upstream) -> None:
    async with manager_of(variant, upstream(1, 5, timeout_ms=60_000)) as manager:
        (holder,) = sleeping(manager, 60_000)
        await busy(manager, 1)
        waiting = asyncio.create_task(manager.call_tool("fix__echo", {}))
        await until(lambda: manager.metrics().servers["fix"]["queued"] == 1, what="one in the queue")
        async with asyncio.timeout(6):
            await manager.unregister("fix", drain_s=0.05)
            for call in (holder, waiting):
                with pytest.raises(CrossfadeError):
                    await call


# -- at the gateway


async def clients(stack: AsyncExitStack, served: Served, era: str, count: int) -> list[Client]:
    return [await stack.enter_async_context(served.client(era)) for _ in range(count)]


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": f"fix__{name}", "arguments": arguments}


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_gateway_calls_are_bounded_and_queue(variant: str, era: str, upstream: Upstream) -> None:
    async with serving(variant, upstream(1, 1)) as served, AsyncExitStack() as stack:
        one, two, three = await clients(stack, served, era, 3)
        holder = asyncio.create_task(one.text("fix__sleep", ms=500))
        await busy(served.manager, 1)
        waiter = asyncio.create_task(two.text("fix__echo", text="waited"))
        await until(lambda: served.manager.metrics().servers["fix"]["queued"] == 1, what="one in the queue")
        error = await three.error("tools/call", call("echo"))
        assert (error["data"]["code"], error["data"]["server"]) == ("bulkhead_full", "fix")
        assert not holder.done()
        assert await holder == "slept"
        assert await waiter == "waited"
        for client in (one, two, three):
            assert await client.text("fix__echo", text="free") == "free"


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_gateway_clients_that_go_away_lose_no_place(variant: str, era: str, upstream: Upstream) -> None:
    async with serving(variant, upstream(1, 2)) as served, AsyncExitStack() as stack:
        one, two, three = await clients(stack, served, era, 3)
        await one.connection.send(one.encode("tools/call", call("never")))
        await busy(served.manager, 1)
        await two.connection.send(two.encode("tools/call", call("never")))
        await until(lambda: served.manager.metrics().servers["fix"]["queued"] == 1, what="one in the queue")
        third = asyncio.create_task(three.text("fix__echo", text="next"))
        await until(lambda: served.manager.metrics().servers["fix"]["queued"] == 2, what="two in the queue")
        two.connection.abort()
        one.connection.abort()
        async with asyncio.timeout(5):
            assert await third == "next"


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_failed_gateway_call_frees_its_place(variant: str, era: str, upstream: Upstream) -> None:
    async with serving(variant, upstream(1)) as served, served.client(era) as client:
        for tool in ("refuse", "fail", "odd"):
            await client.message("tools/call", call(tool))
            assert await client.text("fix__echo", text=tool) == tool


async def test_long_bodies_need_a_place_too(variant: str, shared_http: Callable[..., HttpServer]) -> None:
    spec = http_spec(shared_http(era="modern"), "fix", bulkhead=BulkheadSpec(max_in_flight=1, max_queue=1))
    async with serving(variant, spec) as served, AsyncExitStack() as stack:
        one, two = await clients(stack, served, "modern", 2)
        holder = asyncio.create_task(one.text("fix__sleep", ms=300))
        await busy(served.manager, 1)
        assert len(await two.text("fix__echo", text="x" * 150_000)) == 150_000
        assert await holder == "slept"
        assert served.manager.metrics().servers["fix"]["queued"] == 1
        for client in (one, two):
            assert len(await client.text("fix__echo", text="y" * 150_000)) == 150_000
