"""A child whose start is given up: no process, no descriptor and no unclosed pipe is left, wherever that was."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from tests.contract.kit import children_of, open_fds, until

from crossfade.impls import ServerSpec
from crossfade.impls.python.child import Child

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
SPEC = ServerSpec(name="s", command=sys.executable, args=("-c", "import sys; sys.stdin.read()"))


class Deaf:
    """Nobody who would want to know."""

    def stdout_received(self, data: bytes) -> None: ...
    def stderr_received(self, data: bytes) -> None: ...
    def stdout_ended(self) -> None: ...
    def exited(self, returncode: int) -> None: ...


def held() -> tuple[dict[int, str], list[int]]:
    """Descriptors and children (of shared fixtures, too)."""
    return open_fds(), children_of()


async def nothing_is_left(before: tuple[dict[int, str], list[int]]) -> None:
    """Once the loop has closed what it closes in later turns."""
    gc.collect()  # An unclosed pipe complains here, and the run takes that for a failure.
    await until(lambda: held() == before, what=f"{held()} to be {before} again")


@pytest.mark.parametrize("loop", LOOPS)
def test_a_start_that_is_cancelled_leaves_nothing(loop: str) -> None:
    """At every turn of the loop, and once after it has come up."""

    async def cancelled_after(turns: int) -> bool:
        before = held()
        starting = asyncio.ensure_future(Child.start(SPEC, Deaf()))
        for _ in range(turns):
            await asyncio.sleep(0)
        came_up = starting.done()
        starting.cancel()
        if came_up:
            starting.result().kill()
        else:
            with pytest.raises(asyncio.CancelledError):
                await starting
        del starting
        await nothing_is_left(before)
        return came_up

    async def everywhere() -> int:
        # The first one is apart: libuv opens /dev/null with its first pipe, and keeps it.
        (await Child.start(SPEC, Deaf())).kill()
        await asyncio.sleep(0.2)
        for turns in range(1, 30):
            if await cancelled_after(turns):
                return turns
        raise AssertionError("the child never came up")

    factory: Callable[[], asyncio.AbstractEventLoop] = LOOPS[loop]
    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(everywhere()) > 3


class Refusing(asyncio.SelectorEventLoop):
    """Has no descriptor left for a pipe that is read."""

    async def connect_read_pipe(self, protocol_factory: Any, pipe: Any) -> Any:
        pipe.close()  # as a transport that was half made does
        raise OSError(24, "Too many open files")


def test_a_start_that_fails_half_way_leaves_nothing() -> None:
    async def failing() -> None:
        before = held()
        with pytest.raises(OSError, match="Too many open files"):
            await Child.start(SPEC, Deaf())
        await nothing_is_left(before)

    with asyncio.Runner(loop_factory=Refusing) as runner:
        runner.run(failing())
