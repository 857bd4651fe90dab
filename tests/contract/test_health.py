"""Health: one failure is no event, several in a row are; probes find out what no call does, and never pile up."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable

import pytest
from tests.contract.kit import HttpServer, children_of, http_spec, manager_of, stdio_spec, until

from crossfade.impls import BreakerSpec, HealthSpec, Manager, ServerSpec, ServerState
from crossfade.impls.errors import ProtocolViolation, ServerError

CALM = BreakerSpec(enabled=False)
QUICK = HealthSpec(interval_ms=40, timeout_ms=250, unhealthy_after=2, healthy_after=2)


async def fails(manager: Manager, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(ProtocolViolation):
            await manager.call_tool("fix__garbage", {})


async def answers(manager: Manager, times: int = 1) -> None:
    for _ in range(times):
        assert (await manager.call_tool("fix__echo", {"text": "well"})).text == "well"


def state(manager: Manager) -> ServerState:
    return manager.get("fix").state


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_calls_turn_the_state_after_so_many_in_a_row(
    variant: str, era: str, shared_http: Callable[..., HttpServer]
) -> None:
    health = HealthSpec(unhealthy_after=3, healthy_after=2)
    async with manager_of(variant, http_spec(shared_http(era=era), breaker=CALM, health=health)) as manager:
        await fails(manager, 2)
        assert state(manager) is ServerState.HEALTHY, "two failures are not three"
        await answers(manager)
        await fails(manager, 2)
        assert state(manager) is ServerState.HEALTHY, "an answer in between ends the row"
        await fails(manager)
        assert state(manager) is ServerState.UNHEALTHY
        await answers(manager)
        assert state(manager) is ServerState.UNHEALTHY, "one answer is not two"
        await answers(manager)
        assert state(manager) is ServerState.HEALTHY


async def test_a_server_that_asks_for_one_turns_at_once(variant: str, shared_http: Callable[..., HttpServer]) -> None:
    health = HealthSpec(unhealthy_after=1, healthy_after=1)
    async with manager_of(variant, http_spec(shared_http(era="modern"), breaker=CALM, health=health)) as manager:
        await fails(manager)
        assert state(manager) is ServerState.UNHEALTHY
        assert "JSON-RPC" in (manager.get("fix").last_error or ""), "whoever sees the state wants to know why"
        await answers(manager)
        assert state(manager) is ServerState.HEALTHY


async def test_whoever_asks_on_purpose_gets_the_state_of_now(
    variant: str, shared_http: Callable[..., HttpServer]
) -> None:
    async with manager_of(variant, http_spec(shared_http(era="modern"), breaker=CALM)) as manager:
        await fails(manager, 3)
        assert state(manager) is ServerState.UNHEALTHY
        assert await manager.health() == {"fix": ServerState.HEALTHY}, "it was asked and answered"
        await fails(manager)
        assert state(manager) is ServerState.HEALTHY, "what was before does not count any more"


async def test_probes_find_a_server_gone_and_back_without_a_call(
    variant: str, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era="modern")
    async with manager_of(variant, http_spec(server, health=QUICK, breaker=CALM)) as manager:
        events = manager.events()
        server.kill()
        await until(lambda: state(manager) is ServerState.UNHEALTHY, what="the probe that finds it gone")
        assert manager.get("fix").last_error
        fresh_http(era="modern", port=server.port)
        await until(lambda: state(manager) is ServerState.HEALTHY, what="the probe that finds it back")
        async with asyncio.timeout(5):
            changes: list[tuple[str | None, str | None]] = []
            while len(changes) < 2:
                event = await anext(events)
                changes += [(event.old, event.new)] if event.kind == "state" else []
        assert changes == [("healthy", "unhealthy"), ("unhealthy", "healthy")]


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_each_era_is_probed_in_its_own_words(
    variant: str, era: str, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era=era)
    method = "server/discover" if era == "modern" else "ping"
    async with manager_of(variant, http_spec(server, health=QUICK)):
        first = len(server.log(method))
        await until(lambda: len(server.log(method)) >= first + 3, what="a third probe")
        assert server.log("tools/call") == []


async def test_a_child_that_hangs_is_found_by_probes_and_found_again(variant: str) -> None:
    async with manager_of(variant, stdio_spec("fix", health=QUICK, breaker=CALM)) as manager:
        pid = manager.get("fix").instances[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            await until(lambda: state(manager) is ServerState.UNHEALTHY, what="the probe that finds it hanging")
        finally:
            os.kill(pid, signal.SIGCONT)
        await until(lambda: state(manager) is ServerState.HEALTHY, what="the probe that finds it well")


async def test_probes_of_a_server_that_hangs_do_not_pile_up(
    variant: str, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era="modern")
    health = HealthSpec(interval_ms=10, timeout_ms=300, unhealthy_after=1)
    async with manager_of(variant, http_spec(server, health=health)) as manager:
        before = len(server.log("server/discover"))
        server.process.send_signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            await until(lambda: state(manager) is ServerState.UNHEALTHY, what="the end of the first probe")
            await asyncio.sleep(0.3)
            rounds = (time.monotonic() - began) / 0.3 + 1
            assert manager.get("fix").instances[0].connections <= 2, "one probe at a time needs one connection"
        finally:
            server.process.send_signal(signal.SIGCONT)
        probes = len(server.log("server/discover")) - before
        assert probes <= rounds + 30, f"{probes} probes in {rounds:.1f} rounds"


async def test_probes_end_with_the_server_and_with_the_manager(
    variant: str, fresh_http: Callable[..., HttpServer]
) -> None:
    one, two = fresh_http(era="modern"), fresh_http(era="modern")
    specs = (http_spec(one, "one", health=QUICK), http_spec(two, "two", health=QUICK))
    async with manager_of(variant, *specs) as manager:
        await until(lambda: len(one.log("server/discover")) >= 3, what="probes")
        await manager.unregister("one")
        after = len(one.log("server/discover"))
        first = len(two.log("server/discover"))
        await until(lambda: len(two.log("server/discover")) >= first + 4, what="four more probes of the other")
        assert len(one.log("server/discover")) == after
    end = len(two.log("server/discover"))
    await asyncio.sleep(4 * QUICK.interval_ms / 1000)
    assert len(two.log("server/discover")) == end


async def test_a_lazy_server_is_not_started_by_probes(variant: str) -> None:
    specs = (stdio_spec("fix", lazy=True, health=QUICK), stdio_spec("other", health=QUICK))
    async with manager_of(variant, *specs) as manager:
        first = manager.metrics().servers["other"]["requests"]
        await until(lambda: manager.metrics().servers["other"]["requests"] >= first + 3, what="three rounds of probes")
        assert state(manager) is ServerState.INITIALIZING
        assert len(children_of()) == 1 or manager.get("fix").instances[0].pid is None


@pytest.fixture
def two(fresh_http: Callable[..., HttpServer]) -> tuple[HttpServer, HttpServer, ServerSpec]:
    ill, well = fresh_http(era="modern"), fresh_http(era="modern")
    spec = http_spec(
        ill, "fix", urls=(ill.url, well.url), balancer="round_robin", health=QUICK, breaker=CALM, timeout_ms=2000
    )
    return ill, well, spec


async def test_an_instance_that_probes_found_ill_is_left_out(
    variant: str, two: tuple[HttpServer, HttpServer, ServerSpec]
) -> None:
    ill, _, spec = two
    async with manager_of(variant, spec) as manager:
        ill.process.send_signal(signal.SIGSTOP)
        try:
            await until(lambda: state(manager) is ServerState.DEGRADED, what="the probe that finds one hanging")
            async with asyncio.timeout(1.5):
                await answers(manager, 10)
        finally:
            ill.process.send_signal(signal.SIGCONT)
        await until(lambda: state(manager) is ServerState.HEALTHY, what="the probe that finds it well")
        before = len(ill.log("tools/call"))
        await answers(manager, 4)
        assert len(ill.log("tools/call")) > before, "it gets its share again"


async def test_if_all_are_ill_they_are_called_nevertheless(
    variant: str, two: tuple[HttpServer, HttpServer, ServerSpec], fresh_http: Callable[..., HttpServer]
) -> None:
    first, second, spec = two
    async with manager_of(variant, spec) as manager:
        first.kill()
        second.kill()
        await until(lambda: state(manager) is ServerState.UNHEALTHY, what="the probes that find both gone")
        with pytest.raises(ServerError):
            await manager.call_tool("fix__echo", {})
        fresh_http(era="modern", port=second.port)
        await answers(manager)
