"""Registering, finding, filtering and removing servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from tests.contract.kit import HttpServer, children_of, http_spec, is_alive, manager_of, stdio_spec, until

from crossfade.impls import ServerSpec, ServerState
from crossfade.impls.errors import ManagerClosed, ServerCrashed, ServerExists, ServerNotFound, ServerStartError


async def test_a_registered_server_is_described_as_it_announced_itself(variant: str) -> None:
    async with manager_of(variant) as manager:
        info = await manager.register(stdio_spec("one", tags=("blue", "fast")))
        assert info == manager.get("one")
        assert (info.name, info.transport, info.state, info.era) == ("one", "stdio", ServerState.HEALTHY, "legacy")
        assert (info.server_name, info.server_version, info.tags) == ("one", "1.2.3", ("blue", "fast"))
        assert info.protocol_version == "2025-11-25"
        assert info.capabilities["experimental"] == {"x-fixture": {"kept": True}}
        assert len(info.instances) == 1
        assert info.instances[0].pid in children_of()
        assert info.instances[0].url is None


async def test_an_http_server_tells_its_url_and_era(variant: str, shared_http: Callable[..., HttpServer]) -> None:
    server = shared_http(era="modern")
    async with manager_of(variant, http_spec(server, "web")) as manager:
        info = manager.get("web")
        assert (info.transport, info.era, info.protocol_version) == ("http", "modern", "2026-07-28")
        assert info.server_name == "fixture"
        assert info.instances[0].url == server.url
        assert info.instances[0].pid is None


async def test_a_name_cannot_be_taken_twice(variant: str) -> None:
    async with manager_of(variant, stdio_spec("one")) as manager:
        before = children_of()
        with pytest.raises(ServerExists, match="one") as caught:
            await manager.register(stdio_spec("one"))
        assert caught.value.server == "one"
        assert children_of() == before, "the refused one was started"


async def test_the_longest_name_serves_and_a_longer_one_is_refused(variant: str) -> None:
    longest = "n" * 41
    async with manager_of(variant, stdio_spec(longest)) as manager:
        assert (await manager.call_tool(f"{longest}__echo", {"text": "here"})).text == "here"
        with pytest.raises(ValueError, match="1 to 41 letters"):
            await manager.register(stdio_spec(longest + "n"))
        assert [info.name for info in manager.servers()] == [longest]


async def test_two_registrations_of_one_name_at_once_keep_exactly_one(variant: str) -> None:
    async with manager_of(variant) as manager:
        spec = stdio_spec("one")
        results = await asyncio.gather(*(manager.register(spec) for _ in range(4)), return_exceptions=True)
        assert sum(isinstance(r, ServerExists) for r in results) == 3
        assert len(children_of(manager.get("one").instances[0].pid or 0)) == 0
        assert len(manager.servers()) == 1


async def test_what_was_never_registered_is_not_found(variant: str) -> None:
    async with manager_of(variant) as manager:
        with pytest.raises(ServerNotFound, match="ghost"):
            manager.get("ghost")
        with pytest.raises(ServerNotFound, match="ghost"):
            await manager.unregister("ghost")
        with pytest.raises(ServerNotFound, match="ghost"):
            await manager.list_tools("ghost")
        with pytest.raises(ServerNotFound, match="ghost"):
            await manager.health("ghost")


async def test_filters_combine_and_keep_the_order_of_registration(variant: str) -> None:
    async with manager_of(variant) as manager:
        for name, tags in (("b", ("x",)), ("a", ("x", "y")), ("c", ("y",))):
            await manager.register(stdio_spec(name, tags=tags, lazy=name == "c"))

        def names(**wanted: Any) -> list[str]:
            return [info.name for info in manager.servers(**wanted)]

        assert names() == ["b", "a", "c"]
        assert names(tag="x") == ["b", "a"]
        assert names(tag="y", state=ServerState.HEALTHY) == ["a"]
        assert names(state=ServerState.INITIALIZING) == ["c"]
        assert names(capability="completions") == ["b", "a"]
        assert names(capability="nonsense") == []


async def test_a_lazy_server_starts_on_first_use(variant: str) -> None:
    async with manager_of(variant, stdio_spec("later", lazy=True)) as manager:
        assert children_of() == [] or manager.get("later").instances[0].pid is None
        assert manager.get("later").state is ServerState.INITIALIZING
        assert (await manager.call_tool("later__echo", {"text": "now"})).text == "now"
        assert manager.get("later").state is ServerState.HEALTHY


@pytest.mark.parametrize("start", ["exit", "command", "port"])
async def test_a_server_that_cannot_start_is_a_clear_error_and_leaves_nothing(variant: str, start: str) -> None:
    specs = {
        "command": ServerSpec(name="bad", command="/nonexistent/mcp-server"),
        "port": ServerSpec(name="bad", urls=("http://127.0.0.1:9/mcp",)),
    }
    spec = specs.get(start) or stdio_spec("bad", start=start, start_timeout_ms=3000)
    async with manager_of(variant) as manager:
        before = children_of()
        with pytest.raises(ServerStartError, match="bad") as caught:
            await manager.register(spec)
        assert caught.value.server == "bad"
        culprit = {"command": "/nonexistent/mcp-server", "port": "127.0.0.1:9", "exit": "told to end at start"}[start]
        assert culprit in str(caught.value), "the message must name the culprit"
        assert manager.servers() == []
        assert children_of() == before


async def test_a_banner_before_the_protocol_is_either_survived_or_a_clear_error(variant: str) -> None:
    async with manager_of(variant) as manager:
        with suppress(ServerStartError):
            await manager.register(stdio_spec("chatty", start="garbage", start_timeout_ms=3000))
            assert (await manager.call_tool("chatty__echo", {"text": "hi"})).text == "hi"


async def test_a_server_that_stays_silent_is_given_up_in_time(variant: str) -> None:
    async with manager_of(variant) as manager:
        with pytest.raises(ServerStartError, match="mute"):
            await manager.register(stdio_spec("mute", start="silent", start_timeout_ms=400))
        assert manager.servers() == []


async def test_one_bad_server_of_a_configuration_does_not_stop_the_others(variant: str) -> None:
    bad = ServerSpec(name="bad", command="/nonexistent/mcp-server")
    async with manager_of(variant, bad, stdio_spec("good")) as manager:
        assert manager.get("bad").state is ServerState.UNHEALTHY
        assert "/nonexistent/mcp-server" in (manager.get("bad").last_error or "")
        assert {item.server for item in await manager.list_tools()} == {"good"}
        with pytest.raises(ServerStartError, match="bad"):
            await manager.call_tool("bad__echo", {})


async def test_unregistering_waits_for_calls_in_flight(variant: str) -> None:
    async with manager_of(variant, stdio_spec("one")) as manager:
        pid = manager.get("one").instances[0].pid
        assert pid is not None
        call = asyncio.create_task(manager.call_tool("one__sleep", {"ms": 300}))
        await manager.call_tool("one__echo", {"text": "the sleeper was sent before me"})
        await manager.unregister("one", drain_s=5)
        assert (await call).text == "slept"
        assert not is_alive(pid)
        with pytest.raises(ServerNotFound):
            manager.get("one")


async def test_unregistering_does_not_wait_longer_than_told(variant: str) -> None:
    async with manager_of(variant, stdio_spec("one")) as manager:
        call = asyncio.create_task(manager.call_tool("one__never", {}))
        await manager.call_tool("one__echo", {"text": "the other was sent before me"})
        async with asyncio.timeout(3):
            await manager.unregister("one", drain_s=0.1)
        with pytest.raises((ServerCrashed, ServerNotFound)):
            await call


async def test_a_name_is_free_again_after_unregistering(variant: str) -> None:
    async with manager_of(variant, stdio_spec("one")) as manager:
        await manager.unregister("one")
        await manager.register(stdio_spec("one"))
        assert (await manager.call_tool("one__echo", {"text": "back"})).text == "back"


async def test_a_closed_manager_says_so(variant: str) -> None:
    manager = manager_of(variant, stdio_spec("one"))
    with pytest.raises(ManagerClosed):
        await manager.call_tool("one__echo", {})
    async with manager:
        pass
    with pytest.raises(ManagerClosed):
        await manager.call_tool("one__echo", {})
    with pytest.raises(ManagerClosed):
        await manager.register(stdio_spec("two"))


async def test_views_follow_every_change(variant: str) -> None:
    async with manager_of(variant, stdio_spec("a", tags=("x",)), stdio_spec("b", tags=("x", "y"))) as manager:

        def names(**wanted: Any) -> list[str]:
            return [info.name for info in manager.servers(**wanted)]

        assert names(tag="x", state=ServerState.HEALTHY, capability="tools") == ["a", "b"]
        await manager.maintenance("a")
        assert names(tag="x", state=ServerState.HEALTHY) == ["b"]
        assert names(state=ServerState.MAINTENANCE) == ["a"]
        await manager.maintenance("a", False)
        assert names(state=ServerState.HEALTHY) == ["a", "b"]
        await manager.register(stdio_spec("c", tags=("y",), lazy=True))
        assert names(tag="y") == ["b", "c"]
        assert names(tag="y", capability="tools") == ["b"]
        await manager.call_tool("c__echo", {})
        assert names(tag="y", capability="tools") == ["b", "c"]
        await manager.update(stdio_spec("b", tags=("z",)), strategy="blue_green")
        assert (names(tag="x"), names(tag="y"), names(tag="z")) == (["a"], ["c"], ["b"])
        await manager.unregister("a")
        assert (names(tag="x"), names(state=ServerState.HEALTHY)) == ([], ["b", "c"])
        assert names(tag="x", capability="nonsense") == []


async def test_a_name_is_taken_from_the_moment_that_its_registration_began(variant: str) -> None:
    async with manager_of(variant) as manager:
        before = children_of()
        first = asyncio.create_task(manager.register(stdio_spec("one", start="silent", start_timeout_ms=1500)))
        await until(lambda: len(children_of()) > len(before), what="the first child")
        with pytest.raises(ServerExists, match="one"):
            await manager.register(stdio_spec("one"))
        assert len(children_of()) == len(before) + 1, "the refused one was started"
        with pytest.raises(ServerStartError):
            await first
        await manager.register(stdio_spec("one"))
        assert (await manager.call_tool("one__echo", {"text": "free again"})).text == "free again"


async def test_a_registration_that_is_cancelled_frees_its_name(variant: str) -> None:
    async with manager_of(variant) as manager:
        before = children_of()
        first = asyncio.create_task(manager.register(stdio_spec("one", start="silent")))
        await until(lambda: len(children_of()) > len(before), what="the child")
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await until(lambda: children_of() == before, what="the end of the child")
        await manager.register(stdio_spec("one"))


async def test_a_name_cannot_be_taken_while_it_is_updated(variant: str) -> None:
    async with manager_of(variant, stdio_spec("one")) as manager:
        update = asyncio.create_task(manager.update(stdio_spec("one", tags=("new",)), strategy="rolling"))
        while not update.done():
            with pytest.raises(ServerExists, match="one"):
                await manager.register(stdio_spec("one"))
            await asyncio.sleep(0)
        await update
        assert [(info.name, info.tags) for info in manager.servers()] == [("one", ("new",))]
