"""Owns a stdio instance: a child process in its own process group, and the conversation over its pipes.

Rules: stderr is always drained into a bounded ring (a full pipe stops a child for good), a line of stdout is bounded,
ids are ours so that clients cannot collide, and the whole group is gone when the instance is: stdin closed, a wait,
SIGTERM, a wait, SIGKILL, also if whoever asked was cancelled (stdio "Shutdown" of 2026-07-28).
"""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

import msgspec

from crossfade.impls.errors import CrossfadeError, ServerError, ServerStartError
from crossfade.impls.python import discovery, jsonrpc
from crossfade.impls.python.child import Child
from crossfade.impls.python.instance import Headers, Instance
from crossfade.impls.python.jsonrpc import Answer
from crossfade.impls.python.peer import Peer
from crossfade.impls.python.stdio_connection import Reply, StdioConnection
from crossfade.impls.python.stdio_talk import turn
from crossfade.impls.python.supervisor import Supervisor
from crossfade.impls.python.translate import DISCOVER
from crossfade.impls.snapshots import InstanceInfo
from crossfade.impls.states import ServerState

if TYPE_CHECKING:
    from crossfade.impls.python.dedicated import Dedicated
    from crossfade.impls.python.own_child import OwnChild
    from crossfade.impls.python.revision import Revision
    from crossfade.impls.python.voice import Voice

PROBE_S: Final = 3.0
"""How long ``server/discover`` may stay unanswered before the handshake of the legacy era is tried as well."""


class StdioInstance(Instance):
    """One child at a time; when and by whom it is started again after it ended, is the supervisor's."""

    __slots__ = ("child", "hello", "legacy_only", "logging", "own", "own_children", "supervisor")

    def __init__(self, revision: Revision, index: int) -> None:
        super().__init__(revision, index)
        self.child: StdioConnection | None = None
        self.legacy_only = self.spec.era == "legacy"
        self.hello = discovery.INITIALIZE
        self.own = False
        self.own_children: set[OwnChild] = set()
        self.logging = asyncio.Lock()  # a log message on a pipe says not whose it is: one at a time asks for them
        self.supervisor = Supervisor(self, (revision.seed << 8) + index)

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
        """One request, answered with the JSON of ``result``."""
        if voice is None or voice.level is None or self.peer is None or self.peer.era == "legacy":
            return await self._request(method, params, deadline_ns, voice)
        asked_ns = monotonic_ns()
        try:
            await turn(self.logging, deadline_ns, self.spec.name)
        except BaseException:
            self.breaker.forget(monotonic_ns(), monotonic_ns() - asked_ns)
            raise
        try:
            return await self._request(method, params, deadline_ns, voice)
        finally:
            self.logging.release()

    async def _request(self, method: str, params: bytes, deadline_ns: int, voice: Voice | None) -> bytes:
        self.begin()
        started = monotonic_ns()
        try:
            conn: StdioConnection = await self.checkout(deadline_ns)
        except ServerError:
            self.done(monotonic_ns(), started, False)
            raise
        except BaseException:
            self.abandon(monotonic_ns(), started)
            raise
        reply = _FutureReply()
        request_id = conn.request(method, params, reply, deadline_ns, voice)
        self.server.wake()
        try:
            answer = await reply.future
        except asyncio.CancelledError:
            conn.cancel(request_id)
            raise
        if answer.error is not msgspec.UNSET:
            raise jsonrpc.remote_error(answer.error, self.spec.name)
        return bytes(answer.result) if answer.result is not msgspec.UNSET else b"{}"

    # -- Instance

    async def _open(self, conn_id: int) -> StdioConnection:
        await self.supervisor.may_start()
        try:
            async with asyncio.timeout(self.spec.start_timeout_ms / 1000):
                conn = await self._start_child(conn_id)
        except TimeoutError:
            error: CrossfadeError = ServerStartError(
                f"server {self.spec.name!r} ({self.spec.command}) did not answer within "
                f"{self.spec.start_timeout_ms} ms; check that the command is an MCP server, or raise startTimeoutMs"
                f"{self.words()}",
                server=self.spec.name,
            )
            raise self.supervisor.down(error) from None
        except ServerError as error:
            raise self.supervisor.down(error) from None
        self.supervisor.up(conn.pid)
        self.recovered()
        return conn

    async def _start_child(self, conn_id: int) -> StdioConnection:
        while True:
            conn = await self._spawn_child(conn_id)
            self.child = conn
            try:
                self.peer = await self._shake_hands(conn)
                self.server.touched()
            except ServerError:
                died = conn.returncode is not None
                await conn.shutdown(kill=True)
                # Some legacy servers end on a request before initialize: once more, without asking.
                if died and not self.legacy_only and self.peer is None and self.spec.era == "auto":
                    self.legacy_only = True
                    continue
                raise
            except BaseException:
                conn.kill()
                raise
            conn.started()
            return conn

    async def _spawn_child(self, conn_id: int) -> StdioConnection:
        spec = self.spec
        conn = StdioConnection(self, conn_id)
        try:
            conn.attach(await Child.start(spec, conn, self.directory))
        except OSError as error:
            cwd = spec.cwd or self.directory
            missing = cwd if cwd and error.filename == cwd else spec.command
            raise ServerStartError(
                f"server {spec.name!r}: {missing!r} cannot be started ({error.strerror or error}); "
                "install it, or fix command and cwd",
                server=spec.name,
            ) from None
        return conn

    async def _shake_hands(self, conn: StdioConnection) -> Peer:
        known = self.peer
        deadline_ns = monotonic_ns() + self.spec.start_timeout_ms * 1_000_000
        probe: _FutureReply | None = None
        if not self.legacy_only and (known is None or known.era == "modern"):
            probe = _FutureReply()
            conn.ask("server/discover", DISCOVER, probe, deadline_ns)
            patience = None if self.spec.era == "modern" else PROBE_S
            done, _ = await asyncio.wait({probe.future}, timeout=patience)
            if done:
                peer = discovery.modern_peer(probe.future.result(), self.spec)
                if peer is not None:
                    return peer
                probe = None
        handshake = _FutureReply()
        conn.ask("initialize", self.hello, handshake, deadline_ns)
        if probe is not None:  # a slow starter may still turn out to be modern
            await asyncio.wait({probe.future, handshake.future}, return_when=asyncio.FIRST_COMPLETED)
            if probe.future.done() and not probe.future.exception():
                peer = discovery.modern_peer(probe.future.result(), self.spec)
                if peer is not None:
                    handshake.abandon()
                    return peer
        answer = await handshake.future
        if answer.error is not msgspec.UNSET:
            error = jsonrpc.remote_error(answer.error, self.spec.name)
            raise ServerStartError(
                f"server {self.spec.name!r} refused initialize: {error.remote_code} {error.message}; update the server",
                server=self.spec.name,
            )
        peer = discovery.legacy_peer(bytes(answer.result or b"{}"), self.spec.name)
        conn.tell(jsonrpc.notification("notifications/initialized"))
        return peer

    async def _discover(self) -> Peer:
        conn: StdioConnection = await self.checkout(monotonic_ns() + self.spec.start_timeout_ms * 1_000_000)
        self.release(conn, True)
        assert self.peer is not None  # noqa: S101  an open connection has shaken hands
        return self.peer

    def ended(self, conn: StdioConnection, error: CrossfadeError) -> None:
        """The child is gone, or unusable; the next use starts another."""
        if self.child is conn and self.state is not ServerState.STOPPED and not self.server.draining:
            # While it shakes hands, whoever started it tells the supervisor.
            self.failed(self.supervisor.down(error) if conn.id in self.conns else error)
        self.lost(conn.id)
        self.server.watched.poke()

    def forgive(self) -> None:
        self.supervisor.forgive()

    def tick(self, now_ns: int) -> None:
        super().tick(now_ns)
        for child in list(self.own_children):
            child.tick(now_ns)

    def end_child(self, child: OwnChild) -> None:
        """A client's own child is not needed any more."""
        self.spawn(self._end_child(child))

    async def _end_child(self, child: OwnChild) -> None:
        try:
            await child.stop()
        finally:
            child.kill()
            self.own_children.discard(child)
            self.seats.leave()

    async def stop(self) -> None:
        self.supervisor.close()
        self.seats.close()
        self.conns.clear()  # the pool must not close the child: it is asked to leave first
        try:
            self.perform(self.pool.drain(monotonic_ns()))
            await self.end_tasks()
            stopping = [child.stop() for child in self.own_children]
            if self.child is not None:
                stopping.append(self.child.shutdown())
            await asyncio.gather(*stopping)
        finally:
            for child in self.own_children:
                child.kill()
            self.own_children.clear()
            if self.child is not None:
                self.child.kill()

    def kill(self) -> None:
        for child in self.own_children:
            child.kill()
        self.supervisor.close()
        super().kill()
        if self.child is not None:
            self.child.kill()

    def words(self) -> str:
        return self.child.said() if self.child is not None else ""

    @property
    def directory(self) -> str | None:
        """Its claimed storage."""
        return self.claim.path if self.claim is not None else None

    def info(self) -> InstanceInfo:
        return InstanceInfo(
            index=self.index,
            state=self.state,
            circuit=self.breaker.state(monotonic_ns()),
            era=self.peer.era if self.peer else None,
            pid=self.child.pid if self.child is not None and self.child.returncode is None else None,
            connections=self.pool.open,
            in_flight=self.pool.in_use,
            ewma_ns=self.balancer.ewma_ns(self.index),
            revision=self.revision.number,
            restarts=self.supervisor.restarts,
            directory=self.directory,
        )


class _FutureReply(Reply):
    """A reply that a coroutine awaits."""

    __slots__ = ("future",)

    def __init__(self) -> None:
        self.future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def answered(self, answer: Answer) -> None:
        if not self.future.done():
            self.future.set_result(answer)

    def failed(self, error: CrossfadeError) -> None:
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # a probe that nobody waits for any more is not worth a word in the log

    def abandon(self) -> None:
        """Nobody will await it."""
        self.future.cancel()
