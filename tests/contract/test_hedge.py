"""Hedging: a slow first copy gets a second one elsewhere, the first answer wins, and the loser leaves nothing held."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.contract.clients import serving
from tests.contract.kit import HttpServer, http_spec, manager_of, until

from crossfade.impls import BreakerSpec, HedgeSpec, Manager, RetrySpec, ServerSpec
from crossfade.impls.errors import RemoteError, ServerTimeout

GREETING = "fixture://greeting"
SLOW_MS = 4000
HEDGE = HedgeSpec(enabled=True, delay_ms=30, per_mille=1000)


@pytest.fixture
def pair(fresh_http: Callable[..., HttpServer]) -> Callable[..., tuple[HttpServer, HttpServer, ServerSpec]]:
    """A slow server, another one, and a spec that asks them in turns."""

    def of(*, hedge: HedgeSpec = HEDGE, era: str = "modern", slow_ms: int = SLOW_MS, fail: int = 0) -> Any:
        slow, other = fresh_http(era=era, delay_ms=slow_ms), fresh_http(era=era, fail=fail)
        spec = http_spec(
            slow,
            "fix",
            urls=(slow.url, other.url),
            balancer="round_robin",
            hedge=hedge,
            breaker=BreakerSpec(enabled=False),
            retry=RetrySpec(attempts=1),
        )
        return slow, other, spec

    return of


Pair = Callable[..., tuple[HttpServer, HttpServer, ServerSpec]]


async def read(manager: Manager, uri: str = GREETING) -> str:
    return str((await manager.read_resource(uri, server="fix")).data)


async def nothing_is_held(manager: Manager) -> None:
    await until(
        lambda: manager.metrics().in_flight == 0 and all(i.in_flight == 0 for i in manager.get("fix").instances),
        what="the end of the losers",
    )


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_slow_read_is_answered_by_the_second_copy(variant: str, era: str, pair: Pair) -> None:
    slow, fast, spec = pair(era=era)
    async with manager_of(variant, spec) as manager:
        began = time.monotonic()
        for _ in range(4):
            assert GREETING in await read(manager)
        assert time.monotonic() - began < SLOW_MS / 1000
        counts = manager.metrics().servers["fix"]
        assert counts["hedges"] == counts["hedged_wins"] == len(slow.log("resources/read")) >= 2
        assert len(fast.log("resources/read")) == 4
        await nothing_is_held(manager)
        await until(lambda: len(slow.log("stopped")) == counts["hedges"], what="the cancellation of the losers")


async def test_prompts_are_reads_too(variant: str, pair: Pair) -> None:
    _, _, spec = pair()
    async with manager_of(variant, spec) as manager:
        async with asyncio.timeout(SLOW_MS / 1000):
            for _ in range(2):
                await manager.get_prompt("fix__greet", {"who": "you"})
        assert manager.metrics().servers["fix"]["hedged_wins"] >= 1


async def test_a_tool_is_not_hedged_unless_it_is_configured(variant: str, pair: Pair) -> None:
    slow, fast, spec = pair(slow_ms=300)
    async with manager_of(variant, spec) as manager:
        for _ in range(2):
            await manager.call_tool("fix__echo", {})
        assert len(slow.log("tools/call")) == len(fast.log("tools/call")) == 1
        assert manager.metrics().servers["fix"]["hedges"] == 0


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_configured_tool_is_hedged_at_the_gateway_too(variant: str, era: str, pair: Pair) -> None:
    hedge = HedgeSpec(enabled=True, delay_ms=30, per_mille=1000, tools=("e*o",))
    _, _, spec = pair(hedge=hedge, era=era)
    async with serving(variant, spec) as served, served.client(era) as client:
        async with asyncio.timeout(SLOW_MS / 1000):
            for number in range(4):
                assert await client.text("fix__echo", text=str(number)) == str(number)
        assert served.manager.metrics().servers["fix"]["hedged_wins"] >= 1
        await nothing_is_held(served.manager)


async def test_a_gateway_read_is_hedged(variant: str, pair: Pair) -> None:
    _, _, spec = pair()
    async with serving(variant, spec) as served, served.client("modern") as client:
        async with asyncio.timeout(SLOW_MS / 1000):
            for _ in range(2):
                await client.result("resources/read", {"uri": GREETING})
        assert served.manager.metrics().servers["fix"]["hedged_wins"] >= 1


async def test_a_budget_that_is_used_up_ends_hedging(variant: str, pair: Pair) -> None:
    hedge = HedgeSpec(enabled=True, delay_ms=30, per_mille=1)
    slow, _, spec = pair(hedge=hedge, slow_ms=250)
    async with manager_of(variant, spec) as manager:
        for _ in range(4):
            await read(manager)
        assert manager.metrics().servers["fix"]["hedges"] == 0, "one in a thousand is none of four"
        assert len(slow.log("resources/read")) == 2


async def test_one_instance_is_never_hedged(variant: str, fresh_http: Callable[..., HttpServer]) -> None:
    server = fresh_http(era="modern", delay_ms=150)
    async with manager_of(variant, http_spec(server, "fix", hedge=HEDGE)) as manager:
        await read(manager)
        assert len(server.log("resources/read")) == 1
        assert manager.metrics().servers["fix"]["hedges"] == 0


async def test_a_second_copy_that_fails_does_not_spoil_the_first(variant: str, pair: Pair) -> None:
    _, bad, spec = pair(slow_ms=300, fail=1000)
    async with manager_of(variant, spec) as manager:
        results = await asyncio.gather(*(read(manager) for _ in range(4)), return_exceptions=True)
        answered = [result for result in results if isinstance(result, str)]
        assert len(answered) >= 2, "those that began at the slow one are answered by it"
        assert bad.log("failed")
        await nothing_is_held(manager)


async def test_an_error_that_the_server_answers_with_is_an_answer(variant: str, pair: Pair) -> None:
    _, _, spec = pair()
    async with manager_of(variant, spec) as manager:
        async with asyncio.timeout(SLOW_MS / 1000):
            for _ in range(2):
                with pytest.raises(RemoteError, match="not found"):
                    await read(manager, "fixture://nowhere")
        await nothing_is_held(manager)


async def test_a_caller_that_leaves_ends_both_copies(variant: str, fresh_http: Callable[..., HttpServer]) -> None:
    servers = [fresh_http(era="modern", delay_ms=SLOW_MS) for _ in range(2)]
    spec = http_spec(servers[0], "fix", urls=tuple(server.url for server in servers), hedge=HEDGE)
    async with manager_of(variant, spec) as manager:
        caller = asyncio.create_task(read(manager))
        await until(lambda: all(server.log("resources/read") for server in servers), what="the second copy")
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await nothing_is_held(manager)
        await until(lambda: all(server.log("stopped") for server in servers), what="the cancellation of both")


async def test_the_deadline_ends_both_copies(variant: str, fresh_http: Callable[..., HttpServer]) -> None:
    servers = [fresh_http(era="modern", delay_ms=SLOW_MS) for _ in range(2)]
    spec = http_spec(servers[0], "fix", urls=tuple(server.url for server in servers), hedge=HEDGE)
    async with manager_of(variant, spec) as manager:
        began = time.monotonic()
        with pytest.raises(ServerTimeout):
            await manager.read_resource(GREETING, server="fix", timeout_s=0.2)
        assert time.monotonic() - began < 1.5
        await nothing_is_held(manager)
