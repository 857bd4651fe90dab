"""Owns one keep-alive connection to an HTTP upstream: bytes of one request out, bytes of one answer in, to a *sink*.

The sink is told of the head once and of body bytes as they come; it may be a relay to a client or the collector of an
in-process call. Rule: one exchange at a time; whatever breaks the framing of the answer (more bytes than announced, an
early end, a head that is no HTTP) fails the exchange and ends the connection, so that no answer can slip into the next
one.

Sending again: a connection that the server closed while it was idle looks usable until the request is written. Such an
exchange fails with ``resend`` True if the connection had been used before, had been idle for ``STALE_NS`` at least, and
not one byte of an answer came. One that was busy a moment ago and dies is a crash, and a crash may have run the tool:
no resend.
"""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING, Final, Protocol, cast

from crossfade.impls.errors import CrossfadeError, ProtocolViolation, ServerCrashed, ServerTimeout
from crossfade.impls.python.http_chunks import ResponseChunks
from crossfade.impls.python.http_head import MAX_HEAD, BadHead, ResponseHead

if TYPE_CHECKING:
    from crossfade.impls.python.upstream_http import HttpInstance

_BEGIN: Final = b"HTTP/1."
STALE_NS: Final = 1_000_000_000


class Sink(Protocol):
    """Who receives an answer. With ``raw`` body bytes come as they stand on the wire, chunk sizes included.

    ``counted`` exchanges are calls, with a verdict for breaker and balancer; handshakes and notifications are not.
    """

    raw: bool
    counted: bool

    def on_stream(self) -> Sink:
        """The answer is an event stream: who receives it from the head on."""

    def on_head(self, head: ResponseHead, data: bytes, body_at: int, complete: bool) -> bool:
        """The head, and what came of the body behind offset ``body_at`` of ``data`` (decoded if not ``raw``).

        False: this is no answer that a healthy server gives. It counts against the instance.
        """

    def on_body(self, data: bytes, complete: bool) -> bool:
        """More of the body; False as for ``on_head``."""

    def on_failed(self, error: CrossfadeError, resend: bool) -> None:
        """There will be no answer, or no more of it."""

    def pause_sending(self) -> None:
        """The upstream reads more slowly than we write."""

    def resume_sending(self) -> None:
        """It has caught up."""


class HttpConnection(asyncio.Protocol):
    """One connection. ``left`` is what is missing of the body, None while the head is awaited."""

    __slots__ = (
        "chunks",
        "deadline_ns",
        "id",
        "idle_since_ns",
        "instance",
        "keep_alive",
        "left",
        "ok",
        "partial",
        "reused",
        "sink",
        "started_ns",
        "transport",
        "unsent",
    )

    def __init__(self, instance: HttpInstance, conn_id: int) -> None:
        self.instance = instance
        self.id = conn_id
        self.transport: asyncio.Transport | None = None
        self.sink: Sink | None = None
        self.started_ns = 0
        self.deadline_ns = 0
        self.idle_since_ns = 0
        self.reused = False
        self.ok = True
        self.keep_alive = True
        self.left: int | None = None
        self.partial = b""
        self.unsent = 0
        self.chunks: ResponseChunks | None = None

    # -- the exchange

    def send(
        self,
        data: bytes,
        sink: Sink,
        now_ns: int,
        deadline_ns: int,
        *,
        tail: memoryview | None = None,
        unsent: int = 0,
    ) -> None:
        """Begin an exchange with ``data`` and ``tail``; ``unsent`` bytes of the request will follow by ``more``."""
        self.sink = sink
        self.unsent = unsent
        self.started_ns = now_ns
        self.deadline_ns = deadline_ns
        transport = self.transport
        if transport is None:
            return
        if tail is None:
            transport.write(data)
        else:
            transport.writelines((data, tail))

    def more(self, data: bytes) -> None:
        """More of a request body that is streamed."""
        self.unsent -= len(data)
        if self.transport is not None:
            self.transport.write(data)

    def cancel(self) -> None:
        """Nobody waits for the answer any more: give up the connection, and with it the request (spec: that cancels
        it).
        """
        sink = self.sink
        if sink is None:
            return
        self.sink = None
        if sink.counted:
            self.instance.abandon(monotonic_ns(), self.started_ns)
        self.instance.release(self, False)

    def fail_quietly(self) -> None:
        """The sink refuses the rest of the answer: the instance's fault, and the end of the connection."""
        sink = self.sink
        if sink is None:
            return
        self.sink = None
        if sink.counted:
            self.instance.done(monotonic_ns(), self.started_ns, False)
        self.instance.release(self, False)

    def pause_answer(self) -> None:
        """The sink reads more slowly than the upstream writes."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_answer(self) -> None:
        """It has caught up."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def close(self) -> None:
        """End the connection; an exchange under way fails."""
        if self.transport is not None:
            self.transport.abort()
        if self.sink is not None:
            self._fail(
                ServerCrashed(f"{self._who()} was closed while a call was in flight; call again", **self._name())
            )

    def rest(self, now_ns: int) -> None:
        """Nobody uses it yet: as if it had been given back now."""
        self.reused = True
        self.idle_since_ns = now_ns

    def expire(self, now_ns: int) -> None:
        """Fail the exchange if its time is over."""
        if self.sink is not None and now_ns >= self.deadline_ns:
            waited_ms = (now_ns - self.started_ns) // 1_000_000
            self._fail(
                ServerTimeout(
                    f"{self._who()} did not answer within {waited_ms} ms; raise the timeout, or look at the server",
                    **self._name(),
                )
            )

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        sink = self.sink
        if sink is None:  # nobody asked: the server broke the framing, or says 408 before it closes
            self._drop()
            return
        if self.left is None:
            self._head_received(sink, data)
        elif self.chunks is not None:
            self._chunks_received(sink, self.chunks, data)
        elif self.left < 0:
            self._deliver(sink, sink.on_body(data, False), False)
        else:
            left = self.left - len(data)
            if left < 0:
                self._violation("sent more bytes than it announced")
                return
            self.left = left
            self._deliver(sink, sink.on_body(data, left == 0), left == 0)

    def _head_received(self, sink: Sink, data: bytes) -> None:  # noqa: PLR0912  one branch per framing, and per way to break it
        if self.partial:
            data = self.partial + data
            self.partial = b""
        at = data.find(b"\r\n\r\n") + 4
        if at < 4:
            if not data.startswith(_BEGIN[: len(data)]):
                # The end of a head may never come from what is none.
                self._violation(f"sent what is not an HTTP response: {data[:60]!r}")
            elif len(data) > MAX_HEAD:
                self._violation(f"sent a response head of more than {MAX_HEAD} bytes")
            else:
                self.partial = data
            return
        try:
            head = self.instance.heads.read(data[:at])
        except BadHead as error:
            self._violation(f"sent what is not an HTTP response ({error}): {data[:60]!r}")
            return
        self.ok = head.status < 500
        self.keep_alive = head.keep_alive
        if head.is_sse:
            sink = self.sink = sink.on_stream()
        length = head.length
        if length >= 0:
            left = length - len(data) + at
            if left == 0 and head.status >= 200:
                if not sink.on_head(head, data, at, True):
                    self.ok = False
                if self.sink is sink:
                    self._finish(sink)
                return
            if head.status < 200:
                self._head_received(sink, data[at:])
                return
            if left < 0:
                self._violation("sent more bytes than it announced")
                return
            self.left = left
            self._deliver(sink, sink.on_head(head, data, at, False), False)
        elif length == -1:
            self.left = 0
            self.chunks = ResponseChunks()
            self._chunks_received(sink, self.chunks, data, head, at)
        else:
            self.left = -1
            self._deliver(sink, sink.on_head(head, data, at, False), False)

    def _chunks_received(
        self, sink: Sink, chunks: ResponseChunks, data: bytes, head: ResponseHead | None = None, at: int = 0
    ) -> None:
        try:
            decoded = chunks.feed(data[at:] if at else data)
        except ValueError as error:
            self._violation(f"sent a broken chunked body ({error})")
            return
        if not sink.raw:
            data, at = decoded, 0
        done = chunks.done
        self._deliver(sink, sink.on_head(head, data, at, done) if head else sink.on_body(data, done), done)

    def _deliver(self, sink: Sink, ok: bool, complete: bool) -> None:
        """Note the sink's verdict; a sink that has had enough has cancelled already."""
        if not ok:
            self.ok = False
        if complete and self.sink is sink:
            self._finish(sink)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        sink = self.sink
        if sink is None:
            self.instance.lost(self.id)
        elif self.left is not None and self.left < 0:
            self._deliver(sink, sink.on_body(b"", True), True)
        else:
            how = "in the middle of its answer" if self.left is not None or self.partial else "without an answer"
            stale = self.reused and self.left is None and not self.partial
            stale = stale and self.started_ns - self.idle_since_ns >= STALE_NS
            self._fail(
                ServerCrashed(
                    f"{self._who()} closed the connection {how}{f' ({exc})' if exc else ''}; "
                    "call again, and look at the server's log if it persists",
                    **self._name(),
                ),
                resend=stale,
            )

    def pause_writing(self) -> None:
        if self.sink is not None:
            self.sink.pause_sending()

    def resume_writing(self) -> None:
        if self.sink is not None:
            self.sink.resume_sending()

    # -- endings

    def _finish(self, sink: Sink) -> None:
        """The answer is complete and delivered: account for it and give the connection back."""
        self.sink = None
        self.left = None
        self.chunks = None
        self.reused = True
        self.idle_since_ns = now = monotonic_ns()
        instance = self.instance
        if sink.counted:
            instance.done(now, self.started_ns, self.ok)
        reusable = self.keep_alive and not self.unsent and self.transport is not None
        actions = instance.pool.release(now, self.id, reusable)
        if actions:
            instance.perform(actions)

    def _fail(self, error: CrossfadeError, *, resend: bool = False) -> None:
        sink = self.sink
        if sink is None:
            return
        self.sink = None
        now = monotonic_ns()
        if not sink.counted:
            pass
        elif resend:
            self.instance.abandon(now, self.started_ns)
        else:
            self.instance.last_error = error
            self.instance.done(now, self.started_ns, False)
        self.instance.conns.pop(self.id, None)
        self.instance.perform(self.instance.pool.lost(now, self.id))
        if self.transport is not None:
            self.transport.abort()
        sink.on_failed(error, resend)

    def _violation(self, what: str) -> None:
        self._fail(
            ProtocolViolation(f"{self._who()} {what}; look at the server, or at what is between", **self._name())
        )

    def _drop(self) -> None:
        self.instance.lost(self.id)
        if self.transport is not None:
            self.transport.abort()

    def _who(self) -> str:
        return f"server {self.instance.spec.name!r} ({self.instance.url})"

    def _name(self) -> dict[str, str]:
        return {"server": self.instance.spec.name}
