"""Stopping: cancel, throw, close and loops that end, at every point of an await; the work on tokio always ends too."""

from __future__ import annotations

import asyncio
import gc
import time
import warnings
from collections.abc import Callable
from typing import Any

import crossfade_native as native
import pytest
from tests.native.conftest import Run, nothing_runs, until


async def started(kind: str = "never") -> asyncio.Task[bytes]:
    """A task whose work has reached tokio."""
    task = asyncio.ensure_future(native.bridge_probe(kind))
    await asyncio.sleep(0)
    if kind == "never":
        await until(lambda: native.bridge_probes_running() > 0)
    return task


def test_cancelled_before_it_starts(run: Run) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(native.bridge_probe("never"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_cancelled_while_it_runs(run: Run) -> None:
    async def main() -> None:
        task = await started()
        task.cancel("because")
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    nothing_runs()


def test_cancelled_between_completion_and_wake_up(run: Run) -> None:
    async def main() -> None:
        task = await started("echo")
        time.sleep(0.02)  # noqa: ASYNC251 -- the loop must not run while tokio completes
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await native.bridge_probe("echo", b"next") == b"next"

    run(main())


def test_cancelled_from_another_coroutine_that_the_same_burst_woke(run: Run) -> None:
    async def main() -> None:
        victims: list[asyncio.Task[bytes]] = []

        async def killer() -> None:
            await native.bridge_probe("echo")
            for victim in victims:
                victim.cancel()

        first = asyncio.ensure_future(killer())
        victims += [asyncio.ensure_future(native.bridge_probe("echo")) for _ in range(20)]
        await asyncio.sleep(0)
        time.sleep(0.02)  # noqa: ASYNC251 -- so that all completions come in one burst
        await first
        ends = await asyncio.gather(*victims, return_exceptions=True)
        assert all(end == b"" or isinstance(end, asyncio.CancelledError) for end in ends)

    run(main())


def test_cancelled_at_every_step_of_many_awaits(run: Run) -> None:
    async def work() -> None:
        while True:
            await native.bridge_probe("echo")
            await native.bridge_probe("sleep")
            await native.bridge_probe("known")

    async def main() -> None:
        for steps in range(60):
            task = asyncio.ensure_future(work())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main())
    nothing_runs()


def test_a_cancellation_that_is_swallowed_does_not_spoil_the_next_await(run: Run) -> None:
    async def stubborn() -> bytes:
        try:
            await native.bridge_probe("never")
        except asyncio.CancelledError:
            return await native.bridge_probe("echo", b"still here")
        raise AssertionError

    async def main() -> None:
        task = asyncio.ensure_future(stubborn())
        await until(lambda: native.bridge_probes_running() > 0)
        task.cancel()
        assert await task == b"still here"

    run(main())


def test_timeouts_groups_and_shields(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await native.bridge_probe("never")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(native.bridge_probe("never"), 0.01)

        async def grouped() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(native.bridge_probe("never"))
                group.create_task(native.bridge_probe("circuit_open", b"stop the group"))

        with pytest.raises(ExceptionGroup):
            await grouped()
        inner = asyncio.ensure_future(native.bridge_probe("sleep", b"kept"))
        outer = asyncio.ensure_future(asyncio.shield(inner))
        await asyncio.sleep(0)
        outer.cancel()
        assert await inner == b"kept"

    run(main())
    nothing_runs()


@pytest.mark.parametrize("when", ["new", "running", "finished"])
def test_throw_raises_here_and_stops_the_work(run: Run, when: str) -> None:
    async def main() -> None:
        for arguments in ((ValueError("x"),), (ValueError,), (ValueError, "x"), (ValueError, ValueError("x"), None)):
            probe: Any = native.bridge_probe("never" if when != "finished" else "known")
            if when == "running":
                probe.send(None)
            elif when == "finished":
                with pytest.raises(StopIteration):
                    probe.send(None)
            with pytest.raises(ValueError):  # noqa: PT011 -- both with and without its text
                probe.throw(*arguments)
            with pytest.raises(RuntimeError, match="already awaited"):
                probe.send(None)

    run(main())
    nothing_runs()


@pytest.mark.parametrize("when", ["new", "running", "finished"])
def test_close_stops_the_work(run: Run, when: str) -> None:
    async def main() -> None:
        probe = native.bridge_probe("never" if when != "finished" else "known")
        if when == "running":
            probe.send(None)
        elif when == "finished":
            with pytest.raises(StopIteration):
                probe.send(None)
        probe.close()
        probe.close()
        with pytest.raises(RuntimeError, match="already awaited"):
            await probe

    run(main())
    nothing_runs()


def test_closing_an_outer_coroutine_closes_the_inner_one(run: Run) -> None:
    async def outer() -> None:
        await native.bridge_probe("never")

    async def main() -> None:
        coroutine = outer()
        coroutine.send(None)
        coroutine.close()

    run(main())
    nothing_runs()


def test_dropping_a_running_coroutine_stops_the_work(run: Run) -> None:
    async def main() -> None:
        probe = native.bridge_probe("never")
        probe.send(None)
        del probe
        gc.collect()
        nothing_runs()

    run(main())


def test_awaiting_twice_is_told(run: Run) -> None:
    async def main() -> None:
        probe = native.bridge_probe("echo")
        await probe
        with pytest.raises(RuntimeError, match="already awaited"):
            await probe

    run(main())


def test_resuming_too_early_is_told_and_loses_nothing(run: Run) -> None:
    async def main() -> None:
        probe = native.bridge_probe("sleep", b"x")
        waiter = probe.send(None)
        with pytest.raises(RuntimeError, match="before its work was done"):
            probe.send(None)
        await until(waiter.done)
        with pytest.raises(StopIteration) as caught:
            probe.send(None)
        assert caught.value.value == b"x"

    run(main())


def test_a_coroutine_that_was_never_awaited_is_told() -> None:
    with pytest.warns(RuntimeWarning, match="'bridge_probe' was never awaited"):
        native.bridge_probe("echo")


def test_no_running_loop_is_told() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        native.bridge_probe("echo").send(None)


def test_a_first_value_is_refused() -> None:
    probe: Any = native.bridge_probe("known")
    with pytest.raises(TypeError, match="just-started"):
        probe.send(1)
    probe.close()


def test_a_loop_closed_with_work_pending_is_forgotten(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def leave() -> list[asyncio.Task[bytes]]:
        return [await started("never"), await started("sleep"), await started("echo")]

    loop = new_loop()
    loop.set_exception_handler(lambda _loop, _context: None)  # tasks destroyed while pending, on purpose
    tasks = loop.run_until_complete(leave())
    loop.close()
    time.sleep(0.01)  # completions come for a loop that is closed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        del tasks
        asyncio.run(asyncio.wait_for(native.bridge_probe("echo"), 5))  # the next loop sweeps
        nothing_runs()
        del loop
        gc.collect()
