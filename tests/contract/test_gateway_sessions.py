"""A legacy client's session: what keeps it alive, whose it is, and how many there may be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.contract.bridging import unique
from tests.contract.clients import serving
from tests.contract.kit import HttpServer, http_spec, stdio_spec, until
from tests.contract.rawhttp import Connection
from tests.contract.talker import Answer, Pending, call_of
from tests.contract.talker_http import LegacyHttpTalker

from crossfade.impls import ServerSpec

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "one more", "version": "1"}},
}


async def held(client: LegacyHttpTalker, name: str) -> Pending:
    """A call that the server has begun, and that says nothing until ``name`` is released."""
    pending = await client.start("tools/call", call_of("progress", {"steps": 0, "hold": name}))
    assert await client.json("seen", method="holding", mark=name, wait_ms=5000)
    return pending


# -- alive


@pytest.mark.parametrize("answers", [{}, {"roots/list": None}], ids=["shared", "own"])
@pytest.mark.parametrize("upstream", ["stdio", "http"])
async def test_a_session_with_a_long_call_is_not_idle(
    variant: str, upstream: str, answers: dict[str, Answer], fresh_http: Callable[..., HttpServer]
) -> None:
    """A session that was opened later and is not used tells when the idle time is over."""
    server = fresh_http(era="legacy") if upstream == "http" else None
    spec: ServerSpec = http_spec(server) if server is not None else stdio_spec("fix")
    async with (
        serving(variant, spec, session_idle_ms=200) as served,
        LegacyHttpTalker(served.gateway, answers) as busy,
    ):
        name = unique("held")
        pending = await held(busy, name)
        async with LegacyHttpTalker(served.gateway):
            await until(lambda: served.manager.metrics().sessions < 2, what="the end of the session without a call")
        assert await busy.text("release", hold=name) == "released"
        assert (await pending.answer())["result"]["content"][0]["text"] == "progressed"
        if server is not None:
            assert server.log("DELETE") == [], "its session with the server ended"


async def test_a_session_that_waits_for_a_list_is_not_idle(variant: str, fresh_http: Callable[..., HttpServer]) -> None:
    server = fresh_http(era="legacy", delay_ms=2000)
    async with (
        serving(variant, http_spec(server), session_idle_ms=200) as served,
        LegacyHttpTalker(served.gateway) as busy,
    ):
        pending = await busy.start("tools/list")
        async with LegacyHttpTalker(served.gateway):
            await until(lambda: served.manager.metrics().sessions < 2, what="the end of the session without a request")
        assert await busy.result("ping") == {}
        assert (await pending.answer())["result"]["tools"]


# -- whose


async def test_a_session_is_unknown_to_other_callers(variant: str, shared_http: Callable[..., HttpServer]) -> None:
    spec = http_spec(shared_http(era="legacy"))
    async with (
        serving(variant, spec) as served,
        served.legacy(caller="alice") as alice,
        served.legacy(caller="bob") as bob,
    ):
        for client in (alice, bob):
            assert await client.text("fix__echo", text="own") == "own"
        own, bob.session = bob.session, alice.session
        for caller in ("bob", None):
            bob.connection.caller = caller
            for method, params in (("ping", None), ("tools/list", None), ("tools/call", {"name": "fix__echo"})):
                assert (await bob.raw(method, params)).status == 404, (caller, method)
            assert (await bob.notify("notifications/cancelled", {"requestId": 1})).status == 404
            answer = {"jsonrpc": "2.0", "id": "x", "result": {}}
            assert (await bob.connection.post(answer, bob.headers())).status == 404
            for method in ("GET", "DELETE"):
                assert await alone(bob.connection, method, bob.headers()) == 404, (caller, method)
            long = {"name": "fix__echo", "arguments": {"text": "x" * 50_000}}
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": long}
            assert await alone(bob.connection, "POST", bob.headers(), body) == 404, "passed on while it arrived"
        assert await alice.text("fix__echo", text="still here") == "still here"
        bob.session, bob.connection.caller = own, "bob"
        assert await bob.text("fix__echo", text="here, too") == "here, too"


async def alone(like: Connection, method: str, headers: dict[str, str | None], body: Any = None) -> int:
    """The status of a request on a connection of its own."""
    async with asyncio.timeout(5), await Connection.open(like.gateway) as connection:
        connection.caller = like.caller
        await connection.send(connection.encode(body, headers, method))
        return (await connection.response_head())[0]


async def test_a_refreshed_token_begins_a_new_session(variant: str) -> None:
    async with serving(variant, stdio_spec("fix")) as served, served.legacy(caller="yesterday's") as client:
        client.connection.caller = "today's"
        assert (await client.raw("ping")).status == 404
        await client.initialize()
        assert await client.text("fix__echo", text="again") == "again"


# -- how many


async def test_of_too_many_sessions_the_longest_idle_ends(variant: str, fresh_http: Callable[..., HttpServer]) -> None:
    server = fresh_http(era="legacy")
    async with (
        serving(variant, http_spec(server), max_sessions=2) as served,
        served.legacy() as first,
        served.legacy() as second,
    ):
        await second.text("fix__echo", text="a session upstream")
        assert await first.result("ping") == {}
        async with served.legacy() as third:
            assert served.manager.metrics().sessions == 2
            assert (await second.raw("ping")).status == 404
            for client in (first, third):
                assert await client.result("ping") == {}
            await until(lambda: [entry["known"] for entry in server.log("DELETE")] == [True], what="its end upstream")


@pytest.mark.parametrize("busy_with", ["a call", "a stream"])
async def test_a_session_in_use_makes_room_for_nobody(variant: str, busy_with: str) -> None:
    async with (
        serving(variant, stdio_spec("fix"), max_sessions=1) as served,
        LegacyHttpTalker(served.gateway) as busy,
        served.connect() as other,
    ):
        name = unique("held")
        if busy_with == "a call":
            pending = await held(busy, name)
        else:
            await busy.open_stream()
        refused = await other.post(HELLO)
        assert refused.status == 503
        assert refused.message["id"] == 1
        assert "gateway.maxSessions" in refused.message["error"]["message"]
        assert await busy.result("ping") == {}
        if busy_with == "a call":
            await busy.text("release", hold=name)
            await pending.answer()
        else:
            assert busy.own is not None
            busy.own.connection.abort()
        async with asyncio.timeout(5):  # the end of a connection is noticed a moment later
            while (await other.post(HELLO)).status == 503:
                pass
        assert served.manager.metrics().sessions == 1
