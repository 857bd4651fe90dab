"""Owns an HTTP instance: how its connections are opened, how requests to it are framed, and the sessions it gave us.

Rule: every request carries what the era of the server demands (streamable-http "Request Metadata" of 2026-07-28;
session id and version header of 2025-11-25), and nothing of the client's that is not the server's business (no cookies,
no tokens).
"""

from __future__ import annotations

import asyncio
import contextlib
from time import monotonic_ns
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from crossfade.impls.errors import CrossfadeError, ProtocolViolation, ServerError, ServerStartError
from crossfade.impls.python import discovery, jsonrpc
from crossfade.impls.python.event_stream import EventStream
from crossfade.impls.python.http_connection import HttpConnection
from crossfade.impls.python.http_ear import Ear
from crossfade.impls.python.http_exchange import Exchange, HttpAnswer
from crossfade.impls.python.http_head import ResponseHeads
from crossfade.impls.python.instance import Headers, Instance
from crossfade.impls.python.peer import Peer
from crossfade.impls.python.pipes import Pipes, older
from crossfade.impls.python.session_rules import session_id
from crossfade.impls.python.translate import DISCOVER, header_value
from crossfade.impls.snapshots import InstanceInfo

if TYPE_CHECKING:
    from crossfade.impls.python.dedicated import Dedicated
    from crossfade.impls.python.revision import Revision
    from crossfade.impls.python.voice import Voice

_LINGER_S: Final = 5.0
_GOODBYE_S: Final = 0.5


class HttpInstance(Instance):
    """One URL. ``session`` is the manager's own legacy session; gateway clients may have others."""

    __slots__ = ("_host", "_path", "_port", "_renewing", "head", "heads", "pipes", "session", "url")

    def __init__(self, revision: Revision, index: int, url: str) -> None:
        super().__init__(revision, index)
        self.url = url
        parts = urlsplit(url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or 80
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.heads = ResponseHeads()
        self.session: str | None = None
        self._renewing: asyncio.Task[str | None] | None = None
        self.pipes: Pipes | None = None  # if the server has nothing newer than HTTP+SSE
        host = f"[{self._host}]" if ":" in self._host else self._host
        lines = [
            f"POST {self._path} HTTP/1.1",
            f"Host: {host}:{self._port}" if parts.port else f"Host: {host}",
            "Content-Type: application/json",
            "Accept: application/json, text/event-stream",
            *(f"{name}: {value}" for name, value in self.spec.headers.items()),
        ]
        self.head = "\r\n".join(lines).encode() + b"\r\n"

    # -- framing

    @property
    def address(self) -> tuple[str, int]:
        return self._host, self._port

    def modern_head(self, method: str, name: str | None, extra: Headers = ()) -> bytes:
        """The head of a modern request, but for the length; ``name`` is the upstream's own."""
        head = self.head + f"MCP-Protocol-Version: {jsonrpc.MODERN}\r\nMcp-Method: {method}\r\n".encode()
        if name is not None:
            head += f"Mcp-Name: {header_value(name)}\r\n".encode()
        for key, value in extra:
            head += f"{key}: {value}\r\n".encode("latin-1")
        return head + b"Content-Length: "

    def legacy_head(self, session: str | None) -> bytes:
        """The head of a legacy request, but for the length. Before initialize no version is agreed on."""
        head = self.head
        if self.peer is not None:
            head += f"MCP-Protocol-Version: {self.peer.version}\r\n".encode()
        if session is not None:
            head += f"Mcp-Session-Id: {session}\r\n".encode("latin-1")
        return head + b"Content-Length: "

    # -- requests of the manager's own

    async def request(
        self,
        method: str,
        params: bytes,
        deadline_ns: int,
        *,
        name: str | None = None,
        sessions: Dedicated | None = None,
        extra: Headers = (),
        voice: Voice | None = None,
    ) -> bytes:
        """One request, answered with the JSON of ``result``. A lost legacy session is opened anew, once."""
        peer = self.peer or await self.ready()
        request_id = self.server.next_id()
        body = jsonrpc.request(request_id, method, params)
        if peer.era == "modern":
            ear = Ear(self, voice) if voice is not None else None
            answer = await self.post(self.modern_head(method, name, extra), body, deadline_ns, request_id, ear)
            return answer.result(self.spec.name)
        if self.pipes is not None:
            return await self.pipes.request(request_id, body, deadline_ns, sessions, voice)
        session: str | None = None
        try:
            session = await self.session_for(sessions, deadline_ns)
            ear = Ear(self, voice, session) if voice is not None else None
            answer = await self.post(self.legacy_head(session), body, deadline_ns, request_id, ear)
            if answer.status == 404 and session is not None:
                session = await self.session_for(sessions, deadline_ns, lost=session)
                ear = Ear(self, voice, session) if voice is not None else None
                answer = await self.post(self.legacy_head(session), body, deadline_ns, request_id, ear)
        except asyncio.CancelledError:
            self.tell_cancelled(session, b"%d" % request_id)
            raise
        return answer.result(self.spec.name)

    async def session_for(self, sessions: Dedicated | None, deadline_ns: int, lost: str | None = None) -> str | None:
        """The caller's session with this instance, opened if it has none or has lost it."""
        if sessions is None:
            return self.session if lost is None else await self.renew(lost, deadline_ns)
        return await sessions.session(self, deadline_ns, lost)

    async def post(
        self, head: bytes, body: bytes, deadline_ns: int, expect: int | None = None, ear: Ear | None = None
    ) -> HttpAnswer:
        """One POST of a call with its whole answer, with a verdict. Raises ServerError or PoolTimeout."""
        self.begin()
        started = monotonic_ns()
        try:
            conn: HttpConnection = await self.checkout(deadline_ns)
        except ServerError:
            self.done(monotonic_ns(), started, False)
            raise
        except BaseException:
            self.abandon(monotonic_ns(), started)
            raise
        exchange = Exchange(self, conn, expect, counted=True, ear=ear)
        try:
            return await self._exchange(exchange, conn, head, body, deadline_ns)
        except CrossfadeError:
            if not exchange.resend:
                raise
        return await self.post(head, body, deadline_ns, expect, ear)

    async def ask(self, head: bytes, body: bytes, deadline_ns: int, *, expect: int | None = None) -> HttpAnswer:
        """One POST that is no call: a handshake or a notification. Sent again if the connection was stale."""
        while True:
            conn: HttpConnection = await self.checkout(deadline_ns)
            exchange = Exchange(self, conn, expect, counted=False)
            try:
                return await self._exchange(exchange, conn, head, body, deadline_ns)
            except CrossfadeError:
                if not exchange.resend:
                    raise

    async def _exchange(
        self, exchange: Exchange, conn: HttpConnection, head: bytes, body: bytes, deadline_ns: int
    ) -> HttpAnswer:
        exchange.sent(head, deadline_ns)
        conn.send(b"%b%d\r\n\r\n%b" % (head, len(body), body), exchange, monotonic_ns(), deadline_ns)
        self.server.wake()
        try:
            return await exchange.future
        except asyncio.CancelledError:
            exchange.cancel()
            raise

    def tell_cancelled(self, session: str | None, raw_id: bytes) -> None:
        """A legacy server learns in words that nobody waits for a request any more."""
        params = b'{"requestId":%b,"reason":"the caller gave up"}' % raw_id
        self.spawn(self.notify(session, jsonrpc.notification("notifications/cancelled", params)))

    async def notify(self, session: str | None, note: bytes) -> None:
        """Send a notification or a response to a legacy server; nobody minds if it does not arrive."""
        with contextlib.suppress(CrossfadeError, TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                head = self.legacy_head(session)
                if self.pipes is not None:
                    await self.pipes.tell(session, note, monotonic_ns() + int(_LINGER_S * 1e9))
                elif self.pool.in_use < self.spec.pool.max_connections:
                    await self.ask(head, note, monotonic_ns() + int(_LINGER_S * 1e9))
                else:  # the calls that have the connections may be waiting for this very message
                    (await EventStream.open(self, b"%b%d\r\n\r\n%b" % (head, len(note), note))).close()

    # -- sessions

    async def open_session(self, deadline_ns: int, hello: bytes = discovery.INITIALIZE) -> tuple[str | None, Peer]:
        """Do the legacy handshake; returns the session id (None if the server keeps no sessions) and the peer."""
        request_id = self.server.next_id()
        body = jsonrpc.request(request_id, "initialize", hello)
        if self.pipes is not None:
            return await self.pipes.open(request_id, body, deadline_ns)
        if self.spec.era == "sse":
            return await older(self, None, request_id, body, deadline_ns)
        answer = await self.ask(self.head + b"Content-Length: ", body, deadline_ns, expect=request_id)
        if answer.status in (400, 404, 405) and answer.answer is None:
            return await older(self, answer.status, request_id, body, deadline_ns)
        peer = discovery.legacy_peer(answer.result(self.spec.name), self.spec.name)
        session = session_id(answer.session)
        head = self.legacy_head(session)
        if self.peer is None:
            head = head.replace(
                b"Content-Length: ", f"MCP-Protocol-Version: {peer.version}\r\nContent-Length: ".encode()
            )
        await self.ask(head, jsonrpc.notification("notifications/initialized"), deadline_ns)
        return session, peer

    async def close_session(self, session: str) -> None:
        """Tell the server that a session is over. One that does not support it (405) keeps it; that is its choice."""
        if self.pipes is not None:
            self.pipes.close(session)
            return
        head = self.legacy_head(session).replace(b"POST ", b"DELETE ", 1)
        with contextlib.suppress(CrossfadeError, TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                await self.ask(head, b"", monotonic_ns() + int(_LINGER_S * 1e9))

    async def renew(self, lost: str | None, deadline_ns: int) -> str | None:
        """The manager's session after the server has forgotten ``lost``; callers share one handshake."""
        if self.session != lost:
            return self.session
        if self._renewing is None:
            self._renewing = self.spawn(self._renew(deadline_ns))
        return await asyncio.shield(self._renewing)

    async def _renew(self, deadline_ns: int) -> str | None:
        try:
            self.session, self.peer = await self.open_session(deadline_ns)
            self.server.touched()
            self.server.watched.poke(back=True)
        finally:
            self._renewing = None
        return self.session

    # -- Instance

    async def _open(self, conn_id: int) -> HttpConnection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.spec.start_timeout_ms / 1000):
                _, conn = await loop.create_connection(lambda: HttpConnection(self, conn_id), self._host, self._port)
        except (OSError, TimeoutError) as error:
            why = getattr(error, "strerror", None) or str(error) or "timed out"
            raise ServerStartError(
                f"server {self.spec.name!r} cannot be reached at {self.url} ({why}); start it, or fix its url",
                server=self.spec.name,
            ) from None
        return conn

    async def _discover(self) -> Peer:
        deadline_ns = monotonic_ns() + self.spec.start_timeout_ms * 1_000_000
        if self.spec.era in ("auto", "modern"):
            request_id = self.server.next_id()
            answer = await self.ask(
                self.modern_head("server/discover", None),
                jsonrpc.request(request_id, "server/discover", DISCOVER),
                deadline_ns,
                expect=request_id,
            )
            peer = discovery.modern_peer(answer.answer, self.spec)
            if peer is not None:
                return peer
        try:
            self.session, peer = await self.open_session(deadline_ns)
        except ProtocolViolation as error:
            raise ServerStartError(
                f"server {self.spec.name!r} ({self.url}) speaks no era of MCP: {error.message}", server=self.spec.name
            ) from None
        return peer

    async def stop(self) -> None:
        self.seats.close()
        if self.session is not None:
            await self.close_session(self.session)
            self.session = None
        if self._tasks:  # the goodbyes of clients' sessions, if any
            await asyncio.wait(self._tasks, timeout=_GOODBYE_S)
        self.perform(self.pool.drain(monotonic_ns()))
        await self.end_tasks()
        for conn in list(self.conns.values()):
            conn.close()
        self.conns.clear()

    def info(self) -> InstanceInfo:
        return InstanceInfo(
            index=self.index,
            state=self.state,
            circuit=self.breaker.state(monotonic_ns()),
            era=self.peer.era if self.peer else None,
            url=self.url,
            connections=self.pool.open,
            in_flight=self.pool.in_use,
            ewma_ns=self.balancer.ewma_ns(self.index),
            revision=self.revision.number,
        )
