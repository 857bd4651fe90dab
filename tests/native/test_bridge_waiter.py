"""The Future-shaped object itself: what asyncio's tasks ask of it, and callbacks that fail."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import crossfade_native as native
import pytest
from tests.native.conftest import Run, nothing_runs, until


def test_it_looks_like_a_future_to_asyncio(run: Run) -> None:
    async def main() -> None:
        probe: Any = native.bridge_probe("sleep")
        waiter = probe.send(None)
        assert asyncio.isfuture(waiter)
        assert not asyncio.isfuture(probe)
        assert asyncio.iscoroutine(probe)
        assert waiter._asyncio_future_blocking is True
        assert waiter.get_loop() is asyncio.get_running_loop()
        with pytest.raises(asyncio.InvalidStateError):
            waiter.result()
        with pytest.raises(asyncio.InvalidStateError):
            waiter.exception()
        assert "pending" in repr(waiter)
        await until(waiter.done)
        assert waiter.result() is None
        assert waiter.exception() is None
        assert not waiter.cancelled()
        assert not waiter.cancel()
        assert "finished" in repr(waiter)
        probe.close()

    run(main())


def test_callbacks_run_in_order_and_in_their_own_context(run: Run) -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="none")
    seen: list[str] = []

    def note(_waiter: object) -> None:
        seen.append(name.get())

    async def main() -> None:
        probe = native.bridge_probe("sleep")
        waiter: Any = probe.send(None)
        for value in "abc":
            context = contextvars.copy_context()
            context.run(name.set, value)
            waiter.add_done_callback(note, context=context)
        waiter.add_done_callback(print)
        assert waiter.remove_done_callback(print) == 1
        assert waiter.remove_done_callback(print) == 0
        await until(waiter.done)
        assert seen == ["a", "b", "c"]
        waiter.add_done_callback(note)
        assert seen == ["a", "b", "c"], "a callback of something done is called by the loop, not by us"
        await asyncio.sleep(0)
        assert seen == ["a", "b", "c", "none"]
        probe.close()

    run(main())


def test_cancelling_it_calls_back_by_way_of_the_loop(run: Run) -> None:
    async def main() -> None:
        probe = native.bridge_probe("never")
        waiter: Any = probe.send(None)
        seen: list[Any] = []
        waiter.add_done_callback(seen.append)
        assert waiter.cancel(msg="why")
        assert not waiter.cancel()
        assert waiter.cancelled()
        assert seen == []
        await asyncio.sleep(0)
        assert seen == [waiter]
        with pytest.raises(asyncio.CancelledError, match="why"):
            waiter.result()
        with pytest.raises(asyncio.CancelledError):
            probe.send(None)

    run(main())
    nothing_runs()


def test_a_failing_callback_is_told_to_the_loop_and_stops_nobody(run: Run) -> None:
    async def main() -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
        probe = native.bridge_probe("echo")
        waiter: Any = probe.send(None)
        error = ValueError("in a callback")

        def fail(_waiter: object) -> None:
            raise error

        waiter.add_done_callback(fail)
        assert await asyncio.gather(*(native.bridge_probe("echo", b"x") for _ in range(50))) == [b"x"] * 50
        await until(waiter.done)
        assert [context["exception"] for context in told] == [error]
        probe.close()

    run(main())


def test_an_interrupt_in_a_callback_gets_out_and_loses_nobody(new_loop: Any) -> None:
    loop = new_loop()
    tasks: list[asyncio.Task[bytes]] = []

    def interrupt(_waiter: object) -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        probe = native.bridge_probe("echo")
        waiter: Any = probe.send(None)
        waiter.add_done_callback(interrupt)
        tasks.extend(asyncio.ensure_future(native.bridge_probe("echo", b"x")) for _ in range(50))
        await asyncio.sleep(30)

    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(main())
    ends = loop.run_until_complete(asyncio.wait_for(asyncio.gather(*tasks), 5))
    assert ends == [b"x"] * 50
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
