"""Owns what is answered without asking again: answers that a server declared fresh, and requests under way already.

Rules (2026-07-28 server/utilities/caching): an answer is shared by all only if its server said ``public``, else it is
the principal's own; what was asked in a client's own session, with a progress token or as a further round is nobody
else's. A change that the server tells of drops what is kept, and what was asked before it is not kept. One request in
flight serves everybody who asks the same: a caller that gives up takes nobody along, the last one takes the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from crossfade.impls.cores.cache import Cache, CacheConfig
from crossfade.impls.errors import ServerTimeout
from crossfade.impls.python.fresh import Kept, canonical, hints, token
from crossfade.impls.python.jsonrpc import LISTS

if TYPE_CHECKING:
    from crossfade.impls.config import CacheSpec
    from crossfade.impls.python.dedicated import Dedicated
    from crossfade.impls.python.server import Server

READS: Final = frozenset({*LISTS, "resources/read", "prompts/get"})
_DROPS: Final = {
    "tools": ("tools/list",),
    "prompts": ("prompts/list", "prompts/get"),
    "resources": ("resources/list", "resources/templates/list", "resources/read"),
}
"""What a changed list may make wrong."""
_OVERHEAD: Final = 256
"""Bytes that an entry costs besides key and answer, about."""


class Key(NamedTuple):
    """What was asked, and on whose behalf; None is for answers that are everybody's."""

    method: str
    params: bytes
    principal: str | None


class _Flight:
    """A request under way and how many wait for it. ``own`` turns out with the answer: the first caller's."""

    __slots__ = ("deadline_ns", "own", "task", "waiting")

    def __init__(self, deadline_ns: int) -> None:
        self.deadline_ns = deadline_ns
        self.waiting = 0
        self.own = False
        self.task: asyncio.Task[bytes]


class Reads:
    """The reads of one server."""

    __slots__ = ("_cache", "_changes", "_flights", "_server", "_spec")

    def __init__(self, server: Server) -> None:
        self._server = server
        self._changes = 0
        self._flights: dict[Key, _Flight] = {}
        self.adopt(server.spec.cache)

    def adopt(self, spec: CacheSpec) -> None:
        """Go by another specification, or serve other instances: nothing of what was kept is sure any more."""
        self._spec = spec
        self._cache: Cache[Key, Kept] = Cache(CacheConfig.from_spec(spec))
        self._changes += 1
        self._flights.clear()  # they serve those who wait, and nobody new

    def key(
        self,
        method: str,
        fields: Mapping[str, object],
        meta: Mapping[str, Any] | None,
        principal: str | None,
        sessions: Dedicated | None,
    ) -> Key | None:
        """What the request is known by, or None if its answer is the caller's alone."""
        if method not in READS or not (self._spec.enabled or self._spec.coalesce):
            return None
        server = self._server
        if server.candidate is not None:  # two revisions answer, and both are to be seen at it
            return None
        if sessions is not None and server.spec.transport == "http" and server.peer and server.peer.era == "legacy":
            return None
        params = canonical(fields, meta)
        return None if params is None else Key(method, params, principal or "anonymous")

    async def answer(self, key: Key, deadline_ns: int, load: Callable[[], Awaitable[bytes]]) -> bytes:
        """The answer: kept, of a request under way, or of a new one. Raises what ``load`` raises."""
        now = monotonic_ns()
        stats = self._server.stats
        if self._spec.enabled:
            kept = self._cache.get(now, key._replace(principal=None)) or self._cache.get(now, key)
            if kept is not None:
                stats.cache_hits += 1
                return kept.aged(now)
        flight = self._flights.get(key) if self._spec.coalesce else None
        # One that is nearly over would fail callers that have time left.
        if flight is not None and (flight.deadline_ns - now) * 2 >= deadline_ns - now:
            stats.coalesced += 1
            raw = await self._wait(key, flight, deadline_ns)
            if not flight.own:
                return raw
        stats.cache_misses += 1
        if not self._spec.coalesce:
            changes = self._changes
            raw = await load()
            self._keep(key, raw, changes)
            return raw
        flight = _Flight(deadline_ns)
        self._flights[key] = flight
        flight.task = asyncio.get_running_loop().create_task(self._fly(key, flight, load))
        return await self._wait(key, flight, deadline_ns)

    async def _fly(self, key: Key, flight: _Flight, load: Callable[[], Awaitable[bytes]]) -> bytes:
        changes = self._changes
        try:
            raw = await load()
        finally:
            self._land(key, flight)
        flight.own = not self._keep(key, raw, changes)
        return raw

    async def _wait(self, key: Key, flight: _Flight, deadline_ns: int) -> bytes:
        flight.waiting += 1
        early = deadline_ns < flight.deadline_ns
        try:
            async with asyncio.timeout((deadline_ns - monotonic_ns()) / 1e9 if early else None):
                return await asyncio.shield(flight.task)
        except TimeoutError:
            name = self._server.spec.name
            raise ServerTimeout(
                f"server {name!r} did not answer {key.method} in time; look at it, or raise the timeout", server=name
            ) from None
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._land(key, flight)
                flight.task.cancel()

    def _land(self, key: Key, flight: _Flight) -> None:
        """Nobody can join any more."""
        if self._flights.get(key) is flight:
            del self._flights[key]

    def _keep(self, key: Key, raw: bytes, changes: int) -> bool:
        """Keep an answer for as long as its server allows. False if it is the first caller's own: a further round."""
        found = hints(raw)
        if not found.complete:
            return False
        ttl_ms = found.ttl_ms
        if ttl_ms is None:
            ttl_ms = 0 if key.method == "prompts/get" else self._spec.default_ttl_ms
        if self._spec.enabled and ttl_ms > 0 and changes == self._changes:
            now = monotonic_ns()
            kept = Kept(raw, found.span, ttl_ms, now)
            if found.public:
                key = key._replace(principal=None)
            self._cache.put(now, key, kept, len(raw) + len(key.params) + _OVERHEAD, ttl_ms * 1_000_000)
        return True

    # -- what the server tells

    def changed(self, what: str) -> None:
        """A list changed: ``tools``, ``prompts`` or ``resources``."""
        self._drop(lambda key: key.method in _DROPS.get(what, ()))

    def updated(self, uri: str | None) -> None:
        """The content of a resource changed; None: of some resource."""
        named = b"" if uri is None else token(uri)
        self._drop(lambda key: key.method == "resources/read" and named in key.params)

    def _drop(self, which: Callable[[Key], bool]) -> None:
        self._changes += 1
        for key in filter(which, self._cache.keys()):
            self._cache.remove(key)
        for key in list(filter(which, self._flights)):
            del self._flights[key]
