"""Owns one ``tools/call`` of a gateway client between the two ways it can take: the relay, and the long way.

Rule: whatever is done for it once (admission, a place in the bulkhead, an attempt) stays done when it changes from one
way to the other, and the place is given back where it ends: by the relay, or by the task that answers.
"""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING

from crossfade.impls.errors import CrossfadeError, ServerStartError
from crossfade.impls.python.ask import Ticket
from crossfade.impls.python.gateway import methods, mirrored
from crossfade.impls.python.gateway.http_answer import HttpAnswer
from crossfade.impls.python.gateway.jobs import TaskJob
from crossfade.impls.python.gateway.principal import principal_of
from crossfade.impls.python.gateway.speech import Speech

if TYPE_CHECKING:
    from crossfade.impls.python.gateway.client import ClientConnection
    from crossfade.impls.python.gateway.routes import Route
    from crossfade.impls.python.gateway.sessions import Session
    from crossfade.impls.python.http_head import RequestHead
    from crossfade.impls.python.instance import Instance


class ToolCall:
    """A call in hand. ``name`` is its tool's name as it stands in ``body``, which is empty if it was passed on while
    it arrived: then there is no second attempt.
    """

    __slots__ = ("body", "client", "head", "name", "raw_id", "route", "session", "ticket")

    def __init__(
        self,
        client: ClientConnection,
        head: RequestHead,
        session: Session | None,
        name: bytes,
        *,
        raw_id: bytes,
        body: bytes = b"",
    ) -> None:
        self.client = client
        self.head = head
        self.session = session
        self.name = name
        self.raw_id = raw_id
        self.body = body
        self.route: Route | None = None
        self.ticket: Ticket | None = None

    # -- before the first attempt

    def enter_now(self, route: Route) -> bool:
        """Pass what stands before the server without waiting. Raises RateLimited, LoadShed or ServerUnavailable.

        False: it has to wait, or may need a second copy, so it goes the long way; nothing was used up.
        """
        calls = route.server.calls
        if calls.hedges("tools/call", route.own):
            return False
        ticket = Ticket(monotonic_ns() + route.server.timeout_ns)
        if calls.places is not None and (place := calls.places.try_enter()) is not None:
            ticket.place = place
        elif calls.places is not None:
            return False
        self.ticket = ticket
        try:
            self._admit(route, ticket)
        except CrossfadeError:
            self.leave()
            raise
        return True

    async def enter(self, route: Route) -> None:
        """As ``enter_now``, but wait for a place, as the manager's own requests do."""
        calls = route.server.calls
        ticket = self.ticket or Ticket(monotonic_ns() + route.server.timeout_ns)
        self.ticket = ticket
        if not ticket.admitted:
            self._admit(route, ticket)
        elif ticket.load is None:
            self._count(route, ticket)
        if calls.places is not None and not calls.hedges("tools/call", route.own):
            ticket.place = await calls.places.enter(ticket.deadline_ns)

    def _admit(self, route: Route, ticket: Ticket) -> None:
        route.server.calls.admit(route.own, self.principal)
        ticket.admitted = True
        self._count(route, ticket)

    def _count(self, route: Route, ticket: Ticket) -> None:
        ticket.load = load = route.server.load
        if load is not None:
            load.in_flight += 1

    def leave(self) -> None:
        """Give back what it has of places and counts."""
        if self.ticket is not None:
            self.ticket.leave()

    @property
    def principal(self) -> str:
        """On whose behalf."""
        return principal_of(self.head, self.client.gateway.principal_header)

    @property
    def key(self) -> int:
        """What affinity goes by."""
        assert self.route is not None  # noqa: S101  it is on its way
        session = self.session.id if self.session is not None else None
        return self.route.server.calls.key(session, self.principal, self.route.own)

    # -- the long way

    async def answer(self) -> HttpAnswer:
        """The response, by way of memory."""
        gateway = self.client.gateway
        if self.session is None and (refused := await mirrored.refusal(self)) is not None:
            return refused
        caller = methods.Caller(self.session is None, self.session, self.principal, self._speech(), gateway.suspended)
        params = methods.params_of(self.body)
        return await methods.answer(gateway.manager, caller, "tools/call", self.raw_id, params, ticket=self.ticket)

    def _speech(self) -> Speech:
        job = self.client.job
        assert isinstance(job, TaskJob)  # noqa: S101  a task runs this
        if job.speech is None:
            job.speech = Speech(self.client, job, self.session)
        return job.speech

    # -- after a first attempt

    def again(self, error: CrossfadeError, instance: Instance, deadline_ns: int) -> bool:
        """Whether a relay that failed before any byte of its answer goes on as a second attempt; it runs then.

        Any call goes on to another instance if the first could not be connected to, because then nothing was sent.
        """
        route = self.route
        if route is None or not self.body:
            return False
        calls = route.server.calls
        if isinstance(error, ServerStartError) and len(route.server.instances) > 1:
            delay_ns = 0
        elif calls.repeating.allows("tools/call", route.own):
            delay_ns = calls.repeating.delay_ns(error, 1, monotonic_ns(), deadline_ns)
            if delay_ns < 0:
                return False
            route.server.stats.retries += 1
        else:
            return False
        ticket = self.ticket or Ticket()
        ticket.admitted = True
        ticket.deadline_ns = deadline_ns
        ticket.made = 1
        ticket.tried.append(instance)
        self.ticket = ticket
        self.client.run(self._again(delay_ns), self.leave)
        return True

    async def _again(self, delay_ns: int) -> HttpAnswer:
        await asyncio.sleep(delay_ns / 1e9)
        return await self.answer()
