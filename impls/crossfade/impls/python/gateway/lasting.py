"""Owns the streams over HTTP that stay open: GET of a legacy session, and ``subscriptions/listen``.

Rule: a client that is gone is heard for no longer; what a legacy one missed waits for it in its session.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from crossfade.impls.errors import CrossfadeError
from crossfade.impls.python import jsonrpc
from crossfade.impls.python.gateway.http_answer import HttpAnswer
from crossfade.impls.python.gateway.jobs import LastingJob
from crossfade.impls.python.gateway.listen import Listening
from crossfade.impls.python.gateway.streams import Stream, streams_of
from crossfade.impls.python.sse import event

if TYPE_CHECKING:
    from crossfade.impls.python.gateway.client import ClientConnection
    from crossfade.impls.python.gateway.sessions import Session

_SETTLE_S = 1.0


class StreamJob(LastingJob):
    """A connection that carries a stream of a legacy session."""

    __slots__ = ("_client", "_session", "_stream")

    def __init__(self, client: ClientConnection, session: Session, stream: Stream) -> None:
        self._client = client
        self._session = session
        self._stream = stream

    def cancel(self) -> None:
        self._stream.lost(self._client)
        if self._session.streams is not None:
            self._session.streams.gone(self._stream)

    def resume(self) -> None:
        self._stream.caught_up()

    def end(self) -> None:
        self._stream.lost(self._client)
        self._client.end_stream()


def open_get(client: ClientConnection, session: Session, last_id: str | None) -> None:
    """Carry the stream that the client comes back for, or open one for what belongs to no call."""
    streams = streams_of(session, client.gateway.spec.replay_events)
    rest = streams.replay.after(last_id) if last_id is not None else None
    if rest is not None:
        client.stay(StreamJob(client, session, rest.stream))
        rest.stream.carry(client, rest)
        if rest.lost:
            streams.missed(rest.stream)
        return
    client.run(_open_get(client, session))


async def _open_get(client: ClientConnection, session: Session) -> None:
    """Begin when the servers are listened to, so that a client that sees the stream misses nothing."""
    manager = client.gateway.manager
    streams = streams_of(session, client.gateway.spec.replay_events)
    manager.notices.join(streams)
    settling = (server.watched.settle(within_s=_SETTLE_S) for server in list(manager.registry.values()))
    await asyncio.gather(*settling)
    if client.transport is not None:
        stream = streams.open_get(client)
        client.stay(StreamJob(client, session, stream))


class ListenJob(LastingJob):
    """A ``subscriptions/listen``."""

    __slots__ = ("_client", "_listening", "_raw_id", "_task")

    def __init__(self, client: ClientConnection, raw_id: bytes, params: bytes) -> None:
        self._client = client
        self._raw_id = raw_id
        self._listening = Listening(client.gateway.manager, raw_id, self._send)
        client.job = self
        self._task: asyncio.Task[None] | None = client.gateway.spawn(self._open(params))

    async def _open(self, params: bytes) -> None:
        client = self._client
        try:
            acknowledgement = await self._listening.open(params)
        except CrossfadeError as error:
            self._listening.close()
            client.respond(HttpAnswer(200, jsonrpc.error_of(self._raw_id, error)))
            return
        client.stay(self)
        client.write_event(event(acknowledgement))
        self._listening.begin()

    def _send(self, message: bytes) -> bool:
        self._client.write_event(event(message))
        return not self._client.full

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._listening.close()

    def resume(self) -> None:
        if self._listening.begun:
            self._listening.caught_up()

    def end(self) -> None:
        self._listening.close()
        if self._listening.begun:
            self._client.write_event(event(self._listening.result()))
            self._client.end_stream()
        elif self._client.transport is not None:
            self._client.transport.close()
