"""Owns one running replica: its pool, its breaker, its open connections, and the bookkeeping of every call on it.

The cores decide, this performs: it opens and closes what the pool says, wakes its waiters, and reports back. Rule: each
call that ``begin`` counted ends in exactly one ``done`` or ``abandon``, and each lease in exactly one ``release`` (or
with its connection), whoever is cancelled wherever.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from crossfade.impls.config import ServerSpec
from crossfade.impls.cores import Action, BreakerConfig, Close, Connect, Grant, PoolConfig
from crossfade.impls.errors import CrossfadeError, ManagerClosed, PoolTimeout, RemoteError, ServerStartError
from crossfade.impls.python.peer import Peer
from crossfade.impls.python.seats import Seats
from crossfade.impls.python.translate import DISCOVER
from crossfade.impls.python.vitality import Vitality
from crossfade.impls.python.waiter import Connection, FutureWaiter, Waiter
from crossfade.impls.snapshots import Event, InstanceInfo
from crossfade.impls.states import CircuitState, ServerState

if TYPE_CHECKING:
    from crossfade.impls.python.dedicated import Dedicated
    from crossfade.impls.python.revision import Revision
    from crossfade.impls.python.storage import Claim
    from crossfade.impls.python.voice import Voice

_waiter_ids = itertools.count(1)


Headers = Sequence[tuple[str, str]]
"""Names and values of HTTP headers; what has no headers ignores them."""


class Instance(abc.ABC):
    """A replica of a server. Subclasses know how to open a connection and how to find out whom they talk to."""

    __slots__ = (
        "_announced",
        "_settled",
        "_starting",
        "_tasks",
        "_waiters",
        "balancer",
        "breaker",
        "claim",
        "conns",
        "index",
        "last_error",
        "peer",
        "pool",
        "retired",
        "revision",
        "seats",
        "server",
        "spec",
        "state",
        "users",
        "vitality",
    )

    def __init__(self, revision: Revision, index: int) -> None:
        spec = revision.spec
        server = revision.server
        self.revision = revision
        self.server = server
        self.spec: ServerSpec = spec
        self.index = index
        self.balancer = revision.balancer
        self.retired = False
        self.claim: Claim | None = None
        self.users = 0  # those who have chosen it and hold neither a lease nor a place in its queue yet
        self.breaker = server.cores.breaker(BreakerConfig.from_spec(spec.breaker))
        self.pool = server.cores.pool(PoolConfig.from_spec(spec.pool, stdio=spec.transport == "stdio"))
        self.conns: dict[int, Any] = {}
        self.peer: Peer | None = None
        self.state = ServerState.INITIALIZING
        self.vitality = Vitality(spec.health, server.cores)
        self._settled = False  # whether a good answer would change nothing
        self.last_error: CrossfadeError | None = None
        self._waiters: dict[int, tuple[Waiter, int]] = {}  # and since when
        self._starting: asyncio.Task[Peer] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._announced = CircuitState.CLOSED
        self.seats = Seats(self)

    # -- what a transport provides

    @abc.abstractmethod
    async def _open(self, conn_id: int) -> Connection:
        """Open one connection. Raises ServerStartError."""

    @abc.abstractmethod
    async def _discover(self) -> Peer:
        """Find out the era and what the server offers. Raises ServerError."""

    @abc.abstractmethod
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
        """One request of the long way; returns the JSON of ``result``. Raises CrossfadeError."""

    async def probe(self, peer: Peer, deadline_ns: int) -> None:
        """Ask for a sign of life. An error response is one."""
        modern = peer.era == "modern"
        with contextlib.suppress(RemoteError):
            await self.request("server/discover" if modern else "ping", DISCOVER if modern else b"{}", deadline_ns)

    @abc.abstractmethod
    async def stop(self) -> None:
        """Close every connection and reap what belongs to them. Never raises."""

    def kill(self) -> None:
        """End everything at once, without awaiting: for whoever is cancelled in the middle of ``stop``."""
        conns, self.conns = self.conns, {}
        for conn in conns.values():
            conn.close()

    @abc.abstractmethod
    def info(self) -> InstanceInfo:
        """A snapshot."""

    async def release_storage(self, keep: bool | None = None) -> None:
        """Give back what it has claimed; None does what the claim says."""
        claim, wanted = self.claim, self.spec.storage
        if claim is not None and wanted is not None:
            self.claim = None
            await self.server.storage.release(claim, keep=wanted.keep if keep is None else keep)

    def forgive(self) -> None:  # noqa: B027  most instances have nothing to forgive
        """Somebody wants it now: what made it stay down is forgotten."""

    def words(self) -> str:
        """What the replica said of its trouble, as the end of an error message."""
        return ""

    # -- being ready

    async def ready(self) -> Peer:
        """The peer; discovers it first if nobody has. Callers share one attempt; a cancelled caller does not end it."""
        if self.peer is not None:
            return self.peer
        if self._starting is None:
            self._starting = self.spawn(self._start())
        return await asyncio.shield(self._starting)

    async def _start(self) -> Peer:
        try:
            async with asyncio.timeout(self.spec.start_timeout_ms / 1000):
                self.peer = await self._discover()
                self.server.touched()
        except TimeoutError:
            error = ServerStartError(
                f"server {self.spec.name!r} did not say who it is within {self.spec.start_timeout_ms} ms; "
                f"check that it is an MCP server, or raise startTimeoutMs{self.words()}",
                server=self.spec.name,
            )
            self.failed(error)
            raise error from None
        except CrossfadeError as error:
            self.failed(error)
            raise
        finally:
            self._starting = None
        self.recovered()
        self.perform(self.pool.start(monotonic_ns()))
        self.server.wake()
        self.server.watched.poke(back=True)
        return self.peer

    # -- state

    def failed(self, error: CrossfadeError) -> None:
        """The instance cannot be used right now."""
        self.last_error = error
        self.vitality.down()
        self.set_state(ServerState.UNHEALTHY)

    def recovered(self) -> None:
        """The instance was started anew, or answers whoever asked it on purpose."""
        self.vitality.renewed()
        self.set_state(ServerState.HEALTHY)

    def heard(self, ok: bool) -> None:
        """One more verdict; several in a row turn the state."""
        self.vitality.heard(ok)
        if not self.vitality.well:
            self.set_state(ServerState.UNHEALTHY)
        elif ok:
            self.set_state(ServerState.HEALTHY)
        self._settled = False

    def set_state(self, state: ServerState) -> None:
        """Change the state and let the server draw its conclusion."""
        if state is not self.state and self.state is not ServerState.STOPPED:
            self.state = state
            self._settled = False
            self.revision.told(self)
            self.server.instance_changed()

    # -- calls

    def begin(self) -> None:
        """A call was admitted by the breaker and goes out (or queues)."""
        self.balancer.started(self.index)
        self.server.stats.in_flight += 1

    def done(self, now_ns: int, started_ns: int, ok: bool) -> None:
        """The call ended with a verdict on the instance."""
        took = now_ns - started_ns
        self.breaker.record(now_ns, ok, took)
        self.balancer.finished(self.index, now_ns, took, ok)
        server = self.server
        stats = server.stats
        stats.in_flight -= 1
        stats.requests += 1
        server.latency.record(took)
        if not ok:
            stats.errors += 1
            self.heard(False)
            self._announce(now_ns)
        elif not self._settled:
            if self.breaker.state(now_ns) is not CircuitState.OPEN:  # a late answer does not close what has opened
                self.heard(True)
            self._announce(now_ns)
            self._settled = self.state is ServerState.HEALTHY and self._announced is CircuitState.CLOSED

    def abandon(self, now_ns: int, started_ns: int) -> None:
        """The call ended without a verdict: cancelled, or never sent."""
        self.breaker.forget(now_ns, now_ns - started_ns)
        self.balancer.cancelled(self.index)
        self.server.stats.in_flight -= 1

    def _announce(self, now_ns: int) -> None:
        circuit = self.breaker.state(now_ns)
        if circuit is not self._announced:
            self.server.publish(Event(kind="circuit", server=self.spec.name, old=self._announced, new=circuit))
            self._announced = circuit
            if circuit is CircuitState.OPEN:
                self.vitality.down()
                self.set_state(ServerState.UNHEALTHY)

    # -- connections

    def queue(self, waiter: Waiter, deadline_ns: int) -> int:
        """Wait for a connection; returns the id to ``unqueue`` with."""
        waiter_id = next(_waiter_ids)
        now = monotonic_ns()
        self._waiters[waiter_id] = waiter, now
        self.perform(self.pool.acquire(now, waiter_id, min(deadline_ns, now + self.server.acquire_timeout_ns)))
        self.server.wake()
        return waiter_id

    def unqueue(self, waiter_id: int) -> None:
        """Give up waiting; a lease that was granted and not taken goes to the next."""
        self._left_queue(waiter_id)
        self.perform(self.pool.cancel(monotonic_ns(), waiter_id))

    def _left_queue(self, waiter_id: int) -> Waiter | None:
        """Whoever waited under that id, and how long is told to those who shed load."""
        found = self._waiters.pop(waiter_id, None)
        if found is None:
            return None
        waiter, since = found
        load = self.server.load
        if load is not None:
            now = monotonic_ns()
            load.waited(now, now - since)
        return waiter

    async def checkout(self, deadline_ns: int) -> Any:
        """A connection, leased to the caller. Raises PoolTimeout or ServerStartError."""
        conn_id = self.pool.try_acquire(monotonic_ns())
        if conn_id is not None:
            if self.server.load is not None:
                self.server.load.waited(monotonic_ns(), 0)
            return self.conns[conn_id]
        waiter = FutureWaiter()
        waiter_id = self.queue(waiter, deadline_ns)
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if waiter.conn is not None:  # granted before we were cancelled
                self.release(waiter.conn, True)
            else:
                self.unqueue(waiter_id)
            if waiter.future.done() and not waiter.future.cancelled():
                waiter.future.exception()  # retrieved: nobody else will look at it
            raise

    def release(self, conn: Any, reusable: bool) -> None:
        """End a lease."""
        actions = self.pool.release(monotonic_ns(), conn.id, reusable)
        if actions:
            self.perform(actions)

    def lost(self, conn_id: int) -> None:
        """A connection ended by itself."""
        if self.conns.pop(conn_id, None) is not None:
            self.perform(self.pool.lost(monotonic_ns(), conn_id))

    def perform(self, actions: Sequence[Action]) -> None:
        """Do what the pool decided, in order."""
        for action in actions:
            if isinstance(action, Grant):
                self.pool.take(action.waiter)
                granted = self._left_queue(action.waiter)
                assert granted is not None  # noqa: S101  the pool grants to those who wait
                granted.granted(self.conns[action.conn])
            elif isinstance(action, Connect):
                self.spawn(self._connect(action.conn))
            elif isinstance(action, Close):
                conn = self.conns.pop(action.conn, None)
                if conn is not None:
                    conn.close()
            else:
                waiter = self._left_queue(action.waiter)
                if waiter is not None:
                    waiter.rejected(self._refusal(action.reason))

    async def _connect(self, conn_id: int) -> None:
        try:
            conn = await self._open(conn_id)
        except BaseException as error:
            if isinstance(error, CrossfadeError):
                self.failed(error)
            self.perform(self.pool.connect_failed(monotonic_ns(), conn_id))
            if not isinstance(error, CrossfadeError):
                raise
            return
        self.conns[conn_id] = conn
        now = monotonic_ns()
        actions = self.pool.connected(now, conn_id)
        if not actions:
            conn.rest(now)
        self.perform(actions)
        if self.spec.transport == "stdio":
            self.server.watched.poke(back=True)

    def _refusal(self, reason: str) -> CrossfadeError:
        name = self.spec.name
        pool = self.spec.pool
        if reason == "connect_failed":
            return self.last_error or ServerStartError(
                f"server {name!r} cannot be reached; check that it runs", server=name
            )
        if reason == "draining":
            return ManagerClosed(f"server {name!r} is being removed; call another one", server=name)
        if reason == "queue_full":
            return PoolTimeout(
                f"server {name!r}: {self.pool.waiting} callers wait for a connection already; "
                "slow down, or raise pool.maxConnections or pool.maxWaiters",
                server=name,
            )
        return PoolTimeout(
            f"server {name!r}: no connection became free within {pool.acquire_timeout_ms} ms "
            f"({self.pool.in_use} calls in flight); slow down, or raise pool.maxConnections",
            server=name,
        )

    # -- time and tasks

    def tick(self, now_ns: int) -> None:
        """Deadlines: of callers in the queue, of idle connections, of calls in flight."""
        due = self.pool.next_deadline_ns()
        if due is not None and due <= now_ns:
            self.perform(self.pool.tick(now_ns))
        for conn in list(self.conns.values()):
            conn.expire(now_ns)

    def spawn(self, work: Any) -> asyncio.Task[Any]:
        """Run work that belongs to this instance and ends with it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._reap)
        return task

    def _reap(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and isinstance(error, CrossfadeError):
            self.last_error = error

    async def end_tasks(self) -> None:
        """Cancel and await everything that ``spawn`` started."""
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
