"""Load shedding: above what the manager can finish, the newcomer is refused at once, whichever server it asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.contract.clients import Served, serving
from tests.contract.kit import HttpServer, http_spec, manager_of, stdio_spec, until

from crossfade.impls import Manager, PoolSpec, RetrySpec, ShedSpec
from crossfade.impls.errors import LoadShed

TWO = ShedSpec(max_in_flight=2)


async def busy(manager: Manager, count: int) -> None:
    await until(lambda: manager.metrics().in_flight == count, what=f"{count} calls in flight")


async def test_what_is_above_the_bound_is_refused_whatever_its_server(variant: str) -> None:
    specs = (stdio_spec("one"), stdio_spec("two"), stdio_spec("three"))
    async with manager_of(variant, *specs, shed=TWO) as manager:
        calls = [asyncio.create_task(manager.call_tool(f"{name}__sleep", {"ms": 400})) for name in ("one", "two")]
        await busy(manager, 2)
        with pytest.raises(LoadShed) as caught:
            await manager.call_tool("three__echo", {})
        assert caught.value.server == "three"
        assert "; " in caught.value.message
        with pytest.raises(LoadShed):
            await manager.read_resource("fixture://greeting", server="one")
        assert [(await call).text for call in calls] == ["slept"] * 2
        assert (await manager.call_tool("three__echo", {"text": "calm"})).text == "calm"
        metrics = manager.metrics()
        assert (metrics.servers["three"]["shed"], metrics.servers["one"]["shed"]) == (1, 1)
        assert metrics.rejected == 2
        assert metrics.errors_by_code["load_shed"] == 2


async def test_a_burst_admits_as_many_as_the_bound(variant: str) -> None:
    """Asked for in one breath, before any of them was sent."""
    async with manager_of(variant, stdio_spec("fix", lazy=True), shed=TWO) as manager:
        calls = (manager.call_tool("fix__sleep", {"ms": 100}) for _ in range(10))
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(result, LoadShed) for result in results) == 8
        assert (await manager.call_tool("fix__echo", {"text": "calm"})).text == "calm"


async def test_callers_that_leave_are_not_counted_any_more(variant: str) -> None:
    async with manager_of(variant, stdio_spec("fix"), shed=TWO) as manager:
        calls = [asyncio.create_task(manager.call_tool("fix__never", {})) for _ in range(2)]
        await busy(manager, 2)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await busy(manager, 0)  # the runtime learns of a cancellation on a thread of its own
        for _ in range(3):
            assert (await manager.call_tool("fix__echo", {"text": "calm"})).text == "calm"


@pytest.mark.parametrize("transport", ["stdio", "http"])
@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_gateway_calls_count_and_are_refused(
    variant: str, transport: str, era: str, shared_http: Callable[..., HttpServer]
) -> None:
    spec = stdio_spec("fix", era=era) if transport == "stdio" else http_spec(shared_http(era=era), "fix")
    async with manager_of(variant, spec, shed=ShedSpec(max_in_flight=1)) as manager:
        served = Served(manager, await manager.serve(port=0))
        async with served.client(era) as one, served.client(era) as two:
            for _ in range(2):
                call = asyncio.create_task(one.text("fix__sleep", ms=250))
                await busy(manager, 1)
                error = await two.error("tools/call", {"name": "fix__echo", "arguments": {}})
                assert (error["data"]["code"], error["data"]["recovery"]) == ("load_shed", "retry")
                assert await call == "slept"
                assert await two.text("fix__echo", text="calm") == "calm"
            await one.connection.send(one.encode("tools/call", {"name": "fix__never", "arguments": {}}))
            await busy(manager, 1)
            one.connection.abort()
            await busy(manager, 0)
            assert await two.text("fix__echo", text="calm") == "calm"


async def test_waits_that_never_end_shed_newcomers_and_calm_ends_it(variant: str) -> None:
    """One place, many callers: every wait is above the target for far longer than the interval."""
    pool = PoolSpec(stdio_streams=1, acquire_timeout_ms=20_000)
    shed = ShedSpec(target_ms=5, interval_ms=30)
    spec = stdio_spec("fix", pool=pool, retry=RetrySpec(attempts=1))
    async with manager_of(variant, spec, shed=shed) as manager:
        stop = False
        refused = 0

        async def caller() -> None:
            nonlocal refused
            while not stop:
                try:
                    await manager.call_tool("fix__sleep", {"ms": 10})
                except LoadShed:
                    refused += 1
                    await asyncio.sleep(0.005)

        callers = [asyncio.create_task(caller()) for _ in range(8)]
        await until(lambda: refused > 0, what="a refusal")
        stop = True
        await asyncio.gather(*callers)
        await asyncio.sleep(2 * shed.interval_ms / 1000)  # what is older than an interval tells nothing any more
        for _ in range(20):
            assert (await manager.call_tool("fix__echo", {"text": "calm"})).text == "calm"


async def test_nothing_is_shed_unless_it_is_configured(variant: str, shared_http: Callable[..., HttpServer]) -> None:
    async with serving(variant, http_spec(shared_http(era="modern"), "fix")) as served:

        async def one() -> Any:
            return await served.manager.call_tool("fix__sleep", {"ms": 20})

        await asyncio.gather(*(one() for _ in range(40)))
        assert served.manager.metrics().servers["fix"]["shed"] == 0
