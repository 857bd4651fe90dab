"""Owns the places of a server's bulkhead: who has one, who queues for one, and who gets the next.

Rule: a place that was given is given back exactly once, and one that was granted to somebody who left goes to the next
in the queue, at whichever await the leaver was cancelled.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from time import monotonic_ns
from typing import TYPE_CHECKING

from crossfade.impls.cores import Action, BulkheadConfig, Grant, Reject
from crossfade.impls.errors import BulkheadFull, CrossfadeError, ManagerClosed

if TYPE_CHECKING:
    from crossfade.impls.config import BulkheadSpec
    from crossfade.impls.python.server import Server

_ids = itertools.count(1)


class Place:
    """A place with the server. ``leave`` may be called by whoever comes first; the second call does nothing."""

    __slots__ = ("_places",)

    def __init__(self, places: Places) -> None:
        self._places: Places | None = places

    def leave(self) -> None:
        """Give it back."""
        places, self._places = self._places, None
        if places is not None:
            places.left()


class Places:
    """The bulkhead of one server, with the callers that queue."""

    __slots__ = ("_core", "_due_ns", "_queue", "_server", "_spec", "_timer")

    def __init__(self, server: Server, spec: BulkheadSpec) -> None:
        self._server = server
        self._spec = spec
        self._core = server.cores.bulkhead(BulkheadConfig.from_spec(spec))
        self._queue: dict[int, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due_ns = 0

    def adopt(self, spec: BulkheadSpec) -> None:
        """Other bounds from now on; who is in or waits loses nothing."""
        self._spec = spec
        self._perform(self._core.resize(monotonic_ns(), spec.max_in_flight, spec.max_queue))

    def try_enter(self) -> Place | None:
        """A place if one is free and nobody queues for it."""
        if not self._core.try_acquire():
            return None
        load = self._server.load
        if load is not None:
            load.waited(monotonic_ns(), 0)
        return Place(self)

    async def enter(self, deadline_ns: int) -> Place:
        """A place, at the latest at ``deadline_ns`` or when the queue's time is over. Raises BulkheadFull."""
        load = self._server.load
        if self._core.try_acquire():
            if load is not None:
                load.waited(monotonic_ns(), 0)
            return Place(self)
        server = self._server
        now = monotonic_ns()
        waiter = next(_ids)
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue[waiter] = granted
        deadline_ns = min(deadline_ns, now + self._spec.queue_timeout_ms * 1_000_000)
        self._perform(self._core.acquire(now, waiter, deadline_ns))
        if not granted.done():
            server.stats.queued += 1
            self._arm()
        try:
            await granted
        except asyncio.CancelledError:
            self._queue.pop(waiter, None)
            self._perform(self._core.cancel(monotonic_ns(), waiter))
            if granted.done() and not granted.cancelled():
                granted.exception()  # retrieved: nobody else will look at it
            raise
        finally:
            if load is not None:
                ended = monotonic_ns()
                load.waited(ended, ended - now)
        self._core.take(waiter)
        return Place(self)

    def left(self) -> None:
        """A place is free again."""
        self._perform(self._core.release(monotonic_ns()))

    def close(self) -> None:
        """The server ends: so does the queue."""
        self._perform(self._core.drain(monotonic_ns()))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _perform(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Grant | Reject):
                granted = self._queue.pop(action.waiter, None)
                if granted is None or granted.done():
                    continue
                if isinstance(action, Reject):
                    granted.set_exception(self._refusal(action.reason))
                else:
                    granted.set_result(None)

    def _refusal(self, reason: str) -> CrossfadeError:
        server = self._server
        spec = self._spec
        server.stats.rejected += 1
        if reason == "draining":
            name = server.spec.name
            return ManagerClosed(f"server {name!r} is being removed; call another one", server=name)
        if reason == "queue_full":
            why = f"{spec.max_in_flight} requests are with it and {spec.max_queue} wait already"
        else:
            why = f"no place of {spec.max_in_flight} became free within {spec.queue_timeout_ms} ms"
        return BulkheadFull(
            f"server {server.spec.name!r}: {why}; slow down, or raise bulkhead.maxInFlight or bulkhead.maxQueue",
            server=server.spec.name,
        )

    # -- time

    def _arm(self) -> None:
        """One timer for the earliest deadline of the queue."""
        due_ns = self._core.next_deadline_ns()
        if due_ns is None or (self._timer is not None and self._due_ns <= due_ns):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due_ns = due_ns
        # A little late, because a timer of the loop may come a little early.
        delay_s = max(due_ns - monotonic_ns(), 0) / 1e9 + 0.001
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._overdue)

    def _overdue(self) -> None:
        self._timer = None
        self._perform(self._core.tick(monotonic_ns()))
        self._arm()
