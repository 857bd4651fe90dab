"""Supervision of children: they come back with backoff, not for ever, and whatever happens leaves nobody behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.contract.kit import ROOT, children_of, eventually, is_alive, manager_of, open_fds, stdio_spec, until

from crossfade.impls import Manager, RestartSpec, ServerSpec, ServerState
from crossfade.impls.errors import CrashLoop, CrossfadeError, ServerCrashed

QUICK = RestartSpec(base_ms=20, cap_ms=100, max_restarts=3, window_ms=60_000)
TINY = Path(__file__).parent / "servers" / "tiny.sh"


def tiny(name: str, **more: Any) -> ServerSpec:
    """A server that starts within a millisecond."""
    return ServerSpec(**{"name": name, "command": "/bin/sh", "args": (str(TINY),), "era": "legacy", **more})


def pid_of(manager: Manager, name: str = "fix") -> int | None:
    return manager.get(name).instances[0].pid


async def crash(manager: Manager, name: str = "fix") -> None:
    """Kill the child and wait until that is known."""
    pid = pid_of(manager, name)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: pid_of(manager, name) != pid, what="the news of the end")


async def restarted(manager: Manager, name: str = "fix", times: int = 1) -> None:
    """Until it has come back so often; a pid alone may be of a child that only starts."""
    await until(lambda: manager.get(name).instances[0].restarts == times, what="the restart")


async def test_a_child_that_ended_comes_back_without_a_call(variant: str) -> None:
    async with manager_of(variant, stdio_spec("fix", restart=QUICK)) as manager:
        events = manager.events()
        old = pid_of(manager)
        await crash(manager)
        await until(lambda: manager.get("fix").state is ServerState.HEALTHY, what="the restart")
        new = pid_of(manager)
        assert new not in (old, None)
        assert manager.get("fix").instances[0].restarts == 1
        assert manager.metrics().servers["fix"]["restarts"] == 1
        async for event in events:
            if event.kind == "restart":
                assert (event.server, event.old, event.new) == ("fix", str(old), str(new))
                break


async def test_a_lazy_child_comes_back_on_its_next_use(variant: str) -> None:
    async with manager_of(variant, tiny("fix", restart=QUICK, lazy=True), tiny("eager", restart=QUICK)) as manager:
        await manager.health("fix")
        await crash(manager)
        await crash(manager, "eager")
        await restarted(manager, "eager")
        assert pid_of(manager) is None
        await manager.health("fix")
        assert pid_of(manager) is not None


async def test_a_call_during_the_backoff_waits_for_the_restart(variant: str) -> None:
    spec = stdio_spec("fix", restart=RestartSpec(base_ms=400, cap_ms=400))
    async with manager_of(variant, spec) as manager:
        with pytest.raises(ServerCrashed):
            await manager.call_tool("fix__crash", {})
        began = time.monotonic()
        assert (await manager.call_tool("fix__echo", {"text": "back"})).text == "back"
        assert time.monotonic() - began > 0.1, "no backoff"


async def test_a_crash_loop_ends_in_refusals_until_somebody_asks_on_purpose(variant: str) -> None:
    async with manager_of(variant, stdio_spec("fix", restart=QUICK)) as manager:
        for restarts in range(1, QUICK.max_restarts + 1):
            await crash(manager)
            await restarted(manager, times=restarts)
        await crash(manager)
        await until(lambda: manager.get("fix").state is ServerState.UNHEALTHY, what="the verdict")
        for _ in range(2):
            with pytest.raises(CrashLoop) as caught:
                await manager.call_tool("fix__echo", {})
            assert caught.value.server == "fix"
            assert "3 times within 60000 ms" in caught.value.message
        assert pid_of(manager) is None
        assert "CrashLoop" not in (manager.get("fix").last_error or "")
        assert (await manager.health("fix"))["fix"] is ServerState.HEALTHY
        assert (await manager.call_tool("fix__echo", {"text": "fine"})).text == "fine"


async def test_an_update_ends_a_crash_loop(variant: str) -> None:
    spec = tiny("fix", restart=RestartSpec(base_ms=1, cap_ms=1, max_restarts=1))
    async with manager_of(variant, spec) as manager:
        await crash(manager)
        await restarted(manager)
        await crash(manager)
        await until(lambda: manager.get("fix").state is ServerState.UNHEALTHY, what="the verdict")
        assert (await manager.update(tiny("fix"))).state == "running"
        assert manager.get("fix").state is ServerState.HEALTHY


async def test_a_loop_of_one_instance_leaves_the_calls_to_the_others(variant: str) -> None:
    spec = stdio_spec("fix", instances=2, restart=RestartSpec(base_ms=1, cap_ms=1, max_restarts=1))
    async with manager_of(variant, spec) as manager:
        await crash(manager)
        await restarted(manager)
        await crash(manager)
        await until(lambda: manager.get("fix").state is ServerState.DEGRADED, what="the verdict")
        texts = [(await manager.call_tool("fix__echo", {"text": str(n)})).text for n in range(10)]
        assert texts == [str(n) for n in range(10)]


async def test_who_does_not_want_restarts_gets_them_on_use_only(variant: str) -> None:
    spec = tiny("fix", restart=RestartSpec(enabled=False))
    async with manager_of(variant, spec, tiny("other", restart=QUICK)) as manager:
        await crash(manager)
        await crash(manager, "other")
        await restarted(manager, "other")
        assert pid_of(manager) is None
        await manager.health("fix")
        assert pid_of(manager) is not None


async def test_nobody_comes_back_after_unregister(variant: str) -> None:
    before = children_of()
    async with manager_of(
        variant, tiny("fix", restart=RestartSpec(base_ms=30, cap_ms=30)), tiny("clock", restart=QUICK)
    ) as manager:
        await crash(manager)
        await manager.unregister("fix", drain_s=0)
        await crash(manager, "clock")  # its restart is later than the one that must not be
        await restarted(manager, "clock")
        assert len(children_of()) == len(before) + 1


@pytest.mark.timeout(120)
@pytest.mark.relay_hazard("children accumulate")
async def test_500_cycles_leave_no_process_and_no_descriptor(variant: str) -> None:
    async with manager_of(variant) as manager:

        async def cycle(number: int) -> None:
            await manager.register(tiny(f"s{number}"))
            await manager.unregister(f"s{number}", drain_s=0)

        await asyncio.gather(*(cycle(number) for number in range(10)))
        gc.collect()
        children, before = children_of(), open_fds()
        for _ in range(50):
            await asyncio.gather(*(cycle(number) for number in range(10)))
        gc.collect()
        left = {fd: what for fd, what in open_fds().items() if fd not in before}
        assert len(open_fds()) <= len(before), f"left open: {left}"
        assert children_of() == children


async def test_a_flood_on_stderr_is_drained_and_logged_within_a_limit(
    variant: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="crossfade.server.fix")
    async with manager_of(variant, stdio_spec("fix")) as manager:
        assert (await manager.call_tool("fix__flood", {"bytes": 500_000})).text == "flooded"
        assert (await manager.call_tool("fix__echo", {"text": "alive"})).text == "alive"
    lines = [r.getMessage() for r in caplog.records if r.name == "crossfade.server.fix"]
    said = [line for line in lines if line == "stderr noise"]
    dropped = [line for line in lines if "dropped" in line]
    assert 0 < len(said) <= 1000
    assert dropped
    told = sum(int(line.split()[0]) for line in dropped)
    assert len(said) + told == 500_000 // 13


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="PR_SET_PDEATHSIG is Linux's")
async def test_a_child_that_ignores_everything_dies_with_a_killed_manager(variant: str) -> None:
    """No goodbye, no closed stdin that it would notice: the kernel ends it."""
    async with doomed(variant, str(TINY), "deaf") as child:
        assert children_of(child) == []
    await asyncio.to_thread(eventually, lambda: not is_alive(child), what="the end of the child")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="PR_SET_PDEATHSIG is Linux's")
async def test_a_server_behind_a_wrapper_ends_with_a_killed_manager(variant: str) -> None:
    """The kernel ends the wrapper alone, as ``npx`` is one; the server below it sees its pipes close."""
    async with doomed(variant, "-c", '/bin/sh "$1"; exit $?', "wrapper", str(TINY)) as child:
        (server,) = children_of(child)
        assert children_of(server) == []
    await asyncio.to_thread(eventually, lambda: not (is_alive(child) or is_alive(server)), what="the end of both")


@asynccontextmanager
async def doomed(variant: str, *args: str) -> AsyncIterator[int]:
    """The pid of a shell with ``args`` that is the child of a manager of its own, which is killed at the end."""
    program = (
        "import asyncio\n"
        "from crossfade.impls import Config, ServerSpec, open_manager\n"
        "async def main():\n"
        f"    spec = ServerSpec(name='fix', command='/bin/sh', args={args!r}, era='legacy')\n"
        f"    async with open_manager(Config(servers=(spec,)), {variant!r}) as manager:\n"
        "        print(manager.get('fix').instances[0].pid, flush=True)\n"
        "        await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        pid = int(await process.stdout.readline())
        assert is_alive(pid)
        yield pid
    finally:
        process.kill()
        await process.wait()


async def test_a_child_that_never_starts_is_not_started_for_ever(variant: str, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    spec = ServerSpec(
        name="bad",
        command="/bin/sh",
        args=("-c", f"echo started >> {starts}; exit 3"),
        era="legacy",
        lazy=True,
        restart=RestartSpec(base_ms=1, cap_ms=1, max_restarts=3),
    )
    async with manager_of(variant, spec) as manager:
        errors: list[BaseException] = []
        for _ in range(10):
            errors += await asyncio.gather(manager.call_tool("bad__x", {}), return_exceptions=True)  # type: ignore[arg-type]
        assert all(isinstance(error, CrossfadeError) for error in errors)
        assert isinstance(errors[-1], CrashLoop)
        assert len(starts.read_text().splitlines()) == 4
