"""Owns the hot path: one ``tools/call`` on its way from a client's connection to an upstream's and back.

Towards HTTP the answer's bytes go through as they come, length, chunks and event stream alike; with the request's bytes kept it
is sent a second time where that is safe (``http_connection``). Towards stdio the answer is one line, whose result goes into a
response with the client's own id. Rule: a relay ends in exactly one of ``finished``, ``fail`` or ``cancel``.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING

import msgspec

from crossfade.impls.errors import CrossfadeError, ProtocolViolation, ServerError
from crossfade.impls.python import jsonrpc
from crossfade.impls.python.gateway.http_answer import HttpAnswer
from crossfade.impls.python.http_connection import HttpConnection
from crossfade.impls.python.http_head import ResponseHead
from crossfade.impls.python.jsonrpc import Answer
from crossfade.impls.python.stdio_connection import Reply, StdioConnection
from crossfade.impls.python.translate import result_to_modern

if TYPE_CHECKING:
    from crossfade.impls.python.gateway.client import ClientConnection
    from crossfade.impls.python.upstream_http import HttpInstance
    from crossfade.impls.python.upstream_stdio import StdioInstance


class HttpRelay:
    """A request to an HTTP upstream. ``unsent`` is what will still come of a streamed body; then it cannot be resent."""

    __slots__ = ("_answering", "_client", "_conn", "_data", "_deadline_ns", "_instance", "_paused", "_queued", "_raw_id", "_started_ns", "_tries", "_unsent", "raw")  # fmt: skip

    def __init__(
        self, client: ClientConnection, instance: HttpInstance, data: bytes, raw_id: bytes | None, unsent: int = 0
    ) -> None:
        self.raw = True
        self._client = client
        self._instance = instance
        self._data = data
        self._raw_id = raw_id
        self._unsent = unsent
        self._conn: HttpConnection | None = None
        self._queued = 0
        self._deadline_ns = 0
        self._started_ns = 0
        self._tries = 0
        self._answering = False
        self._paused = False

    def start(self, now_ns: int) -> None:
        """Lease a connection, or queue for one. The breaker has admitted the call."""
        instance = self._instance
        self._started_ns = now_ns
        self._deadline_ns = now_ns + instance.server.timeout_ns
        instance.begin()
        conn_id = instance.pool.try_acquire(now_ns)
        if conn_id is not None:
            conn: HttpConnection = instance.conns[conn_id]
            self._conn = conn
            conn.send(self._data, self, now_ns, self._deadline_ns, self._unsent)
            instance.server.wake()
            return
        if self._unsent:
            self.pause_sending()
        queued = instance.queue(self, self._deadline_ns)
        if self._conn is None and self._tries >= 0:
            self._queued = queued

    # -- Waiter

    def granted(self, conn: HttpConnection) -> None:
        self._queued = 0
        self._conn = conn
        now = monotonic_ns()
        conn.send(self._data, self, now, self._deadline_ns, self._unsent)
        if self._unsent:
            self.resume_sending()

    def rejected(self, error: CrossfadeError) -> None:
        self._queued = 0
        now = monotonic_ns()
        if isinstance(error, ServerError):
            self._instance.done(now, self._started_ns, False)
        else:
            self._instance.server.stats.rejected += 1
            self._instance.abandon(now, self._started_ns)
        self._fail(error)

    # -- Sink

    def on_head(self, head: ResponseHead, data: bytes, body_at: int, complete: bool) -> None:
        client = self._client
        if not ((head.is_json and (not complete or data[body_at : body_at + 1] == b"{")) or head.is_sse):
            self._not_mcp(head, data[body_at:])
            return
        transport = client.transport
        if transport is None:
            return
        self._answering = True
        if head.length == -2:
            client.keep_alive = False
        if head.same and client.keep_alive:
            transport.write(data)
        elif client.keep_alive or head.length == -2:
            transport.write(head.out + data[body_at:])
        else:
            transport.write(head.out[:-2] + b"connection: close\r\n\r\n" + data[body_at:])
        if complete:
            self._finished()

    def on_body(self, data: bytes, complete: bool) -> None:
        transport = self._client.transport
        if transport is None or not self._answering:
            return
        if data:
            transport.write(data)
        if complete:
            self._finished()

    def on_failed(self, error: CrossfadeError, resend: bool) -> None:
        self._conn = None
        if self._answering:  # part of the answer is out: the client must see that it is broken
            client = self._client
            client.gateway.manager.stats.errors_by_code[error.code] += 1
            if client.transport is not None:
                client.transport.abort()
        elif resend and not self._tries and not self._unsent:
            self._tries = 1
            self.start(monotonic_ns())
        else:
            self._fail(error)

    def pause_sending(self) -> None:
        """The upstream reads more slowly than the client writes."""
        transport = self._client.transport
        if transport is not None:
            transport.pause_reading()

    def resume_sending(self) -> None:
        """It has caught up."""
        transport = self._client.transport
        if transport is not None:
            transport.resume_reading()

    # -- Job

    def cancel(self) -> None:
        """The client is gone: give up the upstream connection, which cancels the request there."""
        if self._conn is not None and self._conn.sink is self:
            self._conn.cancel()
        elif self._queued:
            self._instance.unqueue(self._queued)
            self._instance.abandon(monotonic_ns(), self._started_ns)
            self._queued = 0

    def pause(self) -> None:
        if self._conn is not None and self._conn.sink is self:
            self._paused = True
            self._conn.pause_answer()

    def resume(self) -> None:
        if self._paused and self._conn is not None:
            self._paused = False
            self._conn.resume_answer()

    def more(self, data: bytes) -> None:
        self._unsent -= len(data)
        if self._conn is not None and self._conn.sink is self:
            self._conn.more(data)
        else:
            self._data += data

    # -- endings

    def _finished(self) -> None:
        self.resume()
        self._client.finished()

    def _fail(self, error: CrossfadeError) -> None:
        self._tries = -1
        self._client.fail(self._raw_id, error)

    def _not_mcp(self, head: ResponseHead, body: bytes) -> None:
        """The upstream sent something that is no MCP answer: an error page, or not JSON."""
        name, url = self._instance.spec.name, self._instance.url
        if self._conn is not None and self._conn.sink is self:
            self._conn.cancel()
        error = ServerError if head.status >= 500 else ProtocolViolation
        self._fail(
            error(
                f"server {name!r} ({url}) answered HTTP {head.status} without a JSON-RPC response: {body[:80]!r}; "
                "look at the server, or at what is between",
                server=name,
            )
        )


class StdioRelay(Reply):
    """A request to a child. ``modern`` says that the client expects what only a modern result carries."""

    __slots__ = ("_client", "_conn", "_deadline_ns", "_instance", "_method", "_modern", "_params", "_queued", "_raw_id", "_request_id", "_started_ns")  # fmt: skip

    def __init__(
        self, client: ClientConnection, instance: StdioInstance, method: str, params: bytes, raw_id: bytes, modern: bool
    ) -> None:
        self._client = client
        self._instance = instance
        self._method = method
        self._params = params
        self._raw_id = raw_id
        self._modern = modern
        self._conn: StdioConnection | None = None
        self._queued = 0
        self._request_id = 0
        self._started_ns = 0
        self._deadline_ns = 0

    def start(self, now_ns: int) -> None:
        """Lease a place on the pipe, or queue for one. The breaker has admitted the call."""
        instance = self._instance
        self._started_ns = now_ns
        self._deadline_ns = now_ns + instance.server.timeout_ns
        instance.begin()
        conn_id = instance.pool.try_acquire(now_ns)
        if conn_id is not None:
            self.granted(instance.conns[conn_id])
            instance.server.wake()
            return
        queued = instance.queue(self, self._deadline_ns)
        if self._client.job is self and self._conn is None:
            self._queued = queued

    def granted(self, conn: StdioConnection) -> None:
        self._queued = 0
        self._conn = conn
        self._request_id = conn.request(self._method, self._params, self, self._deadline_ns)

    def rejected(self, error: CrossfadeError) -> None:
        self._queued = 0
        now = monotonic_ns()
        if isinstance(error, ServerError):
            self._instance.done(now, self._started_ns, False)
        else:
            self._instance.server.stats.rejected += 1
            self._instance.abandon(now, self._started_ns)
        self._client.fail(self._raw_id, error)

    # -- Reply

    def answered(self, answer: Answer) -> None:
        self._conn = None
        if answer.error is not msgspec.UNSET:
            body = jsonrpc.raw_error(self._raw_id, answer.error)
        elif answer.result is msgspec.UNSET:
            body = jsonrpc.error(self._raw_id, jsonrpc.INTERNAL_ERROR, "the server sent a response without result")
        elif self._modern and b'"resultType"' not in bytes(answer.result[:64]):
            body = jsonrpc.result(self._raw_id, result_to_modern(self._method, bytes(answer.result)))
        else:
            body = jsonrpc.result(self._raw_id, answer.result)
        self._client.respond(HttpAnswer(200, body))

    def failed(self, error: CrossfadeError) -> None:
        self._conn = None
        self._client.fail(self._raw_id, error)

    # -- Job

    def cancel(self) -> None:
        """The client is gone: the child learns of it by ``notifications/cancelled`` with our id."""
        if self._conn is not None:
            self._conn.cancel(self._request_id)
        elif self._queued:
            self._instance.unqueue(self._queued)
            self._instance.abandon(monotonic_ns(), self._started_ns)

    def pause(self) -> None:
        """The answer is written as a whole."""

    def resume(self) -> None:
        """Nothing was held back."""

    def more(self, data: bytes) -> None:
        """The body was read as a whole."""
