"""Maintenance: a server out of routing is not called, keeps running, finishes what it has, and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.contract.clients import serving
from tests.contract.kit import HttpServer, children_of, http_spec, manager_of, stdio_spec

from crossfade.impls import ServerState
from crossfade.impls.errors import ServerNotFound, ServerUnavailable


async def test_a_server_in_maintenance_is_not_called_and_keeps_its_child(variant: str) -> None:
    async with manager_of(variant, stdio_spec("fix")) as manager:
        pid = manager.get("fix").instances[0].pid
        info = await manager.maintenance("fix")
        assert info.state is ServerState.MAINTENANCE
        assert manager.get("fix").state is ServerState.MAINTENANCE
        with pytest.raises(ServerUnavailable) as caught:
            await manager.call_tool("fix__echo", {})
        assert caught.value.server == "fix"
        assert "; " in caught.value.message
        with pytest.raises(ServerUnavailable):
            await manager.list_tools("fix")
        with pytest.raises(ServerUnavailable):
            await manager.read_resource("fixture://greeting", server="fix")
        with pytest.raises(ServerUnavailable):
            await manager.get_prompt("fix__greet", {})
        assert pid in children_of()
        assert manager.metrics().rejected >= 1
        info = await manager.maintenance("fix", on=False)
        assert info.state is ServerState.HEALTHY
        assert (await manager.call_tool("fix__echo", {"text": "back"})).text == "back"
        assert manager.get("fix").instances[0].pid == pid


async def test_calls_in_flight_finish_and_are_waited_for(variant: str) -> None:
    async with manager_of(variant, stdio_spec("fix")) as manager:
        call = asyncio.create_task(manager.call_tool("fix__sleep", {"ms": 250}))
        await manager.call_tool("fix__echo", {"text": "the sleeper was sent before me"})
        await manager.maintenance("fix", drain_s=5)
        assert call.done(), "drained means that nothing is in flight"
        assert (await call).text == "slept"


async def test_the_drain_takes_no_longer_than_told(variant: str) -> None:
    async with manager_of(variant, stdio_spec("fix")) as manager:
        call = asyncio.create_task(manager.call_tool("fix__sleep", {"ms": 600}))
        await manager.call_tool("fix__echo", {"text": "the sleeper was sent before me"})
        async with asyncio.timeout(0.5):
            await manager.maintenance("fix", drain_s=0.05)
        assert not call.done()
        assert (await call).text == "slept", "a drain that is over cuts nothing off"


async def test_lists_of_all_leave_it_out(variant: str) -> None:
    async with manager_of(variant, stdio_spec("one"), stdio_spec("two")) as manager:
        await manager.maintenance("one")
        assert {item.server for item in await manager.list_tools()} == {"two"}
        assert [info.name for info in manager.servers(state=ServerState.MAINTENANCE)] == ["one"]
        await manager.maintenance("one", on=False)
        assert {item.server for item in await manager.list_tools()} == {"one", "two"}


async def test_health_does_not_end_it(variant: str, fresh_http: Callable[..., HttpServer]) -> None:
    server = fresh_http(era="modern")
    async with manager_of(variant, http_spec(server)) as manager:
        await manager.maintenance("fix")
        assert await manager.health() == {"fix": ServerState.MAINTENANCE}
        server.kill()
        assert await manager.health() == {"fix": ServerState.MAINTENANCE}
        assert (await manager.maintenance("fix", on=False)).state is ServerState.UNHEALTHY, "it went down meanwhile"


async def test_it_can_be_said_twice_and_needs_a_server(variant: str) -> None:
    async with manager_of(variant, stdio_spec("fix")) as manager:
        await manager.maintenance("fix", on=False)
        assert (await manager.call_tool("fix__echo", {"text": "never was in"})).text == "never was in"
        await manager.maintenance("fix")
        assert (await manager.maintenance("fix")).state is ServerState.MAINTENANCE
        with pytest.raises(ServerNotFound, match="ghost"):
            await manager.maintenance("ghost")
        await manager.unregister("fix")


async def test_events_tell_of_both_ends(variant: str) -> None:
    async with manager_of(variant, stdio_spec("fix")) as manager:
        stream = manager.events()
        await manager.maintenance("fix")
        await manager.maintenance("fix", on=False)
        async with asyncio.timeout(5):
            changes = [await anext(stream), await anext(stream)]
        states = [(event.kind, event.server, event.old, event.new) for event in changes]
        assert states == [("state", "fix", "healthy", "maintenance"), ("state", "fix", "maintenance", "healthy")]


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_gateway_clients_are_told_at_once(
    variant: str, transport: str, era: str, shared_http: Callable[..., HttpServer]
) -> None:
    spec = stdio_spec("fix", era=era) if transport == "stdio" else http_spec(shared_http(era=era), "fix")
    async with serving(variant, spec) as served, served.client(era) as client:
        assert await client.text("fix__echo", text="before") == "before"
        await served.manager.maintenance("fix")
        error = await client.error("tools/call", {"name": "fix__echo", "arguments": {}})
        assert (error["data"]["code"], error["data"]["recovery"]) == ("server_unavailable", "failover")
        assert (await client.result("tools/list"))["tools"] == []
        await served.manager.maintenance("fix", on=False)
        assert await client.text("fix__echo", text="after") == "after"
