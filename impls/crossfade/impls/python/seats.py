"""Owns the bounded number of dedicated sessions with one instance, and those that wait between two calls.

A modern client has no session: one of its calls leases a seat, with what it declared, and the next one of the same
principal that declares the same may find it again. Rules: a seat is one call's at a time and never another principal's;
whoever waits is served in order, or fails with PoolTimeout; a seat that nobody wants for a while is ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic_ns
from typing import TYPE_CHECKING, NamedTuple

from crossfade.impls.errors import CrossfadeError, ManagerClosed, PoolTimeout

if TYPE_CHECKING:
    from crossfade.impls.python.dedicated import Dedicated
    from crossfade.impls.python.instance import Instance


class Wish(NamedTuple):
    """What a modern call needs: a session of its principal's, opened with ``hello``, that logs from ``level`` on."""

    principal: str
    hello: bytes
    level: str | None


class _Idle:
    """A seat between two calls."""

    __slots__ = ("seat", "timer", "wish")

    def __init__(self, wish: Wish, seat: Dedicated, timer: asyncio.TimerHandle) -> None:
        self.wish = wish
        self.seat = seat
        self.timer = timer


class Seats:
    """The dedicated sessions of one instance."""

    __slots__ = ("_children", "_closed", "_idle", "_instance", "_taken", "_waiting")

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._children = instance.spec.transport == "stdio"
        self._taken = 0
        self._idle: list[_Idle] = []
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False

    # -- places

    async def enter(self, deadline_ns: int) -> None:
        """Take one of the places. Raises PoolTimeout, ManagerClosed."""
        server, spec = self._instance.server, self._instance.spec
        if self._closed:
            raise self._over()
        if self._idle and self._taken >= spec.dedicated.max:
            self._evict(self._idle[0])
        if self._taken < spec.dedicated.max and not self._waiting:
            self._taken += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        wait_ns = min(deadline_ns - monotonic_ns(), server.acquire_timeout_ns)
        try:
            async with asyncio.timeout(max(wait_ns, 0) / 1e9):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.leave()  # it was given to us meanwhile
            elif place in self._waiting:
                self._waiting.remove(place)
            if isinstance(error, TimeoutError):
                raise PoolTimeout(
                    f"server {spec.name!r}: {spec.dedicated.max} sessions of one client each are open already; "
                    "call again later, or raise dedicated.max",
                    server=spec.name,
                ) from None
            raise

    def leave(self) -> None:
        """Give a place back; the next who waits has it."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._taken -= 1

    # -- seats of modern callers

    async def lease(self, wish: Wish, deadline_ns: int) -> Dedicated | None:
        """A seat for one call, or None for a place to open one; ``give_back`` it. A child takes its place itself."""
        for idle in reversed(self._idle):
            if idle.wish[:2] == wish[:2]:
                self._idle.remove(idle)
                idle.timer.cancel()
                return idle.seat
        if not self._children:
            await self.enter(deadline_ns)
        return None

    def give_back(self, wish: Wish, seat: Dedicated) -> None:
        """The call is over; the seat waits for the next, unless it never became a session or somebody waits."""
        idle_s = self._instance.spec.dedicated.idle_ms / 1000
        if self._closed or self._waiting or not idle_s or self._instance not in seat or self._instance.retired:
            self._end(seat)
            return
        timer = asyncio.get_running_loop().call_later(idle_s, self._late, seat)
        self._idle.append(_Idle(wish, seat, timer))

    def _late(self, seat: Dedicated) -> None:
        for idle in self._idle:
            if idle.seat is seat:
                self._evict(idle)
                return

    def _evict(self, idle: _Idle) -> None:
        self._idle.remove(idle)
        idle.timer.cancel()
        self._end(idle.seat)

    def _end(self, seat: Dedicated) -> None:
        """A child gives its place back when it is gone."""
        seat.end()
        if not self._children:
            self.leave()

    def close(self) -> None:
        """The instance goes."""
        self._closed = True
        for idle in list(self._idle):
            self._evict(idle)
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_exception(self._over())
                place.exception()

    def _over(self) -> CrossfadeError:
        name = self._instance.spec.name
        return ManagerClosed(f"server {name!r} is being removed; call another one", server=name)
