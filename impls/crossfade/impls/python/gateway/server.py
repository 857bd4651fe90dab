"""Owns the listening socket, its clients and their sessions: the :class:`Gateway` of the ``python`` variant."""

from __future__ import annotations

import asyncio
import errno
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from crossfade.impls.api import Gateway
from crossfade.impls.errors import AddressInUse
from crossfade.impls.python.gateway.access import Access
from crossfade.impls.python.gateway.client import ClientConnection
from crossfade.impls.python.gateway.routes import Routes
from crossfade.impls.python.gateway.sessions import Session, Sessions
from crossfade.impls.python.gateway.suspended import SuspendedCalls
from crossfade.impls.python.http_head import RequestHeads

if TYPE_CHECKING:
    from crossfade.impls.python.instance import Instance
    from crossfade.impls.python.manager import PythonManager


class GatewayServer(Gateway):
    """A running face. ``receiving`` are the clients with half a request, watched for slowness."""

    def __init__(self, manager: PythonManager) -> None:
        self.manager = manager
        self.spec = manager.config.gateway
        self.principal_header = self.spec.principal_header.lower().encode("latin-1", "replace")
        self.host = ""
        self.port = 0
        self.clients: set[ClientConnection] = set()
        self.receiving: dict[ClientConnection, int] = {}
        self.streams: set[ClientConnection] = set()
        spec = self.spec
        self.sessions = Sessions(spec.session_idle_ms, spec.input_timeout_ms, spec.max_sessions)
        self.suspended = SuspendedCalls(self.spec.input_timeout_ms)
        self.heads = RequestHeads()
        self.routes = Routes(manager.catalog)
        self.access = Access(self.spec, "127.0.0.1")
        self.header_timeout_ns = self.spec.header_timeout_ms * 1_000_000
        self.closing = False
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._kept_alive_ns = monotonic_ns()

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises AddressInUse."""
        self.access = Access(self.spec, host)
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: ClientConnection(self), host, port, backlog=4096)
        except OSError as error:
            why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be bound ({error.strerror or error})"
            raise AddressInUse(f"address {host}:{port} {why}; stop what uses it, or choose another port") from None
        self.host = host
        self.port = self._server.sockets[0].getsockname()[1]

    def forget_routes(self) -> None:
        """The registry has changed: what was remembered of names and heads may be wrong."""
        self.routes.clear()
        self.heads.clear()

    def spawn(self, work: Any) -> asyncio.Task[Any]:
        """Run work that belongs to the gateway and ends with it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def tick(self, now_ns: int) -> None:
        """Slow senders, idle sessions, quiet streams."""
        for client, since_ns in list(self.receiving.items()):
            if now_ns - since_ns >= self.header_timeout_ns:
                client.too_slow()
        for session in self.sessions.expired(now_ns):
            self.end_session(session)
        if now_ns - self._kept_alive_ns >= self.spec.keep_alive_ms * 1_000_000:
            self._kept_alive_ns = now_ns
            for client in list(self.streams):
                client.keep_stream_alive()

    def end_session(self, session: Session) -> None:
        """End what belongs to a session that is forgotten already."""
        session.end()
        if session.listener is not None:
            self.manager.notices.leave(session.listener)
        if session.streams is not None:
            session.streams.end()

    def end_upstream(self, instance: Instance) -> None:
        """An instance goes: clients whose session is with it get one with another on their next call."""
        for session in self.sessions:
            session.upstream.leave(instance)

    async def close(self, *, drain_s: float = 5.0) -> None:
        if self._server is None:
            return
        server, self._server = self._server, None
        self.closing = True
        server.close()
        try:
            for client in list(self.clients):
                client.close_when_idle()
            deadline = monotonic_ns() + int(drain_s * 1e9)
            while self.clients and monotonic_ns() < deadline:  # noqa: ASYNC110  ends by either, and this once
                await asyncio.sleep(0.01)
        finally:
            self.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def abort(self) -> None:
        """End everything at once, without awaiting: for whoever is cancelled in the middle of ``close``."""
        self.closing = True
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for client in list(self.clients):
            client.abort()
        for session in self.sessions.all():
            self.end_session(session)
        self.suspended.close()
        for task in list(self._tasks):
            task.cancel()
        self.manager.gateways.discard(self)
