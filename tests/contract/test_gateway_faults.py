"""Clients that leave, servers that die: an error for who still listens, freed resources for who does not."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.contract.bridging import unique
from tests.contract.clients import Client, LegacyClient, ModernClient, Served, serving
from tests.contract.kit import HttpServer, http_spec, stdio_spec, until
from tests.contract.rawhttp import Connection

from crossfade.impls import BreakerSpec, PoolSpec, ServerSpec
from crossfade.impls.errors import ServerError

MIB = 1 << 20
KINDS = [f"{transport}-{era}" for transport in ("stdio", "http") for era in ("modern", "legacy")]
CALM = BreakerSpec(enabled=False)


@pytest.fixture(params=KINDS)
def upstream(request: pytest.FixtureRequest, fresh_http: Callable[..., HttpServer]) -> Callable[..., ServerSpec]:
    transport, _, era = request.param.partition("-")
    if transport == "stdio":
        return lambda **more: stdio_spec("fix", era=era, breaker=CALM, **more)
    server = fresh_http(era=era)
    return lambda **more: http_spec(server, breaker=CALM, **more)


def is_our_error(error: dict[str, Any], *codes: str) -> None:
    """An error of the gateway itself: it says which server, what kind, and what would recover."""
    assert error["data"]["code"] in codes, error
    assert error["data"]["server"] == "fix"
    assert error["data"]["recovery"] in ("retry", "failover", "break", "propagate")
    assert "fix" in error["message"]
    assert "Traceback" not in json.dumps(error)


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.relay_hazard("a call hangs when its server dies")
async def test_a_server_that_dies_in_a_call_is_an_error_with_the_requests_id(
    variant: str, era: str, upstream: Callable[..., ServerSpec]
) -> None:
    async with serving(variant, upstream()) as served, served.client(era) as client:
        error = (await client.message("tools/call", {"name": "fix__crash", "arguments": {}}, id="mine"))["error"]
        is_our_error(error, "server_crashed")
        assert error["code"] == -32603


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_server_that_never_answers_is_a_timeout(
    variant: str, era: str, upstream: Callable[..., ServerSpec]
) -> None:
    async with serving(variant, upstream(timeout_ms=200)) as served, served.client(era) as client:
        is_our_error(await client.error("tools/call", {"name": "fix__never", "arguments": {}}), "server_timeout")
        assert await client.text("fix__echo", text="alive") == "alive"


@pytest.mark.parametrize("tool", ["garbage", "wrong"])
async def test_an_answer_that_is_no_json_rpc_does_not_reach_the_client(
    variant: str, tool: str, upstream: Callable[..., ServerSpec]
) -> None:
    async with serving(variant, upstream(timeout_ms=600)) as served, served.client("modern") as client:
        error = await client.error("tools/call", {"name": f"fix__{tool}", "arguments": {}})
        is_our_error(error, "protocol_violation", "server_timeout")


async def test_an_answer_over_the_limit_is_refused_not_relayed(
    variant: str, upstream: Callable[..., ServerSpec]
) -> None:
    async with serving(variant, upstream(max_message_bytes=MIB)) as served, served.client("modern") as client:
        params = {"name": "fix__huge", "arguments": {"bytes": 50 * MIB}}
        is_our_error(await client.error("tools/call", params), "protocol_violation")


async def test_an_answer_cut_in_the_middle_never_looks_complete(
    variant: str, upstream: Callable[..., ServerSpec]
) -> None:
    async with serving(variant, upstream()) as served, served.client("legacy") as client:
        try:
            error = await client.error("tools/call", {"name": "fix__half", "arguments": {}})
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the head was out already; cutting the connection is the one honest answer left
        is_our_error(error, "server_crashed", "protocol_violation")


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_server_that_is_not_there_is_an_error_at_once(variant: str, era: str) -> None:
    spec = ServerSpec(name="fix", urls=("http://127.0.0.1:9/mcp",), breaker=CALM)
    async with serving(variant, spec) as served, served.client(era) as client:
        is_our_error(
            await client.error("tools/call", {"name": "fix__echo", "arguments": {}}), "server_start", "server_crashed"
        )


async def test_an_open_breaker_answers_for_the_server(variant: str, fresh_http: Callable[..., HttpServer]) -> None:
    breaker = BreakerSpec(min_calls=2, window=4, open_ms=60_000)
    spec = http_spec(fresh_http(era="modern"), breaker=breaker, timeout_ms=100)
    async with serving(variant, spec) as served, served.client("modern") as client:
        for _ in range(2):
            await client.error("tools/call", {"name": "fix__never", "arguments": {}})
        is_our_error(await client.error("tools/call", {"name": "fix__echo", "arguments": {}}), "circuit_open")


async def test_a_full_pool_answers_in_time(variant: str, fresh_http: Callable[..., HttpServer]) -> None:
    pool = PoolSpec(max_connections=1, acquire_timeout_ms=100)
    async with (
        serving(variant, http_spec(fresh_http(era="modern"), pool=pool)) as served,
        served.client("modern") as holder,
        served.client("modern") as client,
    ):
        held = asyncio.create_task(holder.text("fix__sleep", ms=600))
        await until(lambda: served.manager.metrics().in_flight == 1, what="the holder's call")
        is_our_error(await client.error("tools/call", {"name": "fix__echo", "arguments": {}}), "pool_timeout")
        assert await held == "slept"
        assert await client.text("fix__echo", text="free") == "free"


async def seen(served: Served, method: str) -> list[dict[str, Any]]:
    """What the server received of a method; waits for the first."""
    result = await served.manager.call_tool("fix__seen", {"method": method, "wait_ms": 5000})
    found: list[dict[str, Any]] = json.loads(result.text)
    return found


async def leaves_mid_call(served: Served, client: Client, how: str) -> None:
    """Send a call that never returns, see it arrive, and go."""
    await client.connection.send(client.encode("tools/call", {"name": "fix__never", "arguments": {}}))
    assert await seen(served, "sleeping")
    await until(lambda: served.manager.metrics().in_flight == 1, what="the call")
    if how == "abort":
        client.connection.abort()
    else:
        client.connection.writer.close()


@pytest.mark.parametrize("how", ["abort", "close"])
async def test_a_modern_client_that_leaves_cancels_its_call_upstream(
    variant: str, how: str, upstream: Callable[..., ServerSpec]
) -> None:
    async with serving(variant, upstream()) as served:
        client = await ModernClient.open(served.gateway)
        await leaves_mid_call(served, client, how)
        assert await seen(served, "stopped")
        await until(lambda: served.manager.metrics().in_flight == 0, what="the end of the call")


async def test_a_legacy_client_that_leaves_frees_what_it_held(
    variant: str, upstream: Callable[..., ServerSpec]
) -> None:
    """A dropped connection is no cancellation in this era, so the server may work on; nothing here may wait for it."""
    async with serving(variant, upstream(pool=PoolSpec(max_connections=2, stdio_streams=2))) as served:
        for _ in range(4):
            client = await LegacyClient.open(served.gateway)
            await leaves_mid_call(served, client, "abort")
            await until(lambda: served.manager.metrics().in_flight == 0, what="the end of the call")
        await until(lambda: served.manager.metrics().clients == 0, what="the end of the connections")
        assert (await served.manager.call_tool("fix__echo", {"text": "free"})).text == "free"


async def test_a_legacy_client_cancels_by_notification(variant: str, upstream: Callable[..., ServerSpec]) -> None:
    async with serving(variant, upstream()) as served, served.legacy() as client, served.connect() as second:
        request = client.encode("tools/call", {"name": "fix__never", "arguments": {}}, id="stop-me")
        await client.connection.send(request)
        assert await seen(served, "sleeping")
        note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "stop-me"}}
        assert (await second.post(note, client.headers())).status == 202
        assert await seen(served, "stopped")
        await until(lambda: served.manager.metrics().in_flight == 0, what="the end of the call")


@pytest.mark.relay_hazard("duplicate ids cross-wire answers")
async def test_equal_ids_of_many_clients_never_cross(variant: str, upstream: Callable[..., ServerSpec]) -> None:
    async with serving(variant, upstream()) as served, contextlib.AsyncExitStack() as stack:
        eras = ["modern", "legacy"] * 10
        clients = [await stack.enter_async_context(served.client(era)) for era in eras]

        async def one(number: int, client: Client) -> None:
            for turn in range(10):
                text = f"client {number} turn {turn}"
                await client.text("fix__sleep", ms=(number * 7 + turn * 3) % 5)
                assert await client.text("fix__echo", text=text) == text

        await asyncio.gather(*(one(number, client) for number, client in enumerate(clients)))
        await until(lambda: served.manager.metrics().in_flight == 0, what="the end of the calls")


@pytest.mark.relay_hazard("duplicate ids cross-wire answers")
async def test_equal_ids_in_one_session_never_cross(variant: str, upstream: Callable[..., ServerSpec]) -> None:
    """A client that does not count: all at once, each on a connection of its own, and the last one ends first."""
    async with serving(variant, upstream()) as served, served.legacy() as client, contextlib.AsyncExitStack() as stack:

        async def one(name: str) -> dict[str, Any]:
            connection = await stack.enter_async_context(served.connect())
            params = {"name": "fix__progress", "arguments": {"steps": 0, "hold": name}}
            message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
            answer = await connection.post(json.dumps(message).encode(), client.headers())
            return dict(answer.message["result"]["structuredContent"])

        names = [unique("equal") for _ in range(5)]
        calls = [asyncio.create_task(one(name)) for name in names]
        for name, call in reversed(list(zip(names, calls, strict=True))):
            await client.text("fix__seen", method="holding", mark=name, wait_ms=5000)
            await client.text("fix__release", hold=name)
            assert (await call)["hold"] == name


async def test_clients_that_leave_at_any_moment_lose_no_slot(variant: str, upstream: Callable[..., ServerSpec]) -> None:
    pool = PoolSpec(max_connections=3, stdio_streams=3)
    async with serving(variant, upstream(pool=pool)) as served:

        async def visit(number: int) -> None:
            connection = await Connection.open(served.gateway)
            client = ModernClient(connection)
            await connection.send(client.encode("tools/call", {"name": "fix__sleep", "arguments": {"ms": 20}}))
            await asyncio.sleep(number * 0.0015)
            connection.abort()

        await asyncio.gather(*(visit(number) for number in range(24)))
        await until(lambda: served.manager.metrics().in_flight == 0, what="the end of the calls")
        async with asyncio.timeout(5):
            again = [served.manager.call_tool("fix__sleep", {"ms": 10}) for _ in range(3)]
            assert [result.text for result in await asyncio.gather(*again)] == ["slept"] * 3


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_child_that_comes_back_is_used_again_by_the_same_client(variant: str, era: str) -> None:
    spec = stdio_spec("fix", era=era, breaker=CALM)
    async with serving(variant, spec) as served, served.client("modern") as client:
        await client.error("tools/call", {"name": "fix__crash", "arguments": {}})

        async def answers() -> bool:
            with contextlib.suppress(ServerError, AssertionError):
                return await client.text("fix__echo", text="back") == "back"
            return False

        async with asyncio.timeout(10):
            while not await answers():  # noqa: ASYNC110 -- a child's restart announces itself to nobody here
                await asyncio.sleep(0.02)
