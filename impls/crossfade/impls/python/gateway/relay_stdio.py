"""Owns the hot path to a child: one ``tools/call`` as a line, and its result in a response with the client's own id.

Rule: a relay ends in exactly one of ``respond``, ``fail`` or ``cancel``.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING

import msgspec

from crossfade.impls.errors import CrossfadeError, ProtocolViolation, ServerError
from crossfade.impls.python import jsonrpc
from crossfade.impls.python.codes import http_status
from crossfade.impls.python.gateway.http_answer import HttpAnswer
from crossfade.impls.python.jsonrpc import Answer
from crossfade.impls.python.stdio_connection import Reply, StdioConnection
from crossfade.impls.python.translate import result_to_modern

if TYPE_CHECKING:
    from crossfade.impls.python.gateway.toolcall import ToolCall
    from crossfade.impls.python.upstream_stdio import StdioInstance


class StdioRelay(Reply):
    """A request to a child. ``modern`` says that the client expects what only a modern result carries."""

    __slots__ = (
        "_call",
        "_client",
        "_conn",
        "_deadline_ns",
        "_instance",
        "_modern",
        "_params",
        "_queued",
        "_request_id",
        "_started_ns",
    )

    def __init__(self, call: ToolCall, instance: StdioInstance, params: bytes, *, modern: bool) -> None:
        self._call = call
        self._client = call.client
        self._instance = instance
        self._params = params
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
        ticket = self._call.ticket
        self._deadline_ns = ticket.deadline_ns if ticket is not None else now_ns + instance.server.timeout_ns
        instance.begin()
        conn_id = instance.pool.try_acquire(now_ns)
        if conn_id is not None:
            if instance.server.load is not None:
                instance.server.load.waited(now_ns, 0)
            self.granted(instance.conns[conn_id])
            instance.server.wake()
            return
        queued = instance.queue(self, self._deadline_ns)
        if self._client.job is self and self._conn is None:
            self._queued = queued

    def granted(self, conn: StdioConnection) -> None:
        self._queued = 0
        self._conn = conn
        self._request_id = conn.request("tools/call", self._params, self, self._deadline_ns)

    def rejected(self, error: CrossfadeError) -> None:
        self._queued = 0
        now = monotonic_ns()
        if isinstance(error, ServerError):
            self._instance.done(now, self._started_ns, False)
        else:
            self._instance.server.stats.rejected += 1
            self._instance.abandon(now, self._started_ns)
        self._fail(error)

    # -- Reply

    def answered(self, answer: Answer) -> None:
        self._conn = None
        raw_id = self._call.raw_id
        status = 200
        if answer.error is not msgspec.UNSET:
            raw = bytes(answer.error)
            body = jsonrpc.raw_error(raw_id, raw)
            if self._call.session is None:
                status = http_status(jsonrpc.remote_error(raw, self._instance.spec.name).remote_code)
        elif answer.result is msgspec.UNSET:
            body = jsonrpc.error(raw_id, jsonrpc.INTERNAL_ERROR, "the server sent a response without result")
        elif self._modern and b'"resultType"' not in bytes(answer.result)[:64]:
            try:
                body = jsonrpc.result(raw_id, result_to_modern("tools/call", bytes(answer.result)))
            except ProtocolViolation as error:
                body = jsonrpc.error_of(raw_id, error)
        else:
            body = jsonrpc.result(raw_id, answer.result)
        if self._call.ticket is not None:
            self._call.leave()
        self._client.respond(HttpAnswer(status, body))

    def failed(self, error: CrossfadeError) -> None:
        self._conn = None
        self._fail(error)

    def _fail(self, error: CrossfadeError) -> None:
        if not self._call.again(error, self._instance, self._deadline_ns):
            self._call.leave()
            self._client.fail(self._call.raw_id, error)

    # -- Job

    def cancel(self) -> None:
        """The client is gone: the child learns of it by ``notifications/cancelled`` with our id."""
        self._call.leave()
        if self._conn is not None:
            self._conn.cancel(self._request_id)
        elif self._queued:
            self._instance.unqueue(self._queued)
            self._instance.abandon(monotonic_ns(), self._started_ns)

    def revoke(self) -> None:
        """The client has cancelled in words."""
        self.cancel()

    def pause(self) -> None:
        """The answer is written as a whole."""

    def resume(self) -> None:
        """Nothing was held back."""

    def more(self, data: bytes) -> None:
        """The body was read as a whole."""
