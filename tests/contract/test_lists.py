"""Lists of several servers: none delays or breaks the others, who is missing is said, and the order stays."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.contract.clients import serving
from tests.contract.kit import manager_of, stdio_spec

from crossfade.impls import Manager, ServerSpec
from crossfade.impls.errors import ProtocolViolation, ServerStartError, ServerTimeout

PARTIAL = "io.crossfade/partial"
DEAD = ServerSpec(name="dead", command="/nonexistent/mcp-server")


@contextmanager
def hanging(manager: Manager, name: str) -> Iterator[None]:
    """The server's process reads nothing for as long as this lasts."""
    pid = manager.get(name).instances[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.relay_hazard("fan-out of lists is sequential")
async def test_servers_that_hang_or_are_dead_do_not_keep_the_others_lists(variant: str) -> None:
    specs = [stdio_spec("b"), stdio_spec("slow", timeout_ms=500), DEAD, stdio_spec("a", era="modern")]
    async with manager_of(variant, *specs) as manager:
        with hanging(manager, "slow"):
            started = time.monotonic()
            tools, prompts = await asyncio.gather(manager.list_tools(), manager.list_prompts())
            assert time.monotonic() - started < 4
            assert list(dict.fromkeys(item.server for item in tools)) == ["b", "a"], "not in order of registration"
            assert [item.server for item in prompts] == ["b", "a"]
            with pytest.raises(ServerTimeout, match="slow"):
                await manager.list_tools("slow")
            with pytest.raises(ServerStartError, match="dead"):
                await manager.list_tools("dead")
        assert {item.server for item in await manager.list_resources()} == {"a", "b", "slow"}


@pytest.mark.timeout(30)
@pytest.mark.relay_hazard("fan-out of lists has no deadline per server")
async def test_a_patient_timeout_does_not_hold_up_a_list_of_all(variant: str) -> None:
    async with manager_of(variant, stdio_spec("slow", timeout_ms=600_000), stdio_spec("well")) as manager:
        with hanging(manager, "slow"):
            async with asyncio.timeout(10):
                assert [item.server for item in await manager.list_prompts()] == ["well"]


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_the_gateway_says_who_is_missing(variant: str, era: str) -> None:
    specs = [stdio_spec("slow", timeout_ms=500), DEAD, stdio_spec("well")]
    async with serving(variant, *specs) as served, served.client(era) as client:
        for method, key in (("tools/list", "tools"), ("resources/templates/list", "resourceTemplates")):
            with hanging(served.manager, "slow"):
                part = await client.result(method)
            assert part["_meta"] == {PARTIAL: ["slow", "dead"]}
            assert part[key]
        await served.manager.unregister("dead")
        whole = await client.result("prompts/list")
        assert "_meta" not in whole
        assert [prompt["name"] for prompt in whole["prompts"]] == ["slow__greet", "well__greet"]


async def names(manager: Manager, server: str) -> list[str]:
    """The tools of one server, by their own names."""
    return [item.name.removeprefix(f"{server}__") for item in await manager.list_tools(server)]


async def test_an_empty_cursor_is_a_cursor_to_a_modern_server(variant: str) -> None:
    """2026-07-28, server/utilities/pagination: it must not be treated as the end of results."""
    plain, empty = stdio_spec("plain", era="modern"), stdio_spec("empty", era="modern", env={"FIXTURE_CURSOR": ""})
    async with manager_of(variant, plain, empty) as manager:
        wanted = await names(manager, "plain")
        assert await names(manager, "empty") == wanted
        assert len(wanted) > 1


async def test_an_empty_cursor_of_a_legacy_server_ends_its_list(variant: str) -> None:
    ends = {"FIXTURE_LAST": '{"nextCursor": ""}'}
    async with manager_of(variant, stdio_spec("plain"), stdio_spec("ends", env=ends)) as manager:
        wanted = await names(manager, "plain")
        assert await names(manager, "ends") == wanted


async def test_a_cursor_that_is_no_string_is_named(variant: str) -> None:
    async with manager_of(variant, stdio_spec("odd", env={"FIXTURE_LAST": '{"nextCursor": 7}'})) as manager:
        with pytest.raises(ProtocolViolation, match="odd"):
            await manager.list_tools("odd")
