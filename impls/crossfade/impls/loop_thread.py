"""An event loop in a thread of its own, for callers that have none: work goes in, its result comes out, blocking.

Rule: work ends when its caller does. Ctrl-C in a blocked call cancels it in the loop.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from crossfade.impls.errors import ManagerClosed

_T = TypeVar("_T")


class LoopThread:
    """A running loop. ``run`` may be called from any thread but its own."""

    def __init__(self) -> None:
        self._loop = _new_loop()
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._loop.run_forever, name="crossfade", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do it in the loop and wait. Raises what it raises, or ManagerClosed where it could never end."""
        try:
            self._check()
        except ManagerClosed:
            work.close()
            raise
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def look(self, at: Callable[[], _T]) -> _T:
        """For what does not wait: the interface is used from its loop only."""

        async def work() -> _T:
            return at()

        return self.run(work())

    def stop(self) -> None:
        """End loop and thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _check(self) -> None:
        if os.getpid() != self._pid:
            raise ManagerClosed("the manager was opened before a fork, and its thread is not here; open one after it")
        if threading.current_thread() is self._thread:
            raise ManagerClosed("called from the manager's own loop, which would wait for itself; use another thread")


def _new_loop() -> asyncio.AbstractEventLoop:
    # uvloop as `crossfade serve` does: whoever has no loop of their own has no reason to want the slower one.
    if importlib.util.find_spec("uvloop") is not None:
        loop: asyncio.AbstractEventLoop = importlib.import_module("uvloop").new_event_loop()
        return loop
    return asyncio.new_event_loop()
