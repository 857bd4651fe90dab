"""Owns the word that a server is back which was missing in a list: whoever got that list is told that it has changed.

Rules: it is back when it can be listed again. Whoever lists it finds that out; else it is tried, later and later, and
at once when its state says that it serves. Nobody listening, nothing tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from crossfade.impls.errors import ConfigError, CrossfadeError, RateLimited
from crossfade.impls.python import listing

if TYPE_CHECKING:
    from crossfade.impls.python.catalog import Catalog
    from crossfade.impls.python.server import Server

_STABLE_NS: Final = 10_000_000_000
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 30.0
_NOT_AWAY: Final = (ConfigError, RateLimited)
"""What leaves a server out of a list though it is there: trying it would say that it is back, again and again."""


class Returning:
    """The lists that one server is missing in, by their methods."""

    __slots__ = ("_closed", "_missing", "_pause_s", "_returned_ns", "_server", "_task", "_woken")

    def __init__(self, server: Server) -> None:
        self._server = server
        self._missing: dict[str, Catalog] = {}
        self._task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._pause_s = _FIRST_PAUSE_S
        self._returned_ns = 0
        self._closed = False

    def missed(self, method: str, catalog: Catalog, error: CrossfadeError) -> None:
        """Somebody got a list without the server."""
        if not isinstance(error, _NOT_AWAY):
            self._missing[method] = catalog
            self.poke()

    def found(self, method: str) -> None:
        """The server has been listed."""
        if self._missing.pop(method, None) is not None:
            self._returned_ns = monotonic_ns()
            self.poke()
            self._server.changed(listing.CAPABILITY[method])

    def poke(self) -> None:
        """There is something to be told, or somebody to tell it to; or no longer."""
        if not self._missing or not self._server.notices.wanted or self._closed:
            task, self._task = self._task, None
            if task is not None:
                task.cancel()
        elif self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def wake(self) -> None:
        """The server seems to be back."""
        self._woken.set()

    def close(self) -> None:
        """The server goes: nothing is tried any more."""
        self._closed = True
        self.poke()

    async def _run(self) -> None:
        if monotonic_ns() - self._returned_ns > _STABLE_NS:  # one that comes and goes is told of ever more rarely
            self._pause_s = _FIRST_PAUSE_S
        while self._missing:
            self._woken.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s * random.uniform(0.5, 1)):  # noqa: S311  no secret
                    await self._woken.wait()
            self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
            await asyncio.gather(*(self._try(method, catalog) for method, catalog in self._missing.items()))
        self._task = None

    async def _try(self, method: str, catalog: Catalog) -> None:
        try:
            await listing.read(catalog, self._server, method, within_ms=listing.patience_ms(self._server))
        except _NOT_AWAY:
            self._missing.pop(method, None)
        except CrossfadeError:
            return  # still away; the server's counters have it
