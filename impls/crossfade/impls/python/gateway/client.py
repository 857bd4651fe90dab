"""Owns one client connection: bytes into requests, one at a time, and answers back in their order.

The hot route is straight through: a request that arrives whole is read, routed and written upstream in one call,
without a task. Rules: a body is bounded and a head too; one above ``STREAM_FROM`` is passed on while it arrives; a
client that sends ahead is not read further until its turn comes; what is not in use is not kept, so that an idle
connection costs no buffers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final, cast

from crossfade.impls.errors import CrossfadeError
from crossfade.impls.python import jsonrpc
from crossfade.impls.python.envelope import EnvelopeError, parse, scan
from crossfade.impls.python.gateway import dispatch
from crossfade.impls.python.gateway.access import Endpoint, Refusal
from crossfade.impls.python.gateway.http_answer import HttpAnswer, encode, refuse
from crossfade.impls.python.gateway.jobs import Job, LastingJob, TaskJob
from crossfade.impls.python.gateway.speech import Speech
from crossfade.impls.python.gateway.sse_answer import END, KEEP_ALIVE, SLACK, chunk, stream_head
from crossfade.impls.python.http_chunks import RequestChunks
from crossfade.impls.python.http_head import MAX_HEAD, BadHead, RequestHead

if TYPE_CHECKING:
    from crossfade.impls.python.gateway.server import GatewayServer
    from crossfade.impls.python.gateway.sessions import Session

STREAM_FROM: Final = 16 * 1024
_ENVELOPE: Final = 2 * 1024
_AHEAD: Final = 64 * 1024


class ClientConnection(asyncio.Protocol):
    """One connection. ``job`` is set while a request is answered; ``left`` counts what is missing of its body.

    ``call`` is the session that the request in hand keeps in use, and its id; a GET has none. It outlives no request:
    whatever ends one gives the session back.
    """

    __slots__ = ("ahead", "body", "call", "gateway", "head", "job", "keep_alive", "left", "transport")

    def __init__(self, gateway: GatewayServer) -> None:
        self.gateway = gateway
        self.transport: asyncio.Transport | None = None
        self.job: Job | None = None
        self.head: RequestHead | None = None
        self.body: list[bytes] | RequestChunks | None = None
        self.left = 0
        self.ahead = b""
        self.keep_alive = True
        self.call: tuple[Session, bytes | None] | None = None

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        clients = self.gateway.clients
        clients.add(self)
        if len(clients) > self.gateway.spec.max_connections:
            self.keep_alive = False
            self.respond(refuse(Refusal(503, "too many connections; close some, or raise gateway.maxConnections")))

    def data_received(self, data: bytes) -> None:
        if self.job is not None:
            if self.left:
                self._stream_on(self.job, data)
            else:
                self._hold(data)
        elif self.head is None:
            self._begin(self.ahead + data if self.ahead else data)
        else:
            self._continue(self.head, data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.gateway.clients.discard(self)
        self.gateway.receiving.pop(self, None)
        self.gateway.streams.discard(self)
        job, self.job = self.job, None
        self.body = None
        if job is not None:
            job.cancel()
        if self.call is not None:
            self._give_back()

    def pause_writing(self) -> None:
        if self.job is not None:
            self.job.pause()

    def resume_writing(self) -> None:
        if self.job is not None:
            self.job.resume()

    # -- requests

    def _begin(self, data: bytes) -> None:
        """Read a head, and the body as far as it is there."""
        at = data.find(b"\r\n\r\n") + 4
        if at < 4:
            if len(data) > MAX_HEAD:
                self._refuse(431, f"the request head is longer than {MAX_HEAD} bytes; send fewer or shorter headers")
                return
            self.ahead = data
            self._receiving()
            return
        self.ahead = b""
        try:
            head = self.gateway.heads.read(data[:at])
            verdict = head.verdict
            if verdict is None:
                verdict = head.verdict = self.gateway.access.judge(head)
        except BadHead as error:
            self._refuse(400, str(error))
            return
        self.keep_alive = head.keep_alive
        length = head.length
        have = len(data) - at
        if verdict is Endpoint.POST and length == have and length <= STREAM_FROM:
            self._whole(head, data[at:])
            return
        if isinstance(verdict, Refusal):
            # Its body will not be read, so nothing behind it can be either.
            self.keep_alive = self.keep_alive and length == have
            self.head = None
            self.respond(refuse(verdict)._replace(bare=head.method == "HEAD"))
            return
        if head.expect and not have and self.transport is not None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.head = head
        self.left = length
        if length > STREAM_FROM and verdict is Endpoint.POST:
            self.left = max(length - have, 0)
            if self._stream(head, memoryview(data)[at : at + length]):
                if have > length:
                    self._hold(data[at + length :])
                return
            self.left = length
        self.body = RequestChunks(self.gateway.spec.max_body_bytes) if length < 0 else []
        self._continue(head, data[at:])

    def _continue(self, head: RequestHead, data: bytes) -> None:
        """Collect the body."""
        body = self.body
        if isinstance(body, RequestChunks):
            self._continue_chunked(head, body, data)
            return
        assert body is not None  # noqa: S101  set together with head
        left = self.left
        if len(data) > left:
            self.ahead = data[left:]
            data = data[:left]
        body.append(data)
        self.left = left = left - len(data)
        if left:
            have = head.length - left
            if head.length > STREAM_FROM and have <= STREAM_FROM and head.verdict is Endpoint.POST:
                self._stream(head, memoryview(b"".join(body)))
            else:
                self._receiving()
            return
        self._received()
        self._whole(head, b"".join(body))

    def _continue_chunked(self, head: RequestHead, body: RequestChunks, data: bytes) -> None:
        try:
            done = body.feed(data)
        except ValueError as error:
            self._refuse(413 if body.too_long else 400, str(error))
            return
        if not done:
            self._receiving()
            return
        self._received()
        self._whole(head, body.take())

    def _stream(self, head: RequestHead, arrived: memoryview) -> bool:
        """Pass a long body on as it arrives. False if the envelope does not say enough, yet or at all."""
        left = self.left
        try:
            envelope = scan(bytes(arrived[:_ENVELOPE]))
            job = dispatch.stream(self, head, envelope, arrived, head.length)
        except EnvelopeError:
            job = None  # it is refused when all of it is there, as a short one is
        if job is None:
            self._receiving()
            return False
        self._received()
        if self.job is job:
            self.left = left
        return True

    def _whole(self, head: RequestHead, body: bytes) -> None:
        """A request is complete."""
        verdict = head.verdict
        try:
            if verdict is Endpoint.POST:
                dispatch.post(self, head, parse(body), body)
            else:
                dispatch.other(self, head, verdict)
        except EnvelopeError as error:
            self.respond(HttpAnswer(400, jsonrpc.error(error.raw_id, error.code, error.message)))

    def _stream_on(self, job: Job, data: bytes) -> None:
        left = self.left
        if len(data) > left:
            self._hold(data[left:])
            data = data[:left]
        self.left = left - len(data)
        job.more(data)

    def _hold(self, data: bytes) -> None:
        self.ahead += data
        if len(self.ahead) > _AHEAD and self.transport is not None:
            self.transport.pause_reading()

    def use(self, session: Session, raw_id: bytes | None = None) -> None:
        """The request in hand is one of a legacy session, which is in use until it is answered."""
        self.call = (session, raw_id)
        session.enter()

    def _give_back(self) -> None:
        call, self.call = self.call, None
        if call is not None:
            call[0].leave()

    def _receiving(self) -> None:
        self.gateway.receiving.setdefault(self, monotonic_ns())

    def _received(self) -> None:
        self.head = None
        self.body = None
        self.left = 0
        self.gateway.receiving.pop(self, None)

    # -- answers

    def run(self, work: Any, ended: Callable[[], None] | None = None, speech: Speech | None = None) -> None:
        """Answer by a coroutine that returns an HttpAnswer, or None if it has handed the request on.

        ``ended`` is called when it is over, also if it was cancelled before its first step.
        """
        job = TaskJob()
        self.job = job
        if speech is not None:
            speech.job, job.speech = job, speech
        job.task = self.gateway.spawn(self._run(work, job))
        if ended is not None:
            job.task.add_done_callback(lambda _: ended())

    async def _run(self, work: Any, job: TaskJob) -> None:
        answer = await work
        if answer is None:
            return
        if job.speech is not None and (self.job is job or job.speech.stream is not None):
            job.speech.end(answer)
        elif self.job is job:
            self.respond(answer)

    def respond(self, answer: HttpAnswer) -> None:
        """Send a whole response."""
        if self.transport is not None:
            self.transport.write(encode(answer, keep_alive=self.keep_alive and not self.gateway.closing))
        self.finished()

    def fail(self, request_id: bytes | None, error: CrossfadeError) -> None:
        """Tell of a failure in a JSON-RPC error."""
        self.gateway.manager.stats.errors_by_code[error.code] += 1
        self.respond(HttpAnswer(200, jsonrpc.error_of(request_id, error)))

    def finished(self) -> None:
        """The response is written: the next request may begin."""
        self.job = None
        if self.call is not None:
            self._give_back()
        transport = self.transport
        if transport is None:
            return
        if self.left or not self.keep_alive or self.gateway.closing:
            transport.close()
        elif self.ahead:
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        if self.transport is not None and self.job is None and self.ahead:
            self.transport.resume_reading()
            data, self.ahead = self.ahead, b""
            self._begin(data)

    def _refuse(self, status: int, why: str) -> None:
        self.keep_alive = False
        self._received()
        self.ahead = b""
        self.respond(refuse(Refusal(status, why)))

    def too_slow(self) -> None:
        """The request did not arrive in time."""
        self._refuse(408, "the request did not arrive in time; send it faster, or raise gateway.headerTimeoutMs")

    # -- answers that are event streams

    def stay(self, job: LastingJob) -> None:
        """Answer with a stream that stays open until its job ends it. Who only listens is told its end by that of the
        connection, so the head announces that: a client would send its next request into it.
        """
        self.job = job
        self.keep_alive = False
        self.begin_stream()

    def begin_stream(self) -> None:
        """The head of a stream."""
        self.gateway.streams.add(self)
        if self.transport is not None:
            self.transport.write(stream_head(keep_alive=self.keep_alive and not self.gateway.closing))

    def write_event(self, event: bytes) -> None:
        """One event of it."""
        if self.transport is not None:
            self.transport.write(chunk(event))

    @property
    def full(self) -> bool:
        """Whether the client does not keep up."""
        return self.transport is not None and self.transport.get_write_buffer_size() >= SLACK

    def keep_stream_alive(self) -> None:
        """A comment line, so that nobody in between takes the stream for dead."""
        if self.transport is not None and not self.transport.get_write_buffer_size():
            self.transport.write(KEEP_ALIVE)

    def end_stream(self) -> None:
        """The stream is over; the next request may begin."""
        self.gateway.streams.discard(self)
        if self.transport is not None:
            self.transport.write(END)
        self.finished()

    def revoke(self) -> None:
        """The client has cancelled the request in hand: no answer is sent, so the connection ends with it."""
        self.keep_alive = False
        self.gateway.streams.discard(self)
        job, self.job = self.job, None
        if job is not None:
            job.revoke()
        self.finished()

    # -- the end

    def close_when_idle(self) -> None:
        """The gateway closes: end now, or after the response under way."""
        if isinstance(self.job, LastingJob):
            self.job.end()
        elif self.job is None and self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """End now."""
        if self.transport is not None:
            self.transport.abort()
