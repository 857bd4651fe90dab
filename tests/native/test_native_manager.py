"""The native manager under its wrapper: what the contract suite, which knows no variant, cannot ask."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import crossfade_native as native
import pytest
from tests.contract.kit import eventually, is_alive, stdio_spec

from crossfade.impls import Config, Manager, open_manager
from crossfade.impls.errors import ConfigError, ManagerClosed

CONFIG = Config().to_json()


def child_of(manager: Manager) -> int:
    pid = manager.get("fix").instances[0].pid
    assert pid is not None
    return pid


async def test_a_manager_that_nobody_closed_reaps_its_children() -> None:
    manager = open_manager(Config(servers=(stdio_spec("fix"),)), "rust")
    await manager.__aenter__()
    pid = child_of(manager)
    assert is_alive(pid)
    del manager
    gc.collect()
    eventually(lambda: not is_alive(pid), what=f"the end of child {pid}")


async def test_entering_that_is_cancelled_leaves_no_child() -> None:
    manager: Any = open_manager(Config(servers=(stdio_spec("fix", start="silent"),)), "rust")
    entering = asyncio.ensure_future(manager.__aenter__())
    await asyncio.sleep(0.05)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    with pytest.raises(ManagerClosed):
        manager.servers()


async def test_leaving_that_is_cancelled_still_closes() -> None:
    manager: Any = open_manager(Config(servers=(stdio_spec("fix"),)), "rust")
    await manager.__aenter__()
    pid = child_of(manager)
    call = asyncio.ensure_future(manager.call_tool("fix__never", {}))
    await manager.call_tool("fix__echo", {})
    leaving = asyncio.ensure_future(manager.__aexit__(None, None, None))
    await asyncio.sleep(0.05)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    del manager, call, leaving
    gc.collect()
    eventually(lambda: not is_alive(pid), within_s=12, what=f"the end of child {pid}")


async def test_two_managers_share_a_process_and_nothing_else() -> None:
    async with (
        open_manager(Config(servers=(stdio_spec("fix"),)), "rust") as one,
        open_manager(Config(servers=(stdio_spec("fix"),)), "rust") as two,
    ):
        assert child_of(one) != child_of(two)
        await one.unregister("fix")
        assert (await two.call_tool("fix__echo", {"text": "mine"})).text == "mine"


async def test_events_count_from_the_call_and_not_from_the_first_read() -> None:
    async with open_manager(Config(), "rust") as manager:
        events = manager.events()
        await manager.register(stdio_spec("fix", lazy=True))
        assert (await anext(events)).kind == "registered"


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_a_duration_that_makes_no_sense_is_told(seconds: float) -> None:
    manager = native.Manager(CONFIG)
    for call in (
        lambda: manager.request("tools/call", b"{}", None, seconds),
        lambda: manager.health(None, seconds),
        lambda: manager.close(seconds),
        lambda: manager.unregister("x", seconds),
    ):
        with pytest.raises(ValueError, match="0 or more"):
            call()


def test_what_cannot_be_listed_is_told() -> None:
    kind: Any = "servers"
    with pytest.raises(ValueError, match="servers"):
        native.Manager(CONFIG).list(kind)


@pytest.mark.parametrize("config", [b"", b"1", b'{"servers":[{"nme":1}]}', b'{"unknown":1}'])
def test_a_configuration_that_is_not_ours_names_what_it_is(config: bytes) -> None:
    with pytest.raises(ConfigError, match=r"configuration: .*; pass"):
        native.Manager(config)


async def test_a_specification_that_is_not_ours_names_what_it_is() -> None:
    with pytest.raises(ConfigError, match=r"server specification: .*; pass"):
        await native.Manager(CONFIG).register(b'{"nme":1}')
