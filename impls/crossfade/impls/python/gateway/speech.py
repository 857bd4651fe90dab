"""Owns the response to one POST that may have to say something before its end: one JSON body, or an event stream.

Rule: it becomes a stream with the first message in the middle, and only then; behind the end of its request nothing is
said. A client that does not read is not told of progress and log messages above ``_SLACK``, so that it costs a bounded
amount of memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from crossfade.impls.python.sse import event

if TYPE_CHECKING:
    from crossfade.impls.python.gateway.client import ClientConnection
    from crossfade.impls.python.gateway.http_answer import HttpAnswer
    from crossfade.impls.python.gateway.jobs import Job

_SLACK: Final = 1 << 20
_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n"
)


class Speaker(Protocol):
    """Where messages to a client go while its request is answered."""

    def say(self, message: bytes, *, needed: bool = False) -> None:
        """Send a message. One that is not ``needed`` may be dropped if the client does not keep up."""


class EventLog(Protocol):
    """Keeps the events of a stream for replay."""

    def keep(self, message: bytes) -> bytes:
        """The id under which the event can be replayed; ``message`` is empty for one that only carries an id."""


class Speech:
    """The response to the request in a client connection's hand. ``job`` is what answers it."""

    __slots__ = ("_client", "begun", "events", "job")

    def __init__(self, client: ClientConnection, job: Job | None = None) -> None:
        self._client = client
        self.job = job
        self.begun = False
        self.events: EventLog | None = None

    def begin(self) -> None:
        """Make the response a stream."""
        self.begun = True
        client = self._client
        if client.transport is not None:
            client.transport.write(stream_head(keep_alive=client.keep_alive and not client.gateway.closing))

    def say(self, message: bytes, *, needed: bool = False) -> None:
        client = self._client
        if client.job is not self.job:
            return
        if not self.begun:
            self.begin()
        transport = client.transport
        if transport is None:
            return
        if needed or transport.get_write_buffer_size() < _SLACK:
            self._write(message)

    def end(self, answer: HttpAnswer) -> None:
        """The last message; the next request may begin."""
        client = self._client
        if not self.begun:
            client.respond(answer)
            return
        self._write(answer.body)
        self.close()

    def close(self) -> None:
        """End the stream, without an answer if none was given."""
        client = self._client
        if client.transport is not None:
            client.transport.write(b"0\r\n\r\n")
        client.finished()

    def _write(self, message: bytes) -> None:
        tag = self.events.keep(message) if self.events is not None else None
        if self._client.transport is not None:
            self._client.transport.write(chunk(event(message, tag)))


def stream_head(*, keep_alive: bool) -> bytes:
    """The head of a response that is an event stream."""
    return _STREAM_HEAD + (b"\r\n" if keep_alive else b"Connection: close\r\n\r\n")


def chunk(data: bytes) -> bytes:
    """Bytes of a stream as a chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)
