"""Nothing outlives the manager: children, their children, descriptors, threads."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from collections.abc import Callable

import pytest
from tests.contract.kit import (
    HttpServer,
    children_of,
    eventually,
    http_spec,
    is_alive,
    manager_of,
    open_fds,
    stdio_spec,
)

from crossfade.impls.errors import CrossfadeError


async def test_children_run_in_their_own_process_group(variant: str) -> None:
    """So that a Ctrl-C meant for us does not reach them, and a signal for them reaches all of theirs."""
    async with manager_of(variant, stdio_spec("fix")) as manager:
        pid = manager.get("fix").instances[0].pid
        assert pid is not None
        assert os.getpgid(pid) == pid
        assert os.getpgid(pid) != os.getpgid(0)
    assert not is_alive(pid)


@pytest.mark.parametrize("leave", ["close", "unregister", "crash"])
@pytest.mark.relay_hazard("grandchildren behind npx and uvx wrappers survive")
async def test_grandchildren_go_with_their_parent(variant: str, leave: str) -> None:
    async with manager_of(variant, stdio_spec("fix")) as manager:
        grandchild = int((await manager.call_tool("fix__spawn", {})).text)
        assert is_alive(grandchild)
        if leave == "unregister":
            await manager.unregister("fix", drain_s=1)
        elif leave == "crash":
            with pytest.raises(CrossfadeError):
                await manager.call_tool("fix__crash", {})
    eventually(lambda: not is_alive(grandchild), what=f"the end of grandchild {grandchild}")


async def test_a_child_that_ignores_stdin_and_sigterm_is_killed(variant: str) -> None:
    async with manager_of(variant, stdio_spec("fix")) as manager:
        pid = manager.get("fix").instances[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)  # a stopped process reacts to nothing but SIGKILL
        began = time.monotonic()
    assert not is_alive(pid)
    assert time.monotonic() - began < 15


async def test_closing_is_quick_when_children_are_well_behaved(variant: str) -> None:
    specs = [stdio_spec(f"s{number}") for number in range(4)]
    async with manager_of(variant, *specs) as manager:
        assert len(manager.servers(state=manager.get("s0").state)) == 4
        began = time.monotonic()
    assert time.monotonic() - began < 2, "children are closed one after the other, or waited for in vain"


async def test_descriptors_and_children_do_not_grow_over_cycles(
    variant: str, shared_http: Callable[..., HttpServer]
) -> None:
    server = shared_http(era="modern")

    async def cycle() -> None:
        async with manager_of(variant, stdio_spec("fix"), http_spec(server, "web")) as manager:
            await asyncio.gather(*(manager.call_tool("fix__echo", {"text": "a"}) for _ in range(8)))
            await asyncio.gather(*(manager.call_tool("web__echo", {"text": "a"}) for _ in range(8)))
            with pytest.raises(CrossfadeError):
                await manager.call_tool("fix__crash", {})
            gateway = await manager.serve(port=0)
            _, writer = await asyncio.open_connection(gateway.host, gateway.port)
            writer.close()
            await writer.wait_closed()

    await cycle()  # the runtime, its poller and the loop's own descriptors come once
    gc.collect()
    before, children = open_fds(), children_of()
    for _ in range(3):
        await cycle()
    gc.collect()
    await asyncio.sleep(0)
    left = {fd: what for fd, what in open_fds().items() if fd not in before}
    assert len(open_fds()) <= len(before), f"left open: {left}"
    assert children_of() == children


async def test_no_descriptor_of_ours_leaks_into_a_child(variant: str) -> None:
    """A child that holds another's pipe, or our listener, keeps it from ever being closed."""
    before = set(open_fds().values())
    async with manager_of(variant, stdio_spec("a"), stdio_spec("b")) as manager:
        assert (await manager.serve(port=0)).port > 0
        for name in "ab":
            held = open_fds(manager.get(name).instances[0].pid or 0)
            own = {held[0], held[1], held[2], "/dev/null"}  # uvloop leaves a child copies of its own three
            assert set(held.values()) - own - before == set()
