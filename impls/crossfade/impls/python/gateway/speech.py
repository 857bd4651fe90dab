"""Owns the response to one POST that may have to say something before its end: one JSON body, or an event stream.

Rule: it becomes a stream with the first message in the middle, and only then; behind the end of its request nothing is
said. A client that does not read is not told of progress and log messages above ``SLACK``, so that it costs a bounded
amount of memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from crossfade.impls.python.gateway.streams import MOST_ALONE, Stream, streams_of
from crossfade.impls.python.sse import event

if TYPE_CHECKING:
    from crossfade.impls.python.gateway.client import ClientConnection
    from crossfade.impls.python.gateway.http_answer import HttpAnswer
    from crossfade.impls.python.gateway.jobs import Job
    from crossfade.impls.python.gateway.sessions import Session

_PRIMED_SINCE: Final = "2025-11-25"


class Speaker(Protocol):
    """Where messages to a client go while its request is answered."""

    def say(self, message: bytes, *, needed: bool = False) -> None:
        """Send a message. One that is not ``needed`` may be dropped if the client does not keep up."""


class Speech:
    """The response to the request in a client connection's hand. ``job`` is what answers it.

    In a legacy session the stream outlives its connection: the call goes on, and the client may come back for the rest.
    Until its end the session is in use, whoever carries it.
    """

    __slots__ = ("_client", "_raw_id", "_session", "begun", "job", "over", "stream")

    def __init__(self, client: ClientConnection, job: Job | None = None, session: Session | None = None) -> None:
        self._client = client
        self._session = session
        call = client.call
        self._raw_id = (call[1] or b"") if call is not None and call[0] is session else b""
        self.job = job
        self.begun = False
        self.over = False
        self.stream: Stream | None = None

    def begin(self) -> None:
        """Make the response a stream."""
        self.begun = True
        client, session = self._client, self._session
        client.begin_stream()
        limit = client.gateway.spec.replay_events
        if session is None or not limit:
            return
        self.stream = Stream(streams_of(session, limit).replay, client)
        session.enter()
        if session.version >= _PRIMED_SINCE:
            self.stream.prime()

    def say(self, message: bytes, *, needed: bool = False) -> None:
        client, stream = self._client, self.stream
        if self.over or (stream is None and client.job is not self.job):
            return
        if not self.begun:
            self.begin()
            stream = self.stream
        if stream is not None:
            if needed or not stream.full:
                stream.send(message)
        elif needed or not client.full:
            client.write_event(event(message))

    def end(self, answer: HttpAnswer) -> None:
        """The last message; the next request may begin."""
        if not self.begun:
            self._client.respond(answer)
            return
        if self.stream is not None:
            self.stream.send(answer.body)
        else:
            self._client.write_event(event(answer.body))
        self.close()

    def close(self) -> None:
        """End the stream, without an answer if none was given."""
        if self.stream is not None:
            self.silence()
        else:
            self.over = True
            self._client.end_stream()

    # -- the connection

    def lost(self) -> bool:
        """The connection is gone; True if the call goes on without it."""
        stream, session = self.stream, self._session
        streams = session.streams if session is not None else None
        if stream is None or stream.over or streams is None or self.job is None:
            self.over = True
            return False
        stream.lost(self._client)
        if len(streams.alone) >= MOST_ALONE or self._client.gateway.closing:
            self.silence()
            return False
        streams.alone[self._raw_id] = self.job
        return True

    def silence(self) -> None:
        """Nothing more is said: it is answered, or the client does not want to know any more."""
        self.over = True
        if self.stream is None:
            return
        session = self._session
        streams = session.streams if session is not None else None
        if streams is not None and streams.alone.get(self._raw_id) is self.job:
            del streams.alone[self._raw_id]
        if session is not None and not self.stream.over:
            session.leave()
        self.stream.end()
