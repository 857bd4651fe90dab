"""Drives a coroutine by hand, so that it can be cancelled at its k-th suspension and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any


class CancelAt:
    """Awaits ``work`` and throws CancelledError into it at suspension number ``k`` (from 0).

    ``reached`` tells whether the work suspended that often; if it did not, its result is returned.
    """

    def __init__(self, work: Coroutine[Any, Any, Any], k: int) -> None:
        self._work = work
        self._k = k
        self.reached = False

    def __await__(self) -> Generator[Any, Any, Any]:
        failure: Exception | None = None
        step = 0
        while True:
            try:
                waited_for = self._work.send(None) if failure is None else self._work.throw(failure)
            except StopIteration as stop:
                return stop.value
            failure = None
            if step == self._k:
                self.reached = True
                if waited_for is not None:
                    # What Task.cancel does: the future is cancelled first, unless it is a shielded or a settled one.
                    waited_for._asyncio_future_blocking = False
                    waited_for.cancel()
                try:
                    waited_for = self._work.throw(asyncio.CancelledError())
                except (StopIteration, asyncio.CancelledError):
                    return None
            step += 1
            try:
                yield waited_for
            except Exception as error:  # noqa: BLE001  what was waited for has failed; the work is to know
                failure = error
