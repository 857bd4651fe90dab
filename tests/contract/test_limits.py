"""Rate limits: what is above them is refused at once, with the time to wait, and never reaches the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.contract.clients import Client, serving
from tests.contract.kit import HttpServer, http_spec, manager_of, stdio_spec

from crossfade.impls import Manager, RateLimitSpec, ServerSpec
from crossfade.impls.errors import RateLimited

MINUTE = 60_000
KINDS = [f"{transport}-{era}" for transport in ("stdio", "http") for era in ("modern", "legacy")]


def two_a_minute(**more: Any) -> RateLimitSpec:
    """Two at once, and the next half a minute later: nothing a test could wait for by accident."""
    return RateLimitSpec(**{"requests": 2, "per_ms": MINUTE, "burst": 2, **more})


@pytest.fixture(params=KINDS)
def upstream(request: pytest.FixtureRequest, shared_http: Callable[..., HttpServer]) -> Callable[..., ServerSpec]:
    transport, _, era = request.param.partition("-")
    if transport == "stdio":
        return lambda *limits: stdio_spec("fix", era=era, rate_limits=limits)
    return lambda *limits: http_spec(shared_http(era=era), "fix", rate_limits=limits)


async def is_refused(manager: Manager, tool: str = "fix__echo", **more: Any) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        await manager.call_tool(tool, {}, **more)
    return caught.value


async def test_what_is_above_the_limit_never_reaches_the_server(
    variant: str, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era="modern")
    async with manager_of(variant, http_spec(server, rate_limits=(two_a_minute(),))) as manager:
        for _ in range(2):
            await manager.call_tool("fix__echo", {})
        error = await is_refused(manager)
        assert error.server == "fix"
        assert "'fix'" in error.message
        assert "; call again in" in error.message
        assert 0 < error.retry_after_ms <= MINUTE // 2
        assert len(server.log("tools/call")) == 2
        metrics = manager.metrics()
        assert metrics.servers["fix"]["rate_limited"] == 1
        assert metrics.rejected == 1
        assert metrics.errors_by_code["rate_limited"] == 1
        assert metrics.in_flight == 0


async def test_after_the_time_that_was_told_the_next_is_admitted(variant: str) -> None:
    limit = RateLimitSpec(requests=1, per_ms=120, burst=1)
    async with manager_of(variant, stdio_spec("fix", rate_limits=(limit,))) as manager:
        await manager.call_tool("fix__echo", {})
        error = await is_refused(manager)
        assert 0 < error.retry_after_ms <= 120
        await asyncio.sleep(error.retry_after_ms / 1000)  # the limit's clock is the wall's; its core has a virtual one
        await manager.call_tool("fix__echo", {})


async def test_a_refused_call_uses_nothing_up(variant: str) -> None:
    limit = RateLimitSpec(requests=1, per_ms=400, burst=1)
    async with manager_of(variant, stdio_spec("fix", rate_limits=(limit,))) as manager:
        await manager.call_tool("fix__echo", {})
        waits = [(await is_refused(manager)).retry_after_ms for _ in range(20)]
        assert waits == sorted(waits, reverse=True), "asking again moved the next admission away"


async def test_each_tool_has_its_own_allowance(variant: str) -> None:
    async with manager_of(variant, stdio_spec("fix", rate_limits=(two_a_minute(key="tool"),))) as manager:
        for _ in range(2):
            await manager.call_tool("fix__echo", {})
        await is_refused(manager)
        await manager.call_tool("fix__odd", {})
        await manager.read_resource("fixture://greeting", server="fix")


async def test_each_principal_has_its_own_allowance(variant: str) -> None:
    async with manager_of(variant, stdio_spec("fix", rate_limits=(two_a_minute(key="principal"),))) as manager:
        for _ in range(2):
            await manager.call_tool("fix__echo", {}, principal="ann")
        await is_refused(manager, principal="ann")
        await manager.call_tool("fix__echo", {}, principal="bob")
        await manager.call_tool("fix__echo", {})


async def test_whoever_gives_no_name_is_one_principal(variant: str) -> None:
    async with manager_of(variant, stdio_spec("fix", rate_limits=(two_a_minute(key="principal"),))) as manager:
        await manager.call_tool("fix__echo", {})
        await manager.read_resource("fixture://greeting", server="fix")
        await is_refused(manager)
        await is_refused(manager, principal="anonymous")


async def test_globs_narrow_a_limit_to_the_servers_own_tool_names(variant: str) -> None:
    limit = two_a_minute(tools=("e?ho", "odd"))
    async with manager_of(variant, stdio_spec("fix", rate_limits=(limit,))) as manager:
        await manager.call_tool("fix__echo", {})
        await manager.call_tool("fix__odd", {})
        await is_refused(manager)
        await is_refused(manager, "fix__odd")
        await manager.call_tool("fix__process", {})
        await manager.read_resource("fixture://greeting", server="fix")


async def test_a_limit_of_the_server_counts_reads_and_lists_too(variant: str) -> None:
    async with manager_of(variant, stdio_spec("fix", rate_limits=(two_a_minute(),))) as manager:
        await manager.read_resource("fixture://greeting", server="fix")
        await manager.list_tools("fix")  # two pages are one list
        await is_refused(manager)
        with pytest.raises(RateLimited):
            await manager.get_prompt("fix__greet", {})
        with pytest.raises(RateLimited):
            await manager.list_prompts("fix")


async def test_what_one_limit_refuses_uses_nothing_of_another(variant: str) -> None:
    limits = (two_a_minute(), two_a_minute(key="tool", requests=1, burst=1))
    async with manager_of(variant, stdio_spec("fix", rate_limits=limits)) as manager:
        await manager.call_tool("fix__echo", {})
        for _ in range(3):
            await is_refused(manager)
        await manager.call_tool("fix__odd", {})


async def test_another_server_is_not_touched(variant: str) -> None:
    specs = (stdio_spec("one", rate_limits=(two_a_minute(burst=1),)), stdio_spec("two"))
    async with manager_of(variant, *specs) as manager:
        await manager.call_tool("one__echo", {})
        await is_refused(manager, "one__echo")
        for _ in range(3):
            await manager.call_tool("two__echo", {})


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_gateway_client_is_told_when_to_come_again(
    variant: str, era: str, upstream: Callable[..., ServerSpec]
) -> None:
    async with serving(variant, upstream(two_a_minute())) as served, served.client(era) as client:
        for _ in range(2):
            await client.text("fix__echo", text="in")
        error = await client.error("tools/call", {"name": "fix__echo", "arguments": {}})
        assert error["data"]["code"] == "rate_limited"
        assert error["data"]["server"] == "fix"
        assert error["data"]["recovery"] == "retry"
        assert 0 < error["data"]["retryAfterMs"] <= MINUTE // 2
        assert served.manager.metrics().errors_by_code["rate_limited"] == 1
        assert "rate_limited" in str(await client.error("resources/read", {"uri": "fixture://greeting"}))


async def texts(client: Client, count: int) -> None:
    for _ in range(count):
        await client.text("fix__echo", text="in")


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_gateway_clients_are_told_apart_by_their_header(
    variant: str, era: str, shared_http: Callable[..., HttpServer]
) -> None:
    """Each says who it is from its first request on: a legacy session is one caller's."""
    spec = http_spec(shared_http(era=era), "fix", rate_limits=(two_a_minute(key="principal"),))
    async with (
        serving(variant, spec) as served,
        served.client(era, "a") as ann,
        served.client(era, "b") as bob,
        served.client(era) as nobody,
        served.client(era, "a") as again,
    ):
        await texts(ann, 2)
        error = await ann.error("tools/call", {"name": "fix__echo", "arguments": {}})
        assert error["data"]["code"] == "rate_limited"
        await texts(bob, 2)
        await texts(nobody, 2)
        assert "error" in await again.message("tools/call", {"name": "fix__echo", "arguments": {}}), "another door"


async def test_the_header_that_names_the_principal_is_configured(
    variant: str, shared_http: Callable[..., HttpServer]
) -> None:
    spec = http_spec(shared_http(era="modern"), "fix", rate_limits=(two_a_minute(key="principal"),))
    async with serving(variant, spec, principal_header="X-Api-Key") as served, served.client("modern") as client:
        client.connection.caller = "a"
        await texts(client, 2)
        client.connection.caller = "b"
        error = await client.error("tools/call", {"name": "fix__echo", "arguments": {}})
        assert error["data"]["code"] == "rate_limited", "Authorization is not the header that was named"


async def test_a_long_body_is_refused_by_the_limit_too(variant: str, fresh_http: Callable[..., HttpServer]) -> None:
    """One that would be passed on while it arrives: the refusal must come instead, and nothing be sent."""
    server = fresh_http(era="modern")
    spec = http_spec(server, "fix", rate_limits=(two_a_minute(),))
    async with serving(variant, spec) as served, served.client("modern") as client:
        await texts(client, 2)
        error = await client.error("tools/call", {"name": "fix__echo", "arguments": {"text": "x" * 200_000}})
        assert error["data"]["code"] == "rate_limited"
        assert len(server.log("tools/call")) == 2
    async with serving(variant, spec) as served, served.client("modern") as client:
        assert len(await client.text("fix__echo", text="y" * 200_000)) == 200_000
