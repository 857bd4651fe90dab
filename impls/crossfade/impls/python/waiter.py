"""Owns the contract between a pool's shell and whoever queues for a connection."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from crossfade.impls.errors import CrossfadeError


class Connection(Protocol):
    """One open conversation, HTTP or stdio."""

    def close(self) -> None:
        """End it now. Whoever waits on it fails."""

    def expire(self, now_ns: int) -> None:
        """Fail what is past its deadline."""

    def rest(self, now_ns: int) -> None:
        """It opened and nobody uses it yet: by the time somebody does, it may be stale."""


class Waiter(Protocol):
    """Whoever queues for a connection. One of the two is called, once, possibly before ``queue`` has returned."""

    def granted(self, conn: Any) -> None:
        """The lease is the waiter's own from now on."""

    def rejected(self, error: CrossfadeError) -> None:
        """There will be no lease."""


class FutureWaiter:
    """A waiter that is a coroutine. ``conn`` is set with the grant, so that a cancelled one can give it back."""

    __slots__ = ("conn", "future")

    def __init__(self) -> None:
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.conn: Any = None

    def granted(self, conn: Any) -> None:
        self.conn = conn
        if not self.future.done():
            self.future.set_result(conn)

    def rejected(self, error: CrossfadeError) -> None:
        if not self.future.done():
            self.future.set_exception(error)
