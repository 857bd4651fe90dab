"""Owns one request whose whole answer is wanted in memory: the sink behind in-process calls and discovery.

Rule: bounded by the server's ``max_message_bytes``; JSON and SSE are both understood, and with SSE the caller is served
as soon as its response event is there, however long the stream stays open. A stream that ends before it, is read on
where it broke, if the server can (``resuming``).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from crossfade.impls.errors import CrossfadeError, ProtocolViolation, ServerCrashed
from crossfade.impls.python.http_head import ResponseHead
from crossfade.impls.python.jsonrpc import Answer, NotJsonRpc, decode_answer, remote_error
from crossfade.impls.python.resuming import resumable, resume
from crossfade.impls.python.sse import EventReader, EventTooLong

if TYPE_CHECKING:
    from crossfade.impls.python.http_connection import HttpConnection
    from crossfade.impls.python.http_ear import Ear
    from crossfade.impls.python.upstream_http import HttpInstance


class HttpAnswer:
    """What came back. ``answer`` is None if the body held no JSON-RPC response (202, or an error page)."""

    __slots__ = ("answer", "body", "head")

    def __init__(self, head: ResponseHead, body: bytes, answer: Answer | None) -> None:
        self.head = head
        self.body = body
        self.answer = answer

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.head.status

    @property
    def session(self) -> str | None:
        """The session id that the server gave."""
        return self.head.session

    def result(self, server: str) -> bytes:
        """The JSON of ``result``. Raises RemoteError for an error response, ProtocolViolation for anything else."""
        answer = self.answer
        if answer is None:
            raise ProtocolViolation(
                f"server {server!r} answered HTTP {self.status} without a JSON-RPC response: {self.body[:80]!r}; "
                "look at the server, or at what is between",
                server=server,
            )
        if answer.error is not msgspec.UNSET:
            raise remote_error(answer.error, server)
        if answer.result is msgspec.UNSET:
            raise ProtocolViolation(
                f"server {server!r} sent a response without result: {self.body[:80]!r}; look at the server",
                server=server,
            )
        return bytes(answer.result)


class Exchange:
    """The sink. ``expect`` is the id of the request, None for a notification."""

    __slots__ = (
        "_bad",
        "_body",
        "_conn",
        "_deadline_ns",
        "_ear",
        "_events",
        "_expect",
        "_head",
        "_instance",
        "_request_head",
        "_resuming",
        "_size",
        "counted",
        "future",
        "raw",
        "resend",
    )

    def __init__(
        self,
        instance: HttpInstance,
        conn: HttpConnection,
        expect: int | None,
        *,
        counted: bool,
        ear: Ear | None = None,
    ) -> None:
        self.raw = False
        self.counted = counted
        self.resend = False
        self.future: asyncio.Future[HttpAnswer] = asyncio.get_running_loop().create_future()
        self._instance = instance
        self._conn = conn
        self._expect = expect
        self._head: ResponseHead | None = None
        self._events: EventReader | None = None
        self._body: list[bytes] = []
        self._size = 0
        self._bad = False
        self._request_head = b""
        self._deadline_ns = 0
        self._resuming: asyncio.Task[None] | None = None
        self._ear = ear
        if ear is not None:
            ear.exchange = self

    def sent(self, head: bytes, deadline_ns: int) -> None:
        """What was asked, and until when, for a stream that must be read on."""
        self._request_head = head
        self._deadline_ns = deadline_ns

    def postpone(self, by_ns: int, waited_ns: int = 0) -> None:
        """Move the deadline; time that the server waited for its client is not its own."""
        self._deadline_ns += by_ns
        if self._conn.sink is self:
            self._conn.deadline_ns += by_ns
            self._conn.started_ns += waited_ns

    def cancel(self) -> None:
        """The caller is gone."""
        if self._resuming is not None:
            self._resuming.cancel()
        if self._conn.sink is self:
            self._conn.cancel()

    # -- Sink

    def on_stream(self) -> Exchange:
        return self

    def on_head(self, head: ResponseHead, data: bytes, body_at: int, complete: bool) -> bool:
        self._head = head
        if head.is_sse and self._expect is not None:
            self._events = EventReader(self._instance.spec.max_message_bytes)
        return self.on_body(data[body_at:], complete)

    def on_body(self, data: bytes, complete: bool) -> bool:
        if self._events is not None:
            self._take_events(self._events, data)
            if complete and not self.future.done():
                if resumable(self._instance, self._events):
                    self._resume(self._events)
                else:
                    self._violate("ended its event stream without a response; look at the server")
            return not self._bad
        self._size += len(data)
        limit = self._instance.spec.max_message_bytes
        if self._size > limit:
            self._violate(f"sent an answer of more than {limit} bytes; raise maxMessageBytes, or look at the server")
            self._conn.fail_quietly()
            return False
        self._body.append(data)
        if complete and not self.future.done():
            self._resolve(b"".join(self._body))
        return not self._bad

    def on_failed(self, error: CrossfadeError, resend: bool) -> None:
        self.resend = resend
        if self.future.done():
            return
        if self._events is not None and resumable(self._instance, self._events, error):
            self._resume(self._events)
            return
        self.future.set_exception(error)
        self.future.exception()  # a caller that was cancelled meanwhile will not look

    def pause_sending(self) -> None:
        """The request is in the transport's buffer as a whole already."""

    def resume_sending(self) -> None:
        """Nothing was held back."""

    # -- reading

    def _take_events(self, reader: EventReader, data: bytes) -> None:
        try:
            events = reader.feed(data)
        except EventTooLong:
            limit = self._instance.spec.max_message_bytes
            self._violate(f"sent an event of more than {limit} bytes; raise maxMessageBytes, or look at the server")
            self._conn.fail_quietly()
            return
        for event in events:
            self._take_message(event.data)

    def _take_message(self, data: bytes) -> bool:
        """One message of the stream; True when there is nothing more to wait for."""
        try:
            answer = decode_answer(data)
        except NotJsonRpc:
            self._violate(f"sent an event that is not JSON-RPC: {data[:80]!r}; look at the server")
            return True
        if answer.method is not msgspec.UNSET:
            if self._ear is None:
                self._instance.server.heard(self._instance, answer)
            else:
                self._ear.changes(answer)
                if not self.future.done():
                    self._ear.hears(answer)
        elif self._is_ours(answer) and self._head is not None and not self.future.done():
            self.future.set_result(HttpAnswer(self._head, data, answer))
        return self.future.done()

    def _resume(self, reader: EventReader) -> None:
        self._resuming = self._instance.spawn(self._read_on(reader))

    async def _read_on(self, reader: EventReader) -> None:
        """Read the rest of the stream from where it broke. Until then the call is in flight, to those who drain."""
        stats = self._instance.server.stats
        stats.in_flight += 1
        error: CrossfadeError = ServerCrashed(
            f"server {self._instance.spec.name!r} ({self._instance.url}) was stopped before its stream was read on; "
            "call again",
            server=self._instance.spec.name,
        )
        try:
            await resume(self._instance, self._request_head, reader, self._deadline_ns, self._take_message)
        except CrossfadeError as failure:
            error = failure
        finally:
            stats.in_flight -= 1
            if not self.future.done():
                self.future.set_exception(error)
                self.future.exception()  # a caller that was cancelled meanwhile will not look

    def _resolve(self, body: bytes) -> None:
        assert self._head is not None  # noqa: S101  on_head came first
        if not body.strip() or not self._head.is_json:
            self.future.set_result(HttpAnswer(self._head, body, None))
            return
        try:
            answer = decode_answer(body)
        except NotJsonRpc:
            self._violate(f"sent an answer that is not JSON-RPC: {body[:80]!r}; look at the server")
            return
        if self._expect is not None and answer.result is not msgspec.UNSET and not self._is_ours(answer):
            self._violate(f"answered a request that was not asked: {body[:80]!r}; look at the server")
            return
        self.future.set_result(HttpAnswer(self._head, body, answer))

    def _is_ours(self, answer: Answer) -> bool:
        return answer.id is not msgspec.UNSET and bytes(answer.id) == b"%d" % (self._expect or 0)

    def _violate(self, what: str) -> None:
        self._bad = True
        if not self.future.done():
            name = self._instance.spec.name
            error = ProtocolViolation(f"server {name!r} ({self._instance.url}) {what}", server=name)
            self._instance.last_error = error
            self.future.set_exception(error)
