"""Owns the hot path: one ``tools/call`` on its way from a client's connection to an HTTP upstream's and back.

The answer's bytes go through as they come, length, chunks and event stream alike; the request's are kept, so that it
can be sent a second time where that is safe (``http_connection``). Rule: a relay ends in exactly one of ``finished``,
``fail`` or ``cancel``.
"""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING

from crossfade.impls.errors import CrossfadeError, ProtocolViolation, ServerError
from crossfade.impls.python import jsonrpc
from crossfade.impls.python.envelope import EnvelopeError
from crossfade.impls.python.gateway.http_answer import HttpAnswer
from crossfade.impls.python.gateway.pump import Pump
from crossfade.impls.python.http_connection import HttpConnection, Sink
from crossfade.impls.python.http_head import ResponseHead
from crossfade.impls.python.updating import Use

if TYPE_CHECKING:
    from crossfade.impls.python.body_watch import BodyWatch
    from crossfade.impls.python.gateway.toolcall import ToolCall
    from crossfade.impls.python.upstream_http import HttpInstance


class HttpRelay:
    """A request to an HTTP upstream. ``unsent`` bytes of its body are still to come; until then it cannot be resent."""

    __slots__ = (
        "_answering",
        "_body_at",
        "_call",
        "_client",
        "_conn",
        "_data",
        "_deadline_ns",
        "_head",
        "_head_bytes",
        "_instance",
        "_limit",
        "_paused",
        "_queued",
        "_received",
        "_session",
        "_started_ns",
        "_tail",
        "_task",
        "_tries",
        "_unsent",
        "_watch",
        "counted",
        "raw",
    )

    def __init__(
        self,
        call: ToolCall,
        instance: HttpInstance,
        data: bytes,
        *,
        tail: memoryview | None = None,
        unsent: int = 0,
        watch: BodyWatch | None = None,
    ) -> None:
        self.raw = True
        self.counted = True
        self._call = call
        self._client = call.client
        self._instance = instance
        self._data = data
        self._session = call.session
        self._tail = tail
        self._unsent = unsent
        self._watch = watch
        self._task: asyncio.Task[None] | None = None
        self._conn: HttpConnection | None = None
        self._queued = 0
        self._deadline_ns = 0
        self._started_ns = 0
        self._tries = 1 if unsent else 0
        self._answering = False
        self._received = 0
        # Chunk sizes and the comments of a stream are no part of a message; they may double it at most.
        self._limit = 2 * instance.spec.max_message_bytes
        self._head: ResponseHead | None = None
        self._head_bytes = b""
        self._body_at = 0
        self._paused = False

    def start(self, now_ns: int) -> None:
        """Lease a connection, or queue for one. The breaker has admitted the call."""
        instance = self._instance
        self._started_ns = now_ns
        if not self._deadline_ns:
            ticket = self._call.ticket
            self._deadline_ns = ticket.deadline_ns if ticket is not None else now_ns + instance.server.timeout_ns
        instance.begin()
        conn_id = instance.pool.try_acquire(now_ns)
        if conn_id is not None:
            if instance.server.load is not None:
                instance.server.load.waited(now_ns, 0)
            conn: HttpConnection = instance.conns[conn_id]
            self._conn = conn
            conn.send(self._data, self, now_ns, self._deadline_ns, tail=self._tail, unsent=self._unsent)
            instance.server.wake()
            return
        if self._unsent:
            self.pause_sending()
        queued = instance.queue(self, self._deadline_ns)
        if self._conn is None and self._client.job is self:
            self._queued = queued

    # -- Waiter

    def granted(self, conn: HttpConnection) -> None:
        self._queued = 0
        self._conn = conn
        now = monotonic_ns()
        conn.send(self._data, self, now, self._deadline_ns, tail=self._tail, unsent=self._unsent)
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

    def on_stream(self) -> Sink:
        """To a legacy client it is passed on event by event; to a modern one, with nothing in it to map, as it is."""
        if self._session is None or self._conn is None:
            return self
        return Pump(self._call, self._instance, self._conn, self._session)

    def on_head(  # noqa: PLR0911  one return per way an answer can be wrong
        self, head: ResponseHead, data: bytes, body_at: int, complete: bool
    ) -> bool:
        client = self._client
        transport = client.transport
        if transport is None:
            return True
        if head.is_json:
            message_at = body_at if head.length != -1 else _behind_chunk_size(data, body_at)
            if message_at == len(data) and not complete:  # the first byte of the body says whether it can be a message
                self._head, self._head_bytes, self._body_at = head, data, body_at
                return True
            if not _is_object(data, message_at):
                return self._not_mcp(head, data[body_at:], complete)
        elif not head.is_sse:
            return self._not_mcp(head, data[body_at:], complete)
        if head.status == 404 and self._session is not None and not self._tries:
            self._session_lost(complete)
            return True
        if head.length > self._instance.spec.max_message_bytes:
            return self._too_long(complete)
        self._answering = True
        self._received = len(data) - body_at
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
        return True

    def on_body(self, data: bytes, complete: bool) -> bool:
        head = self._head
        if head is not None:
            self._head = None
            return self.on_head(head, self._head_bytes + data, self._body_at, complete)
        transport = self._client.transport
        if transport is None or not self._answering:
            return True
        self._received += len(data)
        if self._received > self._limit:
            transport.abort()
            if not complete and self._conn is not None:
                self._conn.fail_quietly()
            return False
        if data:
            transport.write(data)
        if complete:
            self._finished()
        return True

    def on_failed(self, error: CrossfadeError, resend: bool) -> None:
        self._conn = None
        if self._answering:  # part of the answer is out: the client must see that it is broken
            client = self._client
            client.gateway.manager.stats.errors_by_code[error.code] += 1
            if client.transport is not None:
                client.transport.abort()
        elif resend and not self._tries:
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
        """The client is gone: give up the upstream connection. To a modern server that cancels the request."""
        self._call.leave()
        if self._task is not None:
            self._task.cancel()
        elif self._conn is not None and self._conn.sink is self:
            self._conn.cancel()
        elif self._queued:
            self._instance.unqueue(self._queued)
            self._instance.abandon(monotonic_ns(), self._started_ns)
            self._queued = 0

    def revoke(self) -> None:
        """The client has cancelled in words: a legacy server is told in words too, and by the id that it knows."""
        if self._session is not None and self._conn is not None and self._conn.sink is self:
            self._instance.tell_cancelled(self._session.upstream.get(self._instance), self._call.raw_id)
        self.cancel()

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
        if self._watch is not None:
            try:
                self._watch.feed(data)
                if not self._unsent:
                    self._watch.end()
            except EnvelopeError as error:
                self._refuse(error)
                return
        if self._conn is not None and self._conn.sink is self:
            self._conn.more(data)
        else:  # still queued for a connection
            self._tail = memoryview(bytes(self._tail or b"") + data)

    # -- a session that the server has forgotten

    def _session_lost(self, complete: bool) -> None:
        if self._conn is not None and not complete:
            self._conn.cancel()
        self._tries = 1
        self._conn = None
        self._task = self._instance.spawn(self._reopen())

    async def _reopen(self) -> None:
        """Initialize once more for this client, and send the request again: the server has not looked at it."""
        session = self._session
        assert session is not None  # noqa: S101  it was lost
        try:
            with Use(self._instance):
                lost = session.upstream.get(self._instance)
                opened = await session.upstream.session(self._instance, self._deadline_ns, lost)
        except CrossfadeError as error:
            self._task = None
            self._fail(error)
            return
        self._task = None
        head = self._instance.legacy_head(opened)
        self._data = head + self._data.partition(b"Content-Length: ")[2]
        self.start(monotonic_ns())

    # -- endings

    def _finished(self) -> None:
        if self._call.ticket is not None:
            self._call.leave()
        self.resume()
        self._client.finished()

    def _fail(self, error: CrossfadeError) -> None:
        if not self._call.again(error, self._instance, self._deadline_ns):
            self._call.leave()
            self._client.fail(self._call.raw_id, error)

    def _refuse(self, error: EnvelopeError) -> None:
        """The rest of the body must not be passed on: the server is left with half a message, which it cannot read."""
        self._watch = None
        self.cancel()
        client = self._client
        if self._answering and client.transport is not None:
            client.transport.abort()
        elif client.job is self:
            client.respond(HttpAnswer(400, jsonrpc.error(None, error.code, error.message)))

    def _too_long(self, complete: bool) -> bool:
        """The upstream announced more than we pass on."""
        if self._conn is not None and not complete:
            self._conn.fail_quietly()
        spec = self._instance.spec
        self._fail(
            ProtocolViolation(
                f"server {spec.name!r} ({self._instance.url}) sent an answer of more than {spec.max_message_bytes} "
                "bytes; raise maxMessageBytes, or look at the server",
                server=spec.name,
            )
        )
        return False

    def _not_mcp(self, head: ResponseHead, body: bytes, complete: bool) -> bool:
        """The upstream sent something that is no MCP answer: an error page, or not JSON."""
        name, url = self._instance.spec.name, self._instance.url
        if self._conn is not None and not complete:
            self._conn.fail_quietly()
        error = ServerError if head.status >= 500 else ProtocolViolation
        self._fail(
            error(
                f"server {name!r} ({url}) answered HTTP {head.status} without a JSON-RPC response: {body[:80]!r}; "
                "look at the server, or at what is between",
                server=name,
            )
        )
        return False


def _behind_chunk_size(data: bytes, at: int) -> int:
    """Where the first chunk's data begin; the end of what there is if its size is not there yet."""
    return data.find(b"\n", at) + 1 or len(data)


def _is_object(data: bytes, at: int) -> bool:
    """Whether a JSON body can be a message: the cheapest test that tells it from an error page."""
    return data[at : at + 1] == b"{" or data[at:].lstrip()[:1] == b"{"
