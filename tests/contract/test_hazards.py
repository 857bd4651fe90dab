"""What servers do wrong: each becomes one typed error that names the culprit and the next action, and no hang."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable

import pytest
from tests.contract.kit import HttpServer, http_spec, manager_of, stdio_spec, until

from crossfade.impls import BreakerSpec, Manager, PoolSpec, ServerState
from crossfade.impls.errors import (
    CircuitOpen,
    CrossfadeError,
    PoolTimeout,
    ProtocolViolation,
    ServerCrashed,
    ServerError,
    ServerStartError,
    ServerTimeout,
)

MIB = 1 << 20


def explains_itself(error: CrossfadeError, server: str = "fix") -> None:
    """The rule of ``errors.py``: the message names the culprit and ends with the next action."""
    assert error.server == server
    assert server in error.message
    assert "Traceback" not in error.message
    assert re.search(r"; \S+ .*\S", error.message), f"no next action after a semicolon: {error.message}"


async def recovers(manager: Manager, name: str = "fix__echo") -> None:
    """The server answers again within the start-up time of a child."""
    end = time.monotonic() + 8
    while True:
        try:
            assert (await manager.call_tool(name, {"text": "back"})).text == "back"
        except ServerError:
            assert time.monotonic() < end, "the server did not come back"
            await asyncio.sleep(0.02)
        else:
            return


async def test_a_child_that_dies_in_a_call_is_a_crash_and_comes_back(variant: str) -> None:
    async with manager_of(variant, stdio_spec("fix", breaker=BreakerSpec(enabled=False))) as manager:
        first = manager.get("fix").instances[0].pid
        waiting = asyncio.create_task(manager.call_tool("fix__never", {}))
        await manager.call_tool("fix__echo", {"text": "the other was sent before me"})
        with pytest.raises(ServerCrashed) as caught:
            await manager.call_tool("fix__crash", {})
        explains_itself(caught.value)
        with pytest.raises(ServerCrashed):
            await waiting
        await recovers(manager)
        assert manager.get("fix").instances[0].pid != first
        assert manager.get("fix").state is ServerState.HEALTHY


async def test_a_child_killed_while_idle_comes_back_on_use(variant: str) -> None:
    async with manager_of(variant, stdio_spec("fix")) as manager:
        with pytest.raises(ServerError):
            await manager.call_tool("fix__half", {})
        await recovers(manager)


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("tool", ["garbage", "wrong"])
async def test_an_answer_that_is_no_json_rpc_is_a_violation_over_http(
    variant: str, era: str, tool: str, shared_http: Callable[..., HttpServer]
) -> None:
    async with manager_of(variant, http_spec(shared_http(era=era))) as manager:
        with pytest.raises(ProtocolViolation) as caught:
            await manager.call_tool(f"fix__{tool}", {})
        explains_itself(caught.value)
        assert (await manager.call_tool("fix__echo", {"text": "still there"})).text == "still there"


@pytest.mark.parametrize("tool", ["garbage", "wrong"])
async def test_a_line_that_is_no_json_rpc_ends_in_an_error_over_stdio(variant: str, tool: str) -> None:
    """It cannot be told which call the line was meant for: a violation, or the call's own timeout."""
    async with manager_of(variant, stdio_spec("fix", timeout_ms=600)) as manager:
        with pytest.raises((ProtocolViolation, ServerTimeout)) as caught:
            await manager.call_tool(f"fix__{tool}", {})
        explains_itself(caught.value)
        await recovers(manager)


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_a_line_of_50_mb_is_refused_at_the_limit(
    variant: str, transport: str, shared_http: Callable[..., HttpServer]
) -> None:
    spec = (
        stdio_spec("fix", max_message_bytes=MIB)
        if transport == "stdio"
        else http_spec(shared_http(era="legacy"), "fix", max_message_bytes=MIB)
    )
    async with manager_of(variant, spec) as manager:
        assert len((await manager.call_tool("fix__huge", {"bytes": MIB // 2})).text) == MIB // 2
        with pytest.raises(ProtocolViolation) as caught:
            await manager.call_tool("fix__huge", {"bytes": 50 * MIB})
        explains_itself(caught.value)
        await recovers(manager)


@pytest.mark.parametrize("transport", ["stdio", "legacy", "modern"])
async def test_no_answer_is_a_timeout_and_the_server_lives_on(
    variant: str, transport: str, shared_http: Callable[..., HttpServer]
) -> None:
    spec = stdio_spec("fix") if transport == "stdio" else http_spec(shared_http(era=transport))
    async with manager_of(variant, spec) as manager:
        began = time.monotonic()
        with pytest.raises(ServerTimeout) as caught:
            await manager.call_tool("fix__never", {}, timeout_s=0.2)
        assert 0.15 < time.monotonic() - began < 2
        explains_itself(caught.value)
        assert (await manager.call_tool("fix__echo", {"text": "alive"})).text == "alive"
        assert manager.metrics().in_flight == 0


async def test_the_specs_own_timeout_holds_without_one_from_the_caller(variant: str) -> None:
    async with manager_of(variant, stdio_spec("fix", timeout_ms=150)) as manager:
        with pytest.raises(ServerTimeout):
            await manager.call_tool("fix__never", {})


async def test_a_flood_on_stderr_does_not_stop_a_child(variant: str) -> None:
    async with manager_of(variant, stdio_spec("fix", start="stderr")) as manager:
        assert (await manager.call_tool("fix__flood", {"bytes": 4 * MIB})).text == "flooded"


async def test_an_answer_cut_in_the_middle_is_a_crash_over_http(
    variant: str, shared_http: Callable[..., HttpServer]
) -> None:
    async with manager_of(variant, http_spec(shared_http(era="legacy"))) as manager:
        with pytest.raises((ServerCrashed, ProtocolViolation)) as caught:
            await manager.call_tool("fix__half", {})
        explains_itself(caught.value)
        assert (await manager.call_tool("fix__echo", {"text": "alive"})).text == "alive"


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_an_http_server_that_dies_and_returns_is_used_again(
    variant: str, era: str, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era=era)
    async with manager_of(variant, http_spec(server, breaker=BreakerSpec(enabled=False))) as manager:
        await manager.call_tool("fix__echo", {"text": "before"})
        with pytest.raises(ServerCrashed):
            await manager.call_tool("fix__crash", {})
        server.process.wait()
        with pytest.raises((ServerCrashed, ServerStartError)) as caught:
            await manager.call_tool("fix__echo", {})
        explains_itself(caught.value)
        fresh_http(era=era, port=server.port)
        await recovers(manager)


async def test_a_forgotten_session_is_opened_anew_once(variant: str, fresh_http: Callable[..., HttpServer]) -> None:
    server = fresh_http(era="legacy")
    async with manager_of(variant, http_spec(server)) as manager:
        await manager.call_tool("fix__echo", {"text": "one"})
        await manager.call_tool("fix__forget", {})
        assert (await manager.call_tool("fix__echo", {"text": "two"})).text == "two"
        assert len(server.log("initialize")) == 2


async def test_a_request_of_the_server_is_answered_not_left_hanging(variant: str) -> None:
    async with manager_of(variant, stdio_spec("fix")) as manager:
        answer = (await manager.call_tool("fix__ask", {"method": "sampling/createMessage"})).data
        assert "-32601" in str(answer), answer
        pong = (await manager.call_tool("fix__ask", {"method": "ping"})).data
        assert '"result"' in str(pong), "a server may ping its client"


async def fails_until_open(manager: Manager) -> None:
    """Violations until the breaker opens; how many depends on whether the era's probe counts as a success."""
    opened = False
    for _ in range(8):
        try:
            await manager.call_tool("fix__garbage", {})
        except ProtocolViolation:
            continue
        except CircuitOpen:
            opened = True
            break
    assert opened, "eight failures in a row, and still closed"


async def test_the_breaker_opens_after_failures_and_nothing_is_sent(
    variant: str, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era="modern")
    breaker = BreakerSpec(min_calls=4, window=8, open_ms=60_000)
    async with manager_of(variant, http_spec(server, breaker=breaker)) as manager:
        await fails_until_open(manager)
        sent = len(server.log("tools/call"))
        with pytest.raises(CircuitOpen) as caught:
            await manager.call_tool("fix__echo", {})
        explains_itself(caught.value)
        assert len(server.log("tools/call")) == sent
        assert manager.get("fix").instances[0].circuit == "open"
        assert manager.metrics().rejected >= 1


async def test_the_breaker_closes_again_after_probes(variant: str, shared_http: Callable[..., HttpServer]) -> None:
    breaker = BreakerSpec(min_calls=2, window=4, open_ms=100, probes=1)
    async with manager_of(variant, http_spec(shared_http(era="modern"), breaker=breaker)) as manager:
        await fails_until_open(manager)
        await asyncio.sleep(0.15)  # the breaker's clock is the wall's here; its own tests use a virtual one
        await manager.call_tool("fix__echo", {})
        assert manager.get("fix").instances[0].circuit == "closed"


async def test_remote_errors_do_not_open_the_breaker(variant: str) -> None:
    breaker = BreakerSpec(min_calls=2, window=4)
    async with manager_of(variant, stdio_spec("fix", breaker=breaker)) as manager:
        for _ in range(6):
            with pytest.raises(CrossfadeError, match="refused"):
                await manager.call_tool("fix__refuse", {})
        assert (await manager.call_tool("fix__echo", {"text": "fine"})).text == "fine"


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_a_full_pool_refuses_in_time_and_serves_again(
    variant: str, transport: str, shared_http: Callable[..., HttpServer]
) -> None:
    pool = PoolSpec(max_connections=2, stdio_streams=2, acquire_timeout_ms=150)
    spec = stdio_spec("fix", pool=pool) if transport == "stdio" else http_spec(shared_http(era="modern"), pool=pool)
    async with manager_of(variant, spec) as manager:
        busy = [asyncio.create_task(manager.call_tool("fix__sleep", {"ms": 500})) for _ in range(2)]
        await until(lambda: manager.metrics().in_flight == 2, what="both calls")
        with pytest.raises(PoolTimeout) as caught:
            await manager.call_tool("fix__echo", {})
        explains_itself(caught.value)
        assert [result.text for result in await asyncio.gather(*busy)] == ["slept", "slept"]
        assert (await manager.call_tool("fix__echo", {"text": "free"})).text == "free"
