"""Owns a race of two copies of one request: the first answer wins, the other copy is cancelled.

Rule: a failure loses against a copy that still runs; an error that the server answered with is an answer. Whoever does
not win, and both if the caller is cancelled, is cancelled and gives back what it had: connection, slot, probe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from time import monotonic_ns
from typing import Any

from crossfade.impls.errors import CrossfadeError, RemoteError

Copy = Callable[[], Coroutine[Any, Any, bytes]]


class Outcome:
    """Who won: its result, how long it took by itself, and whether it was the second."""

    __slots__ = ("second", "took_ns", "value")

    def __init__(self, value: bytes, took_ns: int, second: bool) -> None:
        self.value = value
        self.took_ns = took_ns
        self.second = second


async def race(first: Copy, second: Copy, delay_ns: int, may_start: Callable[[], bool]) -> Outcome:
    """Run ``first``; if it has not ended after ``delay_ns`` and ``may_start`` agrees, ``second`` beside it.

    Raises what ``first`` failed with if nobody wins. A ``second`` that fails is never heard of.
    """
    loop = asyncio.get_running_loop()
    started = [monotonic_ns()]
    runners = [loop.create_task(first())]
    try:
        done, _ = await asyncio.wait(runners, timeout=delay_ns / 1e9)
        if not done and may_start():
            started.append(monotonic_ns())
            runners.append(loop.create_task(second()))
        while True:
            for index, runner in enumerate(runners):
                if runner.done() and (not _failed(runner) or len(runners) == 1):
                    return Outcome(runner.result(), monotonic_ns() - started[index], index == 1)
            running = [runner for runner in runners if not runner.done()]
            if not running:
                return Outcome(runners[0].result(), 0, False)
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for runner in runners:
            if not runner.done():
                runner.add_done_callback(_look)
                runner.cancel()
            else:
                _look(runner)


def _failed(runner: asyncio.Task[bytes]) -> bool:
    """Whether it ended without an answer."""
    if runner.cancelled():
        return True
    error = runner.exception()
    return isinstance(error, CrossfadeError) and not isinstance(error, RemoteError)


def _look(runner: asyncio.Task[bytes]) -> None:
    """Nobody else will look at its exception, and asyncio would complain."""
    if not runner.cancelled():
        runner.exception()
