"""Owns how the changes of an HTTP server are heard: on a stream beside the pool, of either era.

Rule: a legacy server without such a stream (405) is no failure; its resources are subscribed to all the same, and what
it says on the streams of calls is heard anyway.
"""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

import msgspec

from crossfade.impls.errors import CrossfadeError
from crossfade.impls.python import jsonrpc
from crossfade.impls.python.event_stream import EventStream, get_of
from crossfade.impls.python.jsonrpc import Answer, NotJsonRpc, decode_answer
from crossfade.impls.python.watch_source import (
    ACKNOWLEDGED,
    LISTEN,
    Position,
    Source,
    Subscriptions,
    fail,
    late,
    listen_params,
    refusal,
)

if TYPE_CHECKING:
    from crossfade.impls.python.upstream_http import HttpInstance
    from crossfade.impls.python.watch import Wanted, Watch

_GET_S: Final = 2.0
"""How long the head of a GET stream is waited for; some servers send it with the first event only."""


class HttpSource(Source):
    """An HTTP server of either era, found out when it is opened."""

    def __init__(self, watch: Watch, instance: HttpInstance, position: Position | None) -> None:
        super().__init__(watch)
        self._instance = instance
        self.position = position
        self._task: asyncio.Task[None] | None = None
        self._legacy: Subscriptions | None = None
        self._session: str | None = None

    async def open(self, wanted: Wanted) -> None:
        peer = self._instance.peer or await self._instance.ready()
        if peer.era == "modern":
            await self.renew(wanted)
            return
        if self._instance.pipes is not None:
            await self._open_pipe(wanted)
            return
        self._session = self._instance.session
        if _announces(peer.capabilities):
            begun = asyncio.get_running_loop().create_future()
            self._task = self._instance.spawn(self._get(begun))
            done, _ = await asyncio.wait({begun}, timeout=_GET_S)
            if done:
                begun.result()
        self._legacy = Subscriptions(self._watch, self._instance)
        await self._legacy.want(wanted.uris)

    async def _open_pipe(self, wanted: Wanted) -> None:
        """Over HTTP+SSE all that the server says comes on the session's own stream."""
        instance = self._instance
        if instance.pipes is not None and instance.session not in instance.pipes:
            await instance.renew(instance.session, monotonic_ns() + self._watch.server.timeout_ns)
        self._session = instance.session
        self._legacy = Subscriptions(self._watch, instance)
        await self._legacy.want(wanted.uris)

    async def renew(self, wanted: Wanted) -> None:
        if self._legacy is not None:
            await self._legacy.want(wanted.uris)
            return
        old = self._task
        begun = asyncio.get_running_loop().create_future()
        task = self._task = self._instance.spawn(self._listen(wanted, begun))
        try:
            async with asyncio.timeout(self._instance.spec.start_timeout_ms / 1000):
                await begun
        except TimeoutError:
            raise late(self._instance.spec.name) from None
        finally:
            if old is not None:
                old.cancel()
            if not begun.done():
                task.cancel()

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._legacy is not None and self._instance.session == self._session and not self._watch.closed:
            self._instance.spawn(self._legacy.want(frozenset()))

    def usable(self) -> bool:
        instance = self._instance
        if instance.pipes is not None and self._session not in instance.pipes:
            return False
        return self._legacy is None or instance.session == self._session

    # -- modern

    async def _listen(self, wanted: Wanted, begun: asyncio.Future[None]) -> None:
        request_id = self._instance.server.next_id()
        body = jsonrpc.request(request_id, LISTEN, listen_params(wanted))
        head = self._instance.modern_head(LISTEN, None)
        try:
            request = b"%b%d\r\n\r\n%b" % (head, len(body), body)
            async with await EventStream.open(self._instance, request) as stream:
                if not stream.is_stream:
                    raise refusal(self._instance.spec.name, stream.head.status, await stream.body())
                async for event in stream:
                    message = self._message(event.data)
                    if message is not None and message.method == ACKNOWLEDGED and not begun.done():
                        self._honoured(message, wanted)
                        begun.set_result(None)
                    elif message is not None and message.method is msgspec.UNSET:
                        break  # it ends the subscription, with a result or an error
        except CrossfadeError as error:
            fail(begun, error)
        finally:
            fail(begun, refusal(self._instance.spec.name, 200, b"it ended at once"))
            if asyncio.current_task() is self._task:
                self._end()

    # -- legacy

    async def _get(self, begun: asyncio.Future[None]) -> None:
        head = self._instance.legacy_head(self._session)
        known = self.position
        fits = known is not None and known.instance is self._instance and known.session == self._session
        last_id = known.last_id if known is not None and fits else None
        self.position = None
        try:
            async with await EventStream.open(self._instance, get_of(head, last_id)) as stream:
                status = stream.head.status
                if not stream.is_stream:
                    if status == 404 and self._session is not None:
                        await self._instance.renew(self._session, monotonic_ns() + self._watch.server.timeout_ns)
                    if status in (404, *range(500, 600)):
                        raise refusal(self._instance.spec.name, status, await stream.body())
                    begun.set_result(None)  # it has no such stream (405); its resources can be subscribed to anyway
                    return
                self.resumed = last_id is not None
                self.streams = True
                begun.set_result(None)
                try:
                    async for event in stream:
                        self._message(event.data)
                finally:
                    if read := stream.reader.last_id or last_id:
                        self.position = Position(self._instance, self._session, read)
                    self.retry_s = (stream.reader.retry_ms or 0) / 1000
            self._end()
        except CrossfadeError as error:
            fail(begun, error)
            self._end()
        finally:
            fail(begun, refusal(self._instance.spec.name, 200, b"it was stopped"))

    def _message(self, data: bytes) -> Answer | None:
        """Take one message of a stream; a question is answered where it was asked: by nobody."""
        try:
            message = decode_answer(data)
        except NotJsonRpc:
            return None
        if message.method is msgspec.UNSET:
            return message
        self._instance.server.heard(self._instance, message)
        if message.id is not msgspec.UNSET:
            if message.method == "ping":
                answer = jsonrpc.result(message.id, b"{}")
            else:
                text = f"nobody declared a capability for {message.method} on this session"
                answer = jsonrpc.error(message.id, jsonrpc.METHOD_NOT_FOUND, text)
            self._instance.spawn(self._instance.notify(self._session, answer))
        return message


def _announces(capabilities: dict[str, Any]) -> bool:
    """Whether a server says that it tells of any change; one that does not is not listened to."""
    declared = [value for value in capabilities.values() if isinstance(value, dict)]
    return any(value.get("listChanged") or value.get("subscribe") for value in declared)
