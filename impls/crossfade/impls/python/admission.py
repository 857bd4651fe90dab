"""Owns what may refuse a request before anybody works on it: maintenance, rate limits, load shedding, in this order.

Rule: it is synchronous and says no at once, so that it stands on the hot path too; a server that has none of the three
passes by without a look at it. A request is asked for once, however many attempts it becomes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from crossfade.impls.cores import RateLimitConfig
from crossfade.impls.errors import LoadShed, RateLimited, ServerUnavailable
from crossfade.impls.python.matching import Globs, key_of

if TYPE_CHECKING:
    from crossfade.impls.config import RateLimitSpec
    from crossfade.impls.cores import Cores, GcraCore, KeyedLimiterCore
    from crossfade.impls.python.server import Server

_MS = 1_000_000


class _Limit:
    """One of ``ServerSpec.rate_limits``. ``key`` is whom it counts; None: all together."""

    __slots__ = ("_all", "_each", "_globs", "_key", "spec")

    def __init__(self, spec: RateLimitSpec, cores: Cores) -> None:
        self.spec = spec
        self._globs = Globs(spec.tools)
        self._key = spec.key
        config = RateLimitConfig.from_spec(spec)
        self._all: GcraCore | None = cores.gcra(config) if spec.key == "server" else None
        self._each: KeyedLimiterCore | None = None if spec.key == "server" else cores.keyed_limiter(config)

    def counts(self, tool: str | None) -> bool:
        """Whether a request is its business: a call of a tool that it names, or any request if it names none. What
        is counted by tool needs one.
        """
        if tool is None:
            return self._key != "tool" and not self._globs
        return not self._globs or self._globs.matches(tool)

    def wait_ns(self, now_ns: int, tool: str | None, principal: str, *, take: bool) -> int:
        """How long until it admits, 0 now; ``take`` it then."""
        if self._all is not None:
            return self._all.admit(now_ns) if take else self._all.peek(now_ns)
        assert self._each is not None  # noqa: S101  one of the two
        key = key_of(principal if self._key == "principal" or tool is None else tool)
        return self._each.admit(now_ns, key) if take else self._each.peek(now_ns, key)


class Admission:
    """The refusals of one server."""

    __slots__ = ("_limits", "_server")

    def __init__(self, server: Server, limits: Iterable[RateLimitSpec]) -> None:
        self._server = server
        self._limits = tuple(_Limit(spec, server.cores) for spec in limits)

    @property
    def idle(self) -> bool:
        """Whether it can say nothing but yes."""
        return not (self._server.maintenance or self._limits or self._server.load)

    def check(self, now_ns: int, tool: str | None, principal: str | None) -> None:
        """Admit one request; ``tool`` is the server's own name of the tool called, None for anything else.
        ``principal`` None is the manager itself.

        Raises ServerUnavailable, RateLimited, LoadShed.
        """
        server = self._server
        name = server.spec.name
        if server.maintenance:
            server.stats.rejected += 1
            raise ServerUnavailable(
                f"server {name!r} is in maintenance; call another one, or end the maintenance", server=name
            )
        if principal is None:
            return
        if self._limits:
            self._check_limits(now_ns, tool, principal)
        load = server.load
        if load is not None and not load.admits(now_ns):
            server.stats.rejected += 1
            server.stats.shed += 1
            raise LoadShed(
                f"server {name!r} is not called: {load.in_flight} requests are under way in this manager, or they wait "
                "too long for a connection; call again later, or raise shed.maxInFlight or shed.targetMs",
                server=name,
            )

    def _check_limits(self, now_ns: int, tool: str | None, principal: str) -> None:
        """All limits or none: what one refuses has used up nothing of the others."""
        limits = [limit for limit in self._limits if limit.counts(tool)]
        take = len(limits) == 1
        for limit in limits:
            wait_ns = limit.wait_ns(now_ns, tool, principal, take=take)
            if wait_ns:
                raise self._too_fast(limit.spec, wait_ns)
        if not take:
            for limit in limits:
                limit.wait_ns(now_ns, tool, principal, take=True)

    def _too_fast(self, spec: RateLimitSpec, wait_ns: int) -> RateLimited:
        server = self._server
        server.stats.rejected += 1
        server.stats.rate_limited += 1
        wait_ms = -(-wait_ns // _MS)
        whose = "" if spec.key == "server" else f" per {spec.key}"
        return RateLimited(
            f"server {server.spec.name!r}: the limit of {spec.requests} requests in {spec.per_ms} ms{whose} is used "
            f"up; call again in {wait_ms} ms, or raise rateLimits",
            server=server.spec.name,
            retry_after_ms=wait_ms,
        )
