"""Which era a server speaks is found out once for each URL and each process; calls and connections do not ask again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from tests.contract.bridging import ERAS, unique
from tests.contract.clients import Client, serving
from tests.contract.kit import HttpServer, http_spec, stdio_spec, until

from crossfade.impls import BreakerSpec

ASKED = "server/discover"


@pytest.mark.parametrize("server", ERAS)
async def test_an_origin_is_asked_once_however_many_connections_it_has(
    variant: str, server: str, fresh_http: Callable[..., HttpServer]
) -> None:
    upstream = fresh_http(era=server)
    async with (
        serving(variant, http_spec(upstream)) as served,
        served.client("modern") as one,
        served.client("modern") as two,
        served.client("legacy") as three,
        served.client("modern") as last,
    ):
        hold = unique("hold")
        held = [asyncio.create_task(client.text("fix__progress", steps=0, hold=hold)) for client in (one, two, three)]
        await until(lambda: served.manager.get("fix").instances[0].connections >= 3, what="a connection for each call")
        await last.text("fix__release", hold=hold)
        assert await asyncio.gather(*held) == ["progressed"] * 3
        for client in (one, two, three, last):
            assert await client.text("fix__echo", text="again") == "again"
            assert (await client.result("tools/list"))["tools"]
        assert len(upstream.log(ASKED)) == 1


@pytest.mark.parametrize("server", ERAS)
async def test_an_origin_that_comes_back_is_not_asked_again(
    variant: str, server: str, fresh_http: Callable[..., HttpServer]
) -> None:
    first = fresh_http(era=server)
    spec = http_spec(first, breaker=BreakerSpec(enabled=False))
    async with serving(variant, spec) as served, served.client("modern") as one, served.client("legacy") as two:
        for client in (one, two):
            assert await client.text("fix__echo", text="before") == "before"
        first.kill()
        second = fresh_http(era=server, port=first.port)
        for client in (one, two):
            await answers_again(client)
        assert second.log(ASKED) == []
        assert bool(second.log("initialize")) is (server == "legacy"), "sessions are opened anew, without a question"


async def answers_again(client: Client) -> None:
    """A first call may still meet the connection that the crash has cut."""
    async with asyncio.timeout(10):
        while True:
            answer = await client.message("tools/call", {"name": "fix__echo", "arguments": {"text": "after"}})
            if "result" in answer:
                return


@pytest.mark.parametrize("server", ERAS)
async def test_a_child_is_asked_once_however_many_clients_it_serves(variant: str, server: str) -> None:
    async with (
        serving(variant, stdio_spec("fix", era=server)) as served,
        served.client("modern") as one,
        served.client("modern") as two,
        served.client("legacy") as three,
    ):
        for client in (one, two, three):
            assert await client.text("fix__echo", text="a") == "a"
            assert (await client.result("tools/list"))["tools"]
        assert len(json.loads(await one.text("fix__seen", method=ASKED))) == 1
