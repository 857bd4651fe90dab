"""Awaiting: values and errors arrive, once, at the right caller, on every kind of loop and from every kind of task."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import threading
import time
import weakref
from typing import Any

import crossfade_native as native
import pytest
from tests.native.conftest import Run, nothing_runs, until

from crossfade.impls.errors import CircuitOpen, CrossfadeError


def test_a_value_crosses_both_ways(run: Run) -> None:
    async def main() -> None:
        assert await native.bridge_probe("echo", b"\x00payload") == b"\x00payload"
        assert await native.bridge_probe("sleep", b"") == b""
        assert await native.bridge_probe("known", b"at once") == b"at once"

    run(main())


def test_a_thousand_at_once_are_not_cross_wired(run: Run) -> None:
    async def main() -> None:
        kinds = ("echo", "sleep", "known")
        probes = [native.bridge_probe(kinds[n % 3], str(n).encode()) for n in range(1000)]
        assert await asyncio.gather(*probes) == [str(n).encode() for n in range(1000)]

    run(main())


def test_reused_tickets_do_not_reach_a_stranger(run: Run) -> None:
    async def main() -> None:
        for _ in range(200):
            given_up = asyncio.ensure_future(native.bridge_probe("echo", b"given up"))
            await asyncio.sleep(0)
            given_up.cancel()  # its completion is under way, its slot is free for the next
            assert await native.bridge_probe("echo", b"mine") == b"mine"

    run(main())


def test_an_error_is_raised_once_with_one_traceback(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(CircuitOpen, match="words") as caught:
            await native.bridge_probe("circuit_open", b"words", server="s")
        assert caught.value.server == "s"
        assert caught.value.__context__ is None
        assert caught.value.__cause__ is None

    run(main())


@pytest.mark.filterwarnings("ignore")
def test_a_panic_is_one_lost_request_and_not_a_lost_process(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        probes = [native.bridge_probe("panic"), native.bridge_probe("echo", b"fine")]
        panicked, fine = await asyncio.gather(*probes, return_exceptions=True)
        assert type(panicked) is CrossfadeError
        assert "asked to panic" in str(panicked)
        assert fine == b"fine"

    run(main())
    assert "asked to panic" in capfd.readouterr().err


def test_nothing_starts_before_it_is_awaited(run: Run) -> None:
    async def main() -> None:
        probe = native.bridge_probe("never")
        await asyncio.sleep(0.01)
        assert native.bridge_probes_running() == 0
        probe.close()

    run(main())


def test_what_is_known_never_reaches_the_loop(run: Run) -> None:
    probe = native.bridge_probe("known", b"x")
    with pytest.raises(StopIteration) as caught:
        probe.send(None)
    assert caught.value.value == b"x"


def test_the_context_of_the_task_survives_the_await(run: Run) -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name")

    async def one(mine: str) -> None:
        name.set(mine)
        await native.bridge_probe("sleep")
        assert name.get() == mine
        name.set(mine * 2)
        await native.bridge_probe("echo")
        assert name.get() == mine * 2

    async def main() -> None:
        await asyncio.gather(*(one(str(n)) for n in range(50)))
        assert name.get("unset") == "unset"

    run(main())


def test_python_tasks_are_served_as_well_as_c_tasks(run: Run) -> None:
    async def main() -> None:
        tasks: Any = asyncio.tasks
        loop = asyncio.get_running_loop()
        task = tasks._PyTask(native.bridge_probe("sleep", b"py"), loop=loop)
        assert await task == b"py"
        given_up = tasks._PyTask(native.bridge_probe("never"), loop=loop)
        await asyncio.sleep(0.01)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_eager_tasks(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        eager: Any = asyncio.Task
        tasks = [eager(native.bridge_probe("sleep", b"e"), loop=loop, eager_start=True) for _ in range(10)]
        assert await asyncio.gather(*tasks) == [b"e"] * 10
        assert eager(native.bridge_probe("known", b"k"), loop=loop, eager_start=True).result() == b"k"

    run(main())


def test_loops_in_several_threads_do_not_meet(run: Run) -> None:
    async def many(mine: bytes) -> None:
        for _ in range(100):
            assert await asyncio.gather(*(native.bridge_probe("echo", mine) for _ in range(10))) == [mine] * 10

    failures: list[BaseException] = []

    def in_thread(mine: bytes) -> None:
        try:
            run(many(mine))
        except BaseException as failure:  # noqa: BLE001 -- carried to the test's own thread
            failures.append(failure)

    threads = [threading.Thread(target=in_thread, args=(str(n).encode(),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_tokio_goes_on_while_python_holds_the_interpreter() -> None:
    """A slow callback must not stall the gateway: completions need no interpreter."""

    async def main() -> None:
        task = asyncio.ensure_future(native.bridge_probe("sleep"))
        await until(lambda: native.bridge_probes_running() > 0 or task.done())
        interval = sys.getswitchinterval()
        sys.setswitchinterval(60)
        try:
            end = time.perf_counter() + 10
            while native.bridge_probes_running() and time.perf_counter() < end:
                pass
            assert native.bridge_probes_running() == 0
        finally:
            sys.setswitchinterval(interval)
        await task

    asyncio.run(main())


def test_nothing_is_kept_after_an_await(run: Run) -> None:
    async def main() -> None:
        probe = native.bridge_probe("echo", b"x")
        waiter = weakref.ref(probe.send(None))
        await until(lambda: waiter().done())  # type: ignore[union-attr]
        with pytest.raises(StopIteration):
            probe.send(None)
        gc.collect()
        assert waiter() is None

    run(main())
    nothing_runs()
