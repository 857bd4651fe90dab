"""Owns the way of one request through a server: admission, the attempt, and another one where that is safe.

Rule: a request is admitted once and ends by its one deadline. It goes to an instance that the breaker admits, and on
to another one if that could not be connected to, because then nothing was sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from crossfade.impls.errors import ServerStartError, ServerTimeout
from crossfade.impls.python.admission import Admission
from crossfade.impls.python.jsonrpc import encode
from crossfade.impls.python.matching import key_of
from crossfade.impls.python.translate import HOP_KEYS, modern_meta
from crossfade.impls.python.updating import Use, let_in
from crossfade.impls.snapshots import Era

if TYPE_CHECKING:
    from crossfade.impls.config import ServerSpec
    from crossfade.impls.python.instance import Headers, Instance, Sessions
    from crossfade.impls.python.server import Server


def encode_params(era: Era, fields: Mapping[str, object], meta: Mapping[str, Any] | None) -> bytes:
    """Params with the ``_meta`` that the era of the server asks for; ``meta`` is the caller's, whatever its own era."""
    if era == "modern":
        return encode({**fields, "_meta": modern_meta(meta)})
    if meta:
        meta = {key: value for key, value in meta.items() if key not in HOP_KEYS}
    return encode({**fields, "_meta": meta} if meta else fields)


class Ticket:
    """What a request has behind it, for whoever carries on: the relay hands over to the long way with it.

    ``tried`` are the instances it was sent to.
    """

    __slots__ = ("admitted", "deadline_ns", "tried")

    def __init__(self, deadline_ns: int = 0) -> None:
        self.deadline_ns = deadline_ns
        self.admitted = False
        self.tried: list[Instance] = []


class _Ask:
    """One request, as each of its attempts sends it."""

    __slots__ = ("deadline_ns", "extra", "fields", "key", "meta", "method", "name", "sessions", "tried")

    def __init__(
        self,
        method: str,
        fields: Mapping[str, object],
        *,
        meta: Mapping[str, Any] | None,
        name: str | None,
        sessions: Sessions | None,
        extra: Headers,
        key: int,
        ticket: Ticket,
    ) -> None:
        self.method = method
        self.fields = fields
        self.meta = meta
        self.name = name
        self.sessions = sessions
        self.extra = extra
        self.key = key
        self.deadline_ns = ticket.deadline_ns
        self.tried = ticket.tried


class Calls:
    """The requests of one server. ``plain`` says that nothing but breaker and balancer stands before a tool call, so
    that the hot path has one thing to look at.
    """

    __slots__ = ("_server", "_spec", "affinity", "gate", "plain")

    def __init__(self, server: Server) -> None:
        self._server = server
        self._spec: ServerSpec | None = None
        self.adopt(server.spec)

    def adopt(self, spec: ServerSpec) -> None:
        """Go by another specification. Limits that it leaves as they were keep their count."""
        old, self._spec = self._spec, spec
        if old is None or old.rate_limits != spec.rate_limits:
            self.gate = Admission(self._server, spec.rate_limits)
        self.affinity = spec.affinity if spec.balancer == "rendezvous" else None
        self.gate_changed()

    def gate_changed(self) -> None:
        """Maintenance began or ended."""
        self.plain = self.gate.idle and self.affinity is None

    def admit(self, tool: str | None, principal: str | None) -> None:
        """Let one request in, or raise ServerUnavailable, RateLimited or LoadShed. ``tool`` is the server's own name.

        Without a ``principal`` it is the manager's own, which nothing but maintenance stops.
        """
        if not self.plain:
            self.gate.check(monotonic_ns(), tool, principal)

    def key(self, session: str | None, principal: str, tool: str | None) -> int:
        """What affinity goes by; a caller without a session is told by its principal."""
        if self.affinity is None:
            return 0
        if self.affinity == "tool":
            return key_of(tool or "")
        return key_of(principal if self.affinity == "principal" or session is None else session)

    # -- one request

    async def request(
        self,
        method: str,
        fields: Mapping[str, object],
        *,
        timeout_s: float | None = None,
        meta: Mapping[str, Any] | None = None,
        name: str | None = None,
        sessions: Sessions | None = None,
        extra: Headers = (),
        key: int = 0,
        ticket: Ticket | None = None,
    ) -> bytes:
        """One request that was admitted, answered with the JSON of ``result``.

        ``name`` is the upstream's name or URI for Mcp-Name, ``extra`` further headers. ``sessions`` holds the caller's
        own sessions with legacy servers, by instance; None is the manager's own. ``key`` is for affinity.
        """
        ticket = ticket or Ticket()
        if not ticket.deadline_ns:
            timeout_ns = self._server.timeout_ns if timeout_s is None else int(timeout_s * 1e9)
            ticket.deadline_ns = monotonic_ns() + timeout_ns
        ask = _Ask(method, fields, meta=meta, name=name, sessions=sessions, extra=extra, key=key, ticket=ticket)
        answer = await self._attempt(ask)
        if self._server.shadow is not None:
            self._server.shadow.copy(method, fields, meta, name, answer)
        return answer

    # -- one attempt

    async def _attempt(self, ask: _Ask) -> bytes:
        server = self._server
        if server.held is not None:
            await let_in(server, ask.deadline_ns)
        now = monotonic_ns()
        instance: Instance | None = self._own(now, ask) or server.choose(now, ask.tried, ask.key)
        unreachable: list[Instance] = []
        while True:
            assert instance is not None  # noqa: S101  checked below
            try:
                with Use(instance):
                    return await self._send(instance, ask, now)
            except ServerStartError:
                unreachable.append(instance)
                if server.held is not None:
                    await let_in(server, ask.deadline_ns)
                now = monotonic_ns()
                instance = server.pick(now, unreachable, ask.key)
                if instance is None:
                    raise

    async def _send(self, instance: Instance, ask: _Ask, now_ns: int) -> bytes:
        """Send to an instance whose breaker has admitted it."""
        ask.tried.append(instance)
        peer = instance.peer
        if peer is None:
            try:
                async with asyncio.timeout((ask.deadline_ns - now_ns) / 1e9):
                    peer = await instance.ready()
            except BaseException as error:
                instance.breaker.forget(monotonic_ns(), monotonic_ns() - now_ns)
                if isinstance(error, TimeoutError):
                    name = self._server.spec.name
                    raise ServerTimeout(
                        f"server {name!r} is still starting at the end of the request's time; raise the timeout, or "
                        f"start it before it is called (lazy: false){instance.words()}",
                        server=name,
                    ) from None
                raise
        params = encode_params(peer.era, ask.fields, ask.meta)
        return await instance.request(
            ask.method, params, ask.deadline_ns, name=ask.name, sessions=ask.sessions, extra=ask.extra
        )

    def _own(self, now_ns: int, ask: _Ask) -> Instance | None:
        """The instance that the caller has a session with already, unless it has just failed."""
        for instance in ask.sessions or ():
            if instance.server is not self._server or instance.retired or instance in ask.tried:
                continue
            if instance.breaker.admit(now_ns):
                return instance
        return None
