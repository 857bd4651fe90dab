"""Owns the way of one request through a server: admission, bulkhead, attempts, and what is done when one fails.

Rule: a request is admitted once, has one place in the bulkhead however many attempts it becomes, and ends by its one
deadline. An attempt goes to an instance that the breaker admits, and on to another one if that could not be connected
to, because then nothing was sent. More than that gets only what is safe to repeat (``repeating``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from crossfade.impls.cores import HedgeConfig
from crossfade.impls.errors import CrossfadeError, ServerStartError, ServerTimeout
from crossfade.impls.python.admission import Admission
from crossfade.impls.python.ask import Ask, Ticket, encode_params
from crossfade.impls.python.matching import Globs, key_of
from crossfade.impls.python.places import Places
from crossfade.impls.python.race import race
from crossfade.impls.python.repeating import READS, Repeating
from crossfade.impls.python.seating import is_dedicated, request
from crossfade.impls.python.updating import Use, let_in

if TYPE_CHECKING:
    from crossfade.impls.config import ServerSpec
    from crossfade.impls.python.dedicated import Dedicated
    from crossfade.impls.python.instance import Headers, Instance
    from crossfade.impls.python.server import Server
    from crossfade.impls.python.voice import Voice


class Calls:
    """The requests of one server. ``plain`` says that nothing but breaker and balancer stands before a tool call, so
    that the hot path has one thing to look at.
    """

    __slots__ = ("_hedge", "_hedged", "_server", "_spec", "affinity", "gate", "places", "plain", "repeating")

    def __init__(self, server: Server) -> None:
        self._server = server
        self._spec: ServerSpec | None = None
        self.adopt(server.spec)

    def adopt(self, spec: ServerSpec) -> None:
        """Go by another specification. What it leaves as it was keeps its count: limits, places, budgets."""
        old, self._spec = self._spec, spec
        server, cores = self._server, self._server.cores
        if old is None or old.rate_limits != spec.rate_limits:
            self.gate = Admission(server, spec.rate_limits)
        if old is None or not old.bulkhead.max_in_flight or not spec.bulkhead.max_in_flight:
            self.places = Places(server, spec.bulkhead) if spec.bulkhead.max_in_flight else None
        elif self.places is not None and old.bulkhead != spec.bulkhead:
            self.places.adopt(spec.bulkhead)
        if old is None or old.retry != spec.retry:
            self.repeating = Repeating(spec.retry, cores, key_of(spec.name))
        elif old is not spec:
            self.repeating.forget()
        if old is None or old.hedge != spec.hedge:
            self._hedge = cores.hedge(HedgeConfig.from_spec(spec.hedge)) if spec.hedge.enabled else None
            self._hedged = Globs(spec.hedge.tools if spec.hedge.enabled else ())
        self.affinity = spec.affinity if spec.balancer == "rendezvous" else None
        self.gate_changed()

    def gate_changed(self) -> None:
        """Maintenance began or ended."""
        self.plain = self.gate.idle and self.places is None and not self._hedged and self.affinity is None

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

    def hedges(self, method: str, name: str | None) -> bool:
        """Whether a request may get a second copy while the first is under way."""
        if self._hedge is None or len(self._server.instances) < 2:
            return False
        return method in READS or (method == "tools/call" and name is not None and self._hedged.matches(name))

    # -- one request

    async def request(
        self,
        method: str,
        fields: Mapping[str, object],
        *,
        timeout_s: float | None = None,
        meta: Mapping[str, Any] | None = None,
        name: str | None = None,
        sessions: Dedicated | None = None,
        extra: Headers = (),
        key: int = 0,
        ticket: Ticket | None = None,
        principal: str | None = None,
        voice: Voice | None = None,
    ) -> bytes:
        """One request that was admitted, answered with the JSON of ``result``.

        ``name`` is the upstream's name or URI for Mcp-Name, ``extra`` further headers. ``sessions`` holds the caller's
        own sessions with legacy servers, by instance; None is the manager's own. ``key`` is for affinity, ``principal``
        is whose answers are kept for whom. ``voice`` is told what the server says before its answer.
        """
        ticket = ticket or Ticket()
        if not ticket.deadline_ns:
            timeout_ns = self._server.timeout_ns if timeout_s is None else int(timeout_s * 1e9)
            ticket.deadline_ns = monotonic_ns() + timeout_ns
        options: dict[str, Any] = {"meta": meta, "name": name, "sessions": sessions, "extra": extra, "key": key}
        ask = Ask(method, fields, **options, ticket=ticket, voice=voice)
        load = self._server.load
        if load is None or ticket.load is not None:
            return await self._answer(ask, ticket, principal)
        ticket.load = load
        try:
            with load:
                return await self._answer(ask, ticket, principal)
        finally:
            ticket.load = None

    async def _answer(self, ask: Ask, ticket: Ticket, principal: str | None) -> bytes:
        """What is kept, what somebody else is asking for already, or an answer of its own."""
        reads = self._server.reads
        read = None if self._is_alone(ask) else reads.key(ask.method, ask.fields, ask.meta, principal, ask.sessions)
        if read is not None:
            return await reads.answer(read, ask.deadline_ns, lambda: self._placed(ask, ticket))
        return await self._placed(ask, ticket)

    def _is_alone(self, ask: Ask) -> bool:
        """Whether a legacy server may ask its client in the middle: then nobody can share the answer."""
        if ask.voice is None or ask.voice.wish is None:
            return False
        peer = self._server.peer
        return peer is None or peer.era == "legacy"

    async def _placed(self, ask: Ask, ticket: Ticket) -> bytes:
        """All attempts, in a place of the bulkhead."""
        if self.places is None or ticket.place is not None:
            return await self._attempts(ask, ticket.made)
        place = await self.places.enter(ticket.deadline_ns)
        try:
            return await self._attempts(ask, ticket.made)
        finally:
            place.leave()

    async def _attempts(self, ask: Ask, made: int) -> bytes:
        """One attempt after another, as long as it is safe and the budget lasts."""
        if not self.repeating.allows(ask.method, ask.name):
            return await (self._copies(ask) if self._hedge is not None else self._attempt(ask))
        if not made:
            self.repeating.core.request()
        while True:
            try:
                return await self._copies(ask)
            except CrossfadeError as error:
                if ask.voice is not None:
                    ask.voice.lost()
                made += 1
                delay_ns = self.repeating.delay_ns(error, made, monotonic_ns(), ask.deadline_ns)
                if delay_ns < 0:
                    raise
            self._server.stats.retries += 1
            await asyncio.sleep(delay_ns / 1e9)

    async def _copies(self, ask: Ask) -> bytes:
        """One attempt, and a second copy of it beside it if it is slow and may have one."""
        hedge = self._hedge
        if hedge is None or not self.hedges(ask.method, ask.name) or self._is_alone(ask):
            return await self._attempt(ask)
        hedge.request()
        delay_ns = hedge.delay_ns()
        if delay_ns < 0:  # nothing is known of its latency yet
            started = monotonic_ns()
            result = await self._attempt(ask)
            hedge.record(monotonic_ns() - started)
            return result
        won = await race(lambda: self._attempt(ask), lambda: self._elsewhere(ask), delay_ns, self._may_hedge)
        hedge.record(won.took_ns)
        self._server.stats.hedged_wins += won.second
        return won.value

    def _may_hedge(self) -> bool:
        if self._hedge is None or not self._hedge.try_start():
            return False
        self._server.stats.hedges += 1
        return True

    # -- one attempt

    async def _attempt(self, ask: Ask) -> bytes:
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
                    answer = await self._send(instance, ask, now)
            except ServerStartError:
                unreachable.append(instance)
                if server.held is not None:
                    await let_in(server, ask.deadline_ns)
                now = monotonic_ns()
                instance = server.pick(now, unreachable, ask.key)
                if instance is None:
                    raise
            else:
                if server.shadow is not None:
                    server.shadow.copy(ask.method, ask.fields, ask.meta, ask.name, answer)
                return answer

    async def _elsewhere(self, ask: Ask) -> bytes:
        """The second copy: to an instance that has not got the first."""
        now = monotonic_ns()
        instance = self._server.pick(now, ask.tried, ask.key)
        if instance is None:
            name = self._server.spec.name
            raise ServerStartError(f"server {name!r} has no second instance to ask; add one", server=name)
        with Use(instance):
            return await self._send(instance, ask, now, heard=False)

    async def _send(self, instance: Instance, ask: Ask, now_ns: int, *, heard: bool = True) -> bytes:
        """Send to an instance whose breaker has admitted it. Of two copies one is ``heard`` before it answers."""
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
        options: dict[str, Any] = {"name": ask.name, "extra": ask.extra}
        voice = ask.voice if heard else None
        if peer.era == "legacy" and is_dedicated(ask, voice):
            return await request(instance, ask, params, voice, now_ns)
        return await instance.request(ask.method, params, ask.deadline_ns, **options, voice=voice)

    def _own(self, now_ns: int, ask: Ask) -> Instance | None:
        """The instance that the caller has a session with already, unless it has just failed."""
        for instance in ask.sessions or ():
            if instance.server is not self._server or instance.retired or instance in ask.tried:
                continue
            if instance.breaker.admit(now_ns):
                return instance
        return None
