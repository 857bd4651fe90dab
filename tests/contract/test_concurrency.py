"""Many calls at once, and calls that are given up: nothing is cross-wired, no slot is lost, the server is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from tests.contract.kit import HttpServer, http_spec, manager_of, stdio_spec

from crossfade.impls import BreakerSpec, Manager, PoolSpec, ServerSpec
from crossfade.impls.errors import CrossfadeError, PoolTimeout, ServerCrashed, ServerTimeout

TRANSPORTS = ["stdio", "http"]


@pytest.fixture
def spec_of(shared_http: Callable[..., HttpServer]) -> Callable[..., ServerSpec]:
    def of(transport: str, **more: Any) -> ServerSpec:
        if transport == "stdio":
            return stdio_spec("fix", **more)
        return http_spec(shared_http(era="modern"), "fix", **more)

    return of


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_answers_out_of_order_reach_the_right_caller(
    variant: str, transport: str, spec_of: Callable[..., ServerSpec]
) -> None:
    async with manager_of(variant, spec_of(transport)) as manager:

        async def one(number: int) -> None:
            if number % 3 == 0:
                await manager.call_tool("fix__sleep", {"ms": number % 17})
            result = await manager.call_tool("fix__echo", {"text": f"call {number}", "n": number})
            assert (result.text, result.structured["n"]) == (f"call {number}", number)

        await asyncio.gather(*(one(number) for number in range(300)))
        assert manager.metrics().in_flight == 0


async def seen(manager: Manager, method: str) -> list[dict[str, Any]]:
    """What the child received of a method; waits for the first."""
    found: list[dict[str, Any]] = json.loads(
        (await manager.call_tool("fix__seen", {"method": method, "wait_ms": 5000})).text
    )
    return found


async def cancelled_after_arrival(manager: Manager, call: asyncio.Task[Any]) -> None:
    """Cancel a call that the server is known to have received."""
    assert await seen(manager, "sleeping")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_cancelling_reaches_a_child_with_the_id_it_knows(variant: str, era: str) -> None:
    async with manager_of(variant, stdio_spec("fix", era=era)) as manager:
        await cancelled_after_arrival(manager, asyncio.create_task(manager.call_tool("fix__never", {})))
        (note,) = await seen(manager, "notifications/cancelled")
        (stopped,) = await seen(manager, "stopped")
        assert note["params"]["requestId"] == stopped["id"]
        assert manager.metrics().in_flight <= 1


async def test_a_timeout_reaches_a_child_as_a_cancellation_too(variant: str) -> None:
    async with manager_of(variant, stdio_spec("fix")) as manager:
        with pytest.raises(ServerTimeout):
            await manager.call_tool("fix__never", {}, timeout_s=0.1)
        (stopped,) = await seen(manager, "stopped")
        assert stopped["id"] is not None


async def test_cancelling_closes_the_stream_of_a_modern_http_call(
    variant: str, fresh_http: Callable[..., HttpServer]
) -> None:
    async with manager_of(variant, http_spec(fresh_http(era="modern"))) as manager:
        await cancelled_after_arrival(manager, asyncio.create_task(manager.call_tool("fix__never", {})))
        assert await seen(manager, "disconnected")
        assert await seen(manager, "stopped")


async def test_cancelling_a_legacy_http_call_is_notified_in_its_session(
    variant: str, fresh_http: Callable[..., HttpServer]
) -> None:
    async with manager_of(variant, http_spec(fresh_http(era="legacy"))) as manager:
        await cancelled_after_arrival(manager, asyncio.create_task(manager.call_tool("fix__never", {})))
        (note,) = await seen(manager, "notifications/cancelled")
        (stopped,) = await seen(manager, "stopped")
        assert note["params"]["requestId"] == stopped["id"]
        assert note["session"]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_cancelled_calls_and_waiters_give_every_slot_back(
    variant: str, transport: str, spec_of: Callable[..., ServerSpec]
) -> None:
    """Three slots, thirty callers given up at thirty different moments; then three must fit at once again."""
    pool = PoolSpec(max_connections=3, stdio_streams=3, acquire_timeout_ms=4000)
    breaker = BreakerSpec(enabled=False)
    async with manager_of(variant, spec_of(transport, pool=pool, breaker=breaker)) as manager:
        chance = random.Random(11)
        calls = [asyncio.create_task(manager.call_tool("fix__sleep", {"ms": 30})) for _ in range(30)]
        for call in chance.sample(calls, 25):
            await asyncio.sleep(chance.random() * 0.004)  # spread over connect, queue, write and wait
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        again = [manager.call_tool("fix__sleep", {"ms": 20}) for _ in range(3)]
        async with asyncio.timeout(5):
            assert [result.text for result in await asyncio.gather(*again)] == ["slept"] * 3
        assert manager.metrics().in_flight == 0
        assert manager.get("fix").instances[0].in_flight == 0


async def test_a_waiter_that_gives_up_does_not_hold_up_the_next(variant: str) -> None:
    pool = PoolSpec(stdio_streams=1, acquire_timeout_ms=5000)
    async with manager_of(variant, stdio_spec("fix", pool=pool)) as manager:
        holder = asyncio.create_task(manager.call_tool("fix__sleep", {"ms": 200}))
        await asyncio.sleep(0)
        quitter = asyncio.create_task(manager.call_tool("fix__echo", {"text": "never sent"}))
        patient = asyncio.create_task(manager.call_tool("fix__echo", {"text": "served"}))
        await asyncio.sleep(0)
        quitter.cancel()
        assert (await holder).text == "slept"
        assert (await patient).text == "served"
        assert quitter.cancelled()


async def test_a_queue_that_is_full_refuses_at_once(variant: str) -> None:
    pool = PoolSpec(stdio_streams=1, max_waiters=1, acquire_timeout_ms=10_000)
    async with manager_of(variant, stdio_spec("fix", pool=pool)) as manager:
        holder = asyncio.create_task(manager.call_tool("fix__never", {}))
        await asyncio.sleep(0)
        waiter = asyncio.create_task(manager.call_tool("fix__echo", {}))
        await asyncio.sleep(0)
        async with asyncio.timeout(2):
            with pytest.raises(PoolTimeout):
                await manager.call_tool("fix__echo", {})
        holder.cancel()
        await waiter


async def test_leaving_with_calls_in_flight_ends_them_and_returns(variant: str) -> None:
    async with asyncio.timeout(10):
        async with manager_of(variant, stdio_spec("fix")) as manager:
            call = asyncio.create_task(manager.call_tool("fix__never", {}))
            assert await seen(manager, "sleeping")
        with pytest.raises((CrossfadeError, asyncio.CancelledError)):
            await call


async def test_a_burst_through_a_crash_gives_every_caller_an_end(variant: str) -> None:
    spec = stdio_spec("fix", breaker=BreakerSpec(enabled=False))
    async with manager_of(variant, spec) as manager:
        calls = [asyncio.create_task(manager.call_tool("fix__sleep", {"ms": 8000})) for _ in range(50)]
        await manager.call_tool("fix__echo", {})
        with contextlib.suppress(ServerCrashed):
            await manager.call_tool("fix__crash", {})
        async with asyncio.timeout(10):
            results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, ServerCrashed) for result in results)
        assert manager.metrics().in_flight == 0
