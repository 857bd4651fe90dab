"""A server that was missing in a list comes back: who listens is told once, and nobody is asked for nobody's sake."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.contract.kit import HttpServer, http_spec, until

from crossfade.impls import Config, Event, RateLimitSpec
from crossfade.impls.python.manager import PythonManager

LIST = "tools/list"


@pytest.fixture
def fresh_http() -> Iterator[Callable[..., HttpServer]]:
    running: list[HttpServer] = []

    def start(**kind: Any) -> HttpServer:
        running.append(HttpServer(**kind))
        return running[-1]

    yield start
    for server in running:
        server.kill()
        server.stop()


async def hear(manager: PythonManager, heard: list[Event]) -> None:
    async for event in manager.events():
        heard.append(event)


def told(heard: list[Event]) -> list[Event]:
    return [event for event in heard if event.kind == "list_changed"]


async def test_who_listens_is_told_once_that_a_server_is_back_that_nobody_calls(
    fresh_http: Callable[..., HttpServer],
) -> None:
    spec = http_spec(fresh_http(fail=2), timeout_ms=300)
    async with PythonManager(Config(servers=(spec,))) as manager:
        heard: list[Event] = []
        listening = asyncio.create_task(hear(manager, heard))
        assert (await manager.catalog.listing(LIST)).missing == ["fix"]
        await until(lambda: bool(told(heard)), what="the word that it is back")
        assert (await manager.catalog.listing(LIST)).missing == []
        await manager.register(http_spec(fresh_http(), "other"))
        await until(lambda: heard[-1].server == "other", what="the registration")
        assert [event.new for event in told(heard)] == ["tools"]
        listening.cancel()


async def test_nobody_asks_a_missing_server_while_nobody_listens(fresh_http: Callable[..., HttpServer]) -> None:
    server = fresh_http(fail=2)
    async with PythonManager(Config(servers=(http_spec(server, timeout_ms=300),))) as manager:
        before = asyncio.all_tasks()
        assert (await manager.catalog.listing(LIST)).missing == ["fix"]
        assert not {task for task in asyncio.all_tasks() - before if "Returning" in repr(task)}
        heard: list[Event] = []
        listening = asyncio.create_task(hear(manager, heard))
        await until(lambda: bool(told(heard)), what="the word to who came later")
        assert len(server.log(LIST)) == 4  # two without an answer, and two pages
        listening.cancel()


async def test_a_server_that_goes_is_not_waited_for_because_it_is_missed(
    fresh_http: Callable[..., HttpServer],
) -> None:
    server = fresh_http(delay_ms=60_000)
    async with PythonManager(Config(servers=(http_spec(server, timeout_ms=1_500),))) as manager:
        listening = asyncio.create_task(hear(manager, []))
        assert (await manager.catalog.listing(LIST)).missing == ["fix"]
        await until(lambda: len(server.log(LIST)) == 2, what="the attempt to find it")
        async with asyncio.timeout(0.7):
            await manager.unregister("fix")
        listening.cancel()


async def test_a_caller_that_asks_too_often_does_not_make_a_server_missing(
    fresh_http: Callable[..., HttpServer],
) -> None:
    server = fresh_http()
    limit = RateLimitSpec(requests=1, per_ms=60_000, key="principal")
    async with PythonManager(Config(servers=(http_spec(server, rate_limits=(limit,)),))) as manager:
        listening = asyncio.create_task(hear(manager, []))
        assert (await manager.catalog.listing(LIST, "alice")).missing == []
        before = asyncio.all_tasks()
        assert (await manager.catalog.listing(LIST, "alice")).missing == ["fix"]
        assert not {task for task in asyncio.all_tasks() - before if "Returning" in repr(task)}
        listening.cancel()
