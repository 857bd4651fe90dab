"""Health probes and metrics: what they say is what happened."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import pytest
from tests.contract.kit import HttpServer, http_spec, manager_of, stdio_spec, until

from crossfade.impls import BreakerSpec, ServerState
from crossfade.impls.errors import CrossfadeError, RemoteError


async def test_health_asks_every_server_in_its_own_era(variant: str, fresh_http: Callable[..., HttpServer]) -> None:
    modern, legacy = fresh_http(era="modern"), fresh_http(era="legacy")
    specs = [stdio_spec("a"), stdio_spec("b", era="modern"), http_spec(modern, "c"), http_spec(legacy, "d")]
    async with manager_of(variant, *specs) as manager:
        discovers = len(modern.log("server/discover"))
        assert await manager.health() == dict.fromkeys("abcd", ServerState.HEALTHY)
        assert len(modern.log("server/discover")) == discovers + 1
        assert modern.log("ping") == []
        assert len(legacy.log("ping")) == 1
        assert await manager.health("b") == {"b": ServerState.HEALTHY}


async def test_a_server_that_is_gone_is_unhealthy_and_healthy_again_when_back(
    variant: str, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era="modern")
    async with manager_of(variant, http_spec(server, breaker=BreakerSpec(enabled=False))) as manager:
        server.kill()
        assert await manager.health() == {"fix": ServerState.UNHEALTHY}
        assert manager.get("fix").state is ServerState.UNHEALTHY
        assert manager.get("fix").last_error
        fresh_http(era="modern", port=server.port)
        assert await manager.health() == {"fix": ServerState.HEALTHY}
        assert manager.get("fix").state is ServerState.HEALTHY


async def test_a_child_that_hangs_is_found_unhealthy_within_the_probes_timeout(variant: str) -> None:
    async with manager_of(variant, stdio_spec("fix"), stdio_spec("well")) as manager:
        pid = manager.get("fix").instances[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            found = await manager.health(timeout_s=0.3)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert found == {"fix": ServerState.UNHEALTHY, "well": ServerState.HEALTHY}


async def test_metrics_count_what_was_done(variant: str) -> None:
    async with manager_of(variant, stdio_spec("a"), stdio_spec("b")) as manager:
        before = manager.metrics()
        for number in range(10):
            await manager.call_tool("a__echo", {"n": number})
        for _ in range(3):
            with pytest.raises(RemoteError):
                await manager.call_tool("b__refuse", {})
        with pytest.raises(CrossfadeError):
            await manager.call_tool("b__never", {}, timeout_s=0.05)
        after = manager.metrics()
        assert after.requests - before.requests == 14
        assert after.errors - before.errors == 1, "a server's own error is an answer; the relay does not look into it"
        assert after.errors_by_code["server_timeout"] == 1
        assert after.in_flight == 0
        assert after.servers["a"]["requests"] - before.servers["a"]["requests"] == 10
        assert after.servers["b"]["errors"] - before.servers["b"]["errors"] == 1
        assert after.connections == 2
        assert 0 < after.latency_ns["p50"] <= after.latency_ns["p99"] <= after.latency_ns["max"]


async def test_a_server_that_is_gone_takes_its_metrics_along(variant: str) -> None:
    async with manager_of(variant, stdio_spec("a")) as manager:
        await manager.call_tool("a__echo", {})
        await manager.unregister("a")
        assert "a" not in manager.metrics().servers
        assert manager.metrics().requests >= 1, "a counter went backwards"


async def test_no_total_goes_backwards_while_a_server_drains(
    variant: str, fresh_http: Callable[..., HttpServer]
) -> None:
    async with manager_of(variant, http_spec(fresh_http(era="modern"), "a"), stdio_spec("b")) as manager:
        for _ in range(5):
            await manager.call_tool("a__echo", {})
        before = manager.metrics()
        last = asyncio.ensure_future(manager.call_tool("a__sleep", {"ms": 500}))
        await until(lambda: manager.metrics().in_flight == 1, what="the last call")
        going = asyncio.ensure_future(manager.unregister("a"))
        await until(lambda: "a" not in manager.metrics().servers, what="the way out")
        during = manager.metrics()
        assert not last.done(), "the call ended before anybody looked; there was nothing to see"
        await asyncio.gather(last, going)
        after = manager.metrics()
    assert before.requests <= during.requests < after.requests
    assert before.latency_ns["count"] <= during.latency_ns["count"] < after.latency_ns["count"]
