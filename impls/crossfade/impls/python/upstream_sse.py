"""Owns the HTTP+SSE transport of 2024-11-05, as a client: a stream of all that the server says, and POSTs to it.

The server names the address of the POSTs in its first event. Such a stream is a session: it has a handle in the place
of a session id, and ends with its connection. Rules: the address is of the same origin, or a server could send us, and
our headers, anywhere; ids are ours, so that many calls share a stream; what is in flight fails at once when it breaks.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from time import monotonic_ns
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

import msgspec

from crossfade.impls.errors import CrossfadeError, ProtocolViolation, ServerCrashed, ServerError, ServerTimeout
from crossfade.impls.python import jsonrpc
from crossfade.impls.python.event_stream import EventStream, get_of
from crossfade.impls.python.jsonrpc import Answer, NotJsonRpc, decode_answer
from crossfade.impls.python.voice import PROGRESS

if TYPE_CHECKING:
    from crossfade.impls.python.http_ear import Ear
    from crossfade.impls.python.upstream_http import HttpInstance

_FOREVER_S: Final = 1e6
_numbers = itertools.count(1)


class _Waiting:
    """A request in flight; it has what an Ear wants of an exchange."""

    def __init__(self, pipe: Pipe, ear: Ear | None, deadline_ns: int) -> None:
        self.future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.ear = ear
        self._pipe = pipe
        self._started_ns = monotonic_ns()
        self._deadline_ns = deadline_ns
        self._timer: asyncio.TimerHandle | None = None
        self.postpone(0)

    def postpone(self, by_ns: int, waited_ns: int = 0) -> None:
        """Move the deadline; time that the server waited for its client is not its own."""
        self._deadline_ns += by_ns
        self._started_ns += waited_ns
        self.stop()
        delay_s = (self._deadline_ns - monotonic_ns()) / 1e9
        if delay_s < _FOREVER_S:
            self._timer = asyncio.get_running_loop().call_later(max(delay_s, 0), self._late)

    def stop(self) -> None:
        """Its time does not matter any more."""
        if self._timer is not None:
            self._timer.cancel()

    def fail(self, error: CrossfadeError) -> None:
        """There will be no answer."""
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # a caller that was cancelled meanwhile will not look

    def _late(self) -> None:
        waited_ms = (monotonic_ns() - self._started_ns) // 1_000_000
        text = f"did not answer within {waited_ms} ms; raise the timeout, or look at the server"
        self.fail(ServerTimeout(f"{self._pipe.who} {text}", server=self._pipe.name))


class Pipe:
    """One stream, and its requests in flight by our ids. ``ended`` is called when it is over."""

    def __init__(self, instance: HttpInstance, ended: Callable[[Pipe], None]) -> None:
        self._instance = instance
        self._ended = ended
        self.handle = f"sse-{next(_numbers)}"
        self.name = instance.spec.name
        self.who = f"server {self.name!r} ({instance.url})"
        self._in_flight: dict[bytes, _Waiting] = {}
        self._endpoint: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._reading: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Ask for the stream, and wait for its first event. Raises ServerError."""
        self._reading = self._instance.spawn(self._read())
        try:
            await asyncio.shield(self._endpoint)
        except BaseException:
            self._reading.cancel()
            raise

    async def request(self, request_id: int, body: bytes, deadline_ns: int, ear: Ear | None = None) -> bytes:
        """One request; returns the JSON of ``result``. Raises CrossfadeError."""
        waiting = self._in_flight[b"%d" % request_id] = _Waiting(self, ear, deadline_ns)
        if ear is not None:
            ear.exchange = waiting
        try:
            posting = asyncio.ensure_future(self._post(body, deadline_ns))
            try:
                await asyncio.wait((posting, waiting.future), return_when=asyncio.FIRST_COMPLETED)
                if posting.done() and not waiting.future.done():
                    posting.result()
                answer = await waiting.future
            finally:
                posting.cancel()
        finally:
            waiting.stop()
            self._in_flight.pop(b"%d" % request_id, None)
        if answer.error is not msgspec.UNSET:
            raise jsonrpc.remote_error(answer.error, self.name)
        return bytes(answer.result) if answer.result is not msgspec.UNSET else b"{}"

    async def tell(self, message: bytes, deadline_ns: int) -> None:
        """A notification or a response. Raises CrossfadeError."""
        await self._post(message, deadline_ns)

    async def _post(self, body: bytes, deadline_ns: int) -> None:
        answer = await self._instance.ask(await self._endpoint, body, deadline_ns)
        if answer.status >= 300:
            raise ProtocolViolation(
                f"{self.who} refused a message with HTTP {answer.status}: {answer.body[:80]!r}; look at the server",
                server=self.name,
            )

    def close(self) -> None:
        """End it."""
        if self._reading is not None:
            self._reading.cancel()

    # -- what the server says

    async def _read(self) -> None:
        error: CrossfadeError = ServerCrashed(f"{self.who} ended its event stream; call again", server=self.name)
        try:
            async with await EventStream.open(self._instance, get_of(self._instance.head)) as stream:
                if not stream.is_stream:
                    status = stream.head.status
                    raise ProtocolViolation(f"{self.who} gave no event stream (HTTP {status})", server=self.name)
                async for event in stream:
                    if event.kind == "endpoint":
                        self._named(event.data)
                    else:
                        self._message(event.data)
        except ServerError as failure:
            error = failure
        finally:
            self._ended(self)
            for waiting in list(self._in_flight.values()):
                waiting.fail(error)
            if not self._endpoint.done():
                self._endpoint.set_exception(error)
                self._endpoint.exception()  # whoever waited may be gone

    def _named(self, data: bytes) -> None:
        """The address of the POSTs."""
        url = self._instance.url
        target = urljoin(url, data.decode("utf-8", "replace").strip())
        here, there = urlsplit(url), urlsplit(target)
        same = (here.scheme, here.hostname, here.port) == (there.scheme, there.hostname, there.port)
        if not same or any(not " " < c < "\x7f" for c in target):
            raise ProtocolViolation(
                f"{self.who} named {target!r} as its endpoint, which is another origin; look at the server",
                server=self.name,
            )
        path = (there.path or "/") + (f"?{there.query}" if there.query else "")
        head = b"POST %b HTTP/1.1\r\n%b" % (path.encode(), self._instance.head.partition(b"\r\n")[2])
        if not self._endpoint.done():
            self._endpoint.set_result(head + b"Content-Length: ")

    def _message(self, data: bytes) -> None:
        try:
            message = decode_answer(data)
        except NotJsonRpc:
            text = f"{self.who} sent an event that is not JSON-RPC: {data[:80]!r}; look at the server"
            raise ProtocolViolation(text, server=self.name) from None
        if message.method is msgspec.UNSET:
            waiting = self._in_flight.get(b"" if message.id is msgspec.UNSET else bytes(message.id))
            if waiting is not None and not waiting.future.done():
                waiting.future.set_result(message)
            return
        if self._instance.session == self.handle:  # clients' own sessions say the same once more
            self._instance.server.heard(self._instance, message)
        ears = [waiting.ear for waiting in self._in_flight.values() if waiting.ear is not None]
        if message.method == PROGRESS:  # it has a token that tells whose it is
            for ear in ears:
                ear.hears(message)
        elif ears and (self._instance.session != self.handle):
            ears[-1].hears(message)
        elif message.id is not msgspec.UNSET:
            self._instance.spawn(self._instance.notify(self.handle, _answer_for(message)))


def _answer_for(message: Answer) -> bytes:
    """What a server is told that asks where nobody can be asked."""
    assert message.id is not msgspec.UNSET  # noqa: S101  it is a request
    if message.method == "ping":
        return jsonrpc.result(message.id, b"{}")
    text = f"nobody declared a capability for {message.method} on this session"
    return jsonrpc.error(message.id, jsonrpc.METHOD_NOT_FOUND, text)
