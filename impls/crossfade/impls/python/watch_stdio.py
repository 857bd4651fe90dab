"""Owns how the changes of a server over stdio are heard: on the pipe of the child that all clients share.

Rule: it starts no child; one that ends takes its subscriptions along, and the next one is asked anew.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from crossfade.impls.errors import CrossfadeError
from crossfade.impls.python.jsonrpc import Answer, remote_error
from crossfade.impls.python.stdio_connection import Reply
from crossfade.impls.python.watch_source import (
    LISTEN,
    Source,
    Subscriptions,
    fail,
    late,
    listen_params,
    refusal,
    subscription_of,
)

if TYPE_CHECKING:
    from crossfade.impls.python.stdio_connection import StdioConnection
    from crossfade.impls.python.upstream_stdio import StdioInstance
    from crossfade.impls.python.watch import Wanted, Watch

_FOREVER: Final = 1 << 62


class LegacyPipe(Source):
    """A legacy child: it tells of lists unasked, and of resources whoever subscribed."""

    def __init__(self, watch: Watch, instance: StdioInstance, conn: StdioConnection) -> None:
        super().__init__(watch)
        self._instance = instance
        self._conn = conn
        self._subscriptions = Subscriptions(watch, instance)

    async def open(self, wanted: Wanted) -> None:
        await self._subscriptions.want(wanted.uris)

    async def renew(self, wanted: Wanted) -> None:
        await self.open(wanted)

    def close(self) -> None:
        if self.usable() and not self._watch.closed:
            self._instance.spawn(self._subscriptions.want(frozenset()))

    def usable(self) -> bool:
        return self._instance.child is self._conn and self._conn.id in self._instance.conns


class ModernPipe(Source):
    """A modern child: one subscription on its pipe, answered when it is over."""

    def __init__(self, watch: Watch, instance: StdioInstance, conn: StdioConnection) -> None:
        super().__init__(watch)
        self._instance = instance
        self._conn = conn
        self._request = 0
        self._wanted: Wanted
        self._begun: dict[bytes, asyncio.Future[None]] = {}

    @property
    def server(self) -> str:
        """Its name."""
        return self._instance.spec.name

    async def open(self, wanted: Wanted) -> None:
        await self.renew(wanted)

    async def renew(self, wanted: Wanted) -> None:
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wanted = wanted
        old = self._request
        reply = _Listening(self)
        request_id = self._request = self._conn.ask(LISTEN, listen_params(wanted), reply, _FOREVER)
        reply.request = request_id
        self._begun[b"%d" % request_id] = begun
        try:
            async with asyncio.timeout(self._instance.spec.start_timeout_ms / 1000):
                await begun
        except TimeoutError:
            raise late(self._instance.spec.name) from None
        finally:
            self._begun.pop(b"%d" % request_id, None)
            if old:
                self._conn.cancel(old)

    def acknowledged(self, message: Answer) -> None:
        begun = self._begun.get(subscription_of(message))
        if begun is not None and not begun.done():
            self._honoured(message, self._wanted)
            begun.set_result(None)

    def over(self, request: int, error: CrossfadeError) -> None:
        """A subscription has ended."""
        fail(self._begun.get(b"%d" % request), error)
        if request == self._request:
            self._end()

    def close(self) -> None:
        if self._request:
            self._conn.cancel(self._request)

    def usable(self) -> bool:
        return self._instance.child is self._conn and self._conn.id in self._instance.conns


class _Listening(Reply):
    """The end of a subscription."""

    __slots__ = ("_source", "request")

    def __init__(self, source: ModernPipe) -> None:
        self._source = source
        self.request = 0

    def answered(self, answer: Answer) -> None:
        name = self._source.server
        if answer.error is not msgspec.UNSET:
            self.failed(remote_error(answer.error, name))
        else:
            self.failed(refusal(name, 200, b"it ended the subscription"))

    def failed(self, error: CrossfadeError) -> None:
        self._source.over(self.request, error)
