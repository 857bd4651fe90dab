"""Second attempts: only where they are safe, within attempts, budget and deadline, and elsewhere if possible."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.contract.clients import serving
from tests.contract.kit import HttpServer, http_spec, manager_of, stdio_spec, until

from crossfade.impls import BreakerSpec, Manager, PoolSpec, RetrySpec, ServerSpec
from crossfade.impls.errors import PoolTimeout, ServerCrashed, ServerError, ServerTimeout

CALM = BreakerSpec(enabled=False)
GREETING = "fixture://greeting"
QUICK: dict[str, Any] = {"base_ms": 1, "cap_ms": 5}


def spec_of(server: HttpServer, *, retry: RetrySpec | None = None, **more: Any) -> ServerSpec:
    return http_spec(server, "fix", retry=retry or RetrySpec(**QUICK), breaker=CALM, **more)


def retries(manager: Manager) -> int:
    return manager.metrics().servers["fix"]["retries"]


def sent(server: HttpServer, method: str = "tools/call") -> int:
    return len(server.log(method))


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_read_that_met_a_crash_is_made_again(
    variant: str, era: str, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era=era, fail=1)
    async with manager_of(variant, spec_of(server)) as manager:
        assert GREETING in str((await manager.read_resource(GREETING, server="fix")).data)
        assert sent(server, "resources/read") == 2
        assert retries(manager) == 1


@pytest.mark.parametrize("ask", ["list", "prompt", "complete"])
async def test_what_has_no_effects_is_made_again(variant: str, ask: str, fresh_http: Callable[..., HttpServer]) -> None:
    asks: dict[str, Callable[[Manager], Any]] = {
        "list": lambda manager: manager.list_tools("fix"),
        "prompt": lambda manager: manager.get_prompt("fix__greet", {"who": "you"}),
        "complete": lambda manager: manager.complete(
            {"type": "ref/prompt", "name": "fix__greet"}, {"name": "who", "value": "y"}
        ),
    }
    async with manager_of(variant, spec_of(fresh_http(era="modern", fail=1))) as manager:
        assert await asks[ask](manager)
        assert retries(manager) == 1


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_tool_that_may_have_run_is_never_called_again(
    variant: str, era: str, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era=era, fail=1)
    async with manager_of(variant, spec_of(server)) as manager:
        with pytest.raises(ServerCrashed):
            await manager.call_tool("fix__echo", {})
        assert sent(server) == 1
        assert retries(manager) == 0


async def test_a_tool_that_the_configuration_calls_safe_is_called_again(
    variant: str, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era="modern", fail=1)
    async with manager_of(variant, spec_of(server, retry=RetrySpec(tools=("ec*",), **QUICK))) as manager:
        assert (await manager.call_tool("fix__echo", {"text": "second"})).text == "second"
        assert sent(server) == 2


@pytest.mark.parametrize("tool", ["look", "again"])
async def test_a_tool_that_says_it_is_safe_is_called_again(
    variant: str, tool: str, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era="modern")
    async with manager_of(variant, spec_of(server, retry=RetrySpec(attempts=3, **QUICK))) as manager:
        await manager.list_tools("fix")
        server.kill()
        with pytest.raises(ServerError):
            await manager.call_tool("fix__echo", {})
        assert retries(manager) == 0, "echo says nothing of the kind"
        with pytest.raises(ServerError):
            await manager.call_tool(f"fix__{tool}", {})
        assert retries(manager) == 2


async def test_hints_can_be_left_unheard(variant: str, fresh_http: Callable[..., HttpServer]) -> None:
    server = fresh_http(era="modern")
    async with manager_of(variant, spec_of(server, retry=RetrySpec(hints=False, **QUICK))) as manager:
        await manager.list_tools("fix")
        server.kill()
        with pytest.raises(ServerError):
            await manager.call_tool("fix__look", {})
        assert retries(manager) == 0


@pytest.mark.parametrize(("fail", "well"), [(2, True), (3, False)])
async def test_no_more_attempts_than_configured(
    variant: str, fail: int, well: bool, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era="modern", fail=fail)
    async with manager_of(variant, spec_of(server, retry=RetrySpec(attempts=3, **QUICK))) as manager:
        if well:
            await manager.read_resource(GREETING, server="fix")
        else:
            with pytest.raises(ServerCrashed):
                await manager.read_resource(GREETING, server="fix")
        assert sent(server, "resources/read") == 3
        assert retries(manager) == 2
        assert manager.metrics().in_flight == 0


async def test_one_attempt_means_no_retry(variant: str, fresh_http: Callable[..., HttpServer]) -> None:
    server = fresh_http(era="modern", fail=1)
    async with manager_of(variant, spec_of(server, retry=RetrySpec(attempts=1))) as manager:
        with pytest.raises(ServerCrashed):
            await manager.read_resource(GREETING, server="fix")
        assert sent(server, "resources/read") == 1


async def test_a_budget_that_is_used_up_ends_retries_for_everybody(
    variant: str, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era="modern", fail=1000)
    retry = RetrySpec(attempts=2, budget_per_mille=0, budget_burst=2, **QUICK)
    async with manager_of(variant, spec_of(server, retry=retry)) as manager:
        for _ in range(5):
            with pytest.raises(ServerCrashed):
                await manager.read_resource(GREETING, server="fix")
        assert retries(manager) == 2
        assert sent(server, "resources/read") == 7


async def test_a_second_attempt_goes_to_another_instance(variant: str, fresh_http: Callable[..., HttpServer]) -> None:
    bad, good = fresh_http(era="modern", fail=1000), fresh_http(era="modern")
    retry = RetrySpec(budget_burst=100, **QUICK)
    spec = spec_of(bad, retry=retry, urls=(bad.url, good.url), balancer="round_robin")
    async with manager_of(variant, spec) as manager:
        for _ in range(6):
            await manager.read_resource(GREETING, server="fix")
        assert sent(good, "resources/read") == 6
        assert retries(manager) == sent(bad, "resources/read") >= 3


async def test_a_timeout_is_not_made_again(variant: str, fresh_http: Callable[..., HttpServer]) -> None:
    server = fresh_http(era="modern", delay_ms=5000)
    async with manager_of(variant, spec_of(server, retry=RetrySpec(attempts=5, **QUICK))) as manager:
        with pytest.raises(ServerTimeout):
            await manager.read_resource(GREETING, server="fix", timeout_s=0.15)
        assert sent(server, "resources/read") == 1
        assert retries(manager) == 0


async def test_the_deadline_of_the_request_ends_all_attempts(
    variant: str, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era="modern", fail=1000)
    retry = RetrySpec(attempts=10, base_ms=2000, cap_ms=2000, budget_burst=100)
    async with manager_of(variant, spec_of(server, retry=retry)) as manager:
        began = time.monotonic()
        with pytest.raises(ServerCrashed):
            await manager.read_resource(GREETING, server="fix", timeout_s=0.3)
        assert time.monotonic() - began < 1.5


async def test_a_pool_that_was_full_is_tried_again(variant: str) -> None:
    pool = PoolSpec(stdio_streams=1, acquire_timeout_ms=100)
    retry = RetrySpec(attempts=6, base_ms=100, cap_ms=100, tools=("echo",))
    async with manager_of(variant, stdio_spec("fix", pool=pool, retry=retry)) as manager:
        busy = asyncio.create_task(manager.call_tool("fix__sleep", {"ms": 180}))
        await asyncio.sleep(0)
        assert (await manager.call_tool("fix__echo", {"text": "patience"})).text == "patience"
        assert retries(manager) >= 1
        await busy
        busy = asyncio.create_task(manager.call_tool("fix__sleep", {"ms": 180}))
        await asyncio.sleep(0)
        with pytest.raises(PoolTimeout):
            await manager.call_tool("fix__odd", {})
        await busy


async def test_a_child_that_crashed_is_called_again(variant: str, tmp_path: Path) -> None:
    retry = RetrySpec(attempts=8, base_ms=300, cap_ms=300, tools=("flaky",))
    async with manager_of(variant, stdio_spec("fix", retry=retry, breaker=CALM)) as manager:
        result = await manager.call_tool("fix__flaky", {"file": str(tmp_path / "made"), "times": 1})
        assert result.text == "answered at attempt 2"


# -- at the gateway


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize("client_era", ["modern", "legacy"])
async def test_a_relayed_call_that_is_safe_goes_on_as_a_second_attempt(
    variant: str, era: str, client_era: str, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era=era, fail=1)
    spec = spec_of(server, retry=RetrySpec(tools=("echo",), **QUICK))
    async with serving(variant, spec) as served, served.client(client_era) as client:
        assert await client.text("fix__echo", text="second") == "second"
        assert sent(server) == 2
        assert retries(served.manager) == 1
        assert await client.text("fix__echo", text="third") == "third"
        assert served.manager.metrics().errors_by_code.get("server_crashed", 0) == 0


@pytest.mark.parametrize("client_era", ["modern", "legacy"])
async def test_a_call_to_a_child_that_is_safe_goes_on_too(variant: str, client_era: str, tmp_path: Path) -> None:
    retry = RetrySpec(attempts=8, base_ms=300, cap_ms=300, tools=("flaky",))
    spec = stdio_spec("fix", retry=retry, breaker=CALM)
    async with serving(variant, spec) as served, served.client(client_era) as client:
        text = await client.text("fix__flaky", file=str(tmp_path / "made"), times=1)
        assert text == "answered at attempt 2"


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_relayed_call_that_is_not_safe_fails_at_once(
    variant: str, era: str, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era=era, fail=1)
    async with serving(variant, spec_of(server)) as served, served.client(era) as client:
        error = await client.error("tools/call", {"name": "fix__echo", "arguments": {}})
        assert error["data"]["code"] == "server_crashed"
        assert sent(server) == 1


async def test_nothing_is_made_again_once_part_of_the_answer_is_out(
    variant: str, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era="modern")
    spec = spec_of(server, retry=RetrySpec(attempts=5, tools=("half",), **QUICK))
    async with serving(variant, spec) as served, served.client("modern") as client:
        long = {"name": "fix__half", "arguments": {"bytes": 100_000}}
        await client.connection.send(client.encode("tools/call", long))
        assert await client.connection.is_closed_by_peer()
        assert sent(server) == 1
        assert retries(served.manager) == 0


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_replica_that_cannot_be_reached_costs_no_relayed_call(
    variant: str, era: str, fresh_http: Callable[..., HttpServer]
) -> None:
    """Nothing was sent, so any tool may go on to another one."""
    gone, good = fresh_http(era=era), fresh_http(era=era)
    spec = spec_of(gone, urls=(gone.url, good.url), balancer="round_robin")
    async with serving(variant, spec) as served, served.client(era) as client:
        for number in range(2):
            await client.text("fix__echo", text=str(number))
        gone.kill()
        failed = 0
        for number in range(6):
            message = await client.message("tools/call", {"name": "fix__echo", "arguments": {"text": str(number)}})
            failed += "error" in message
        assert failed <= 1, "only the one that met the connection as it broke"
        await until(lambda: served.manager.metrics().servers["fix"]["in_flight"] == 0, what="the end of the calls")
