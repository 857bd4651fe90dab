"""Owns one registered server: its life, its state as the sum of its instances', and its counters.

Rule: whoever is chosen was admitted by its breaker; how a request makes use of that is in ``calls``.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from time import monotonic_ns
from typing import TYPE_CHECKING

from crossfade.impls.config import ServerSpec
from crossfade.impls.cores import Cores
from crossfade.impls.cores.histogram import Histogram
from crossfade.impls.errors import CircuitOpen, CrossfadeError, ManagerClosed, ServerStartError, ServerUnavailable
from crossfade.impls.python.calls import Calls
from crossfade.impls.python.instance import Instance
from crossfade.impls.python.jsonrpc import Answer, updated_uri
from crossfade.impls.python.load import Load
from crossfade.impls.python.metrics import ServerStats
from crossfade.impls.python.notices import UPDATED, Notices
from crossfade.impls.python.peer import Peer
from crossfade.impls.python.probing import watch
from crossfade.impls.python.reads import Reads
from crossfade.impls.python.routing import Routing
from crossfade.impls.python.watch import Watch
from crossfade.impls.python.watch_source import ACKNOWLEDGED
from crossfade.impls.snapshots import Event, ServerInfo
from crossfade.impls.states import ServerState

if TYPE_CHECKING:
    from crossfade.impls.python.deployment import Deployment
    from crossfade.impls.python.revision import Revision
    from crossfade.impls.python.storage import Storage

_ids = itertools.count(1)


class Server(Routing):
    """A server and its replicas. ``publish`` takes events, ``wake`` tells the manager that a deadline is running."""

    __slots__ = (
        "_probes",
        "acquire_timeout_ns",
        "calls",
        "cores",
        "deployment",
        "draining",
        "latency",
        "load",
        "maintenance",
        "notices",
        "publish",
        "reads",
        "renewed",
        "retired",
        "spec",
        "state",
        "stats",
        "storage",
        "timeout_ns",
        "touched",
        "wake",
        "watched",
    )

    def __init__(
        self,
        spec: ServerSpec,
        latency: Histogram,
        publish: Callable[[Event], None],
        wake: Callable[[], None],
        *,
        cores: Cores,
        load: Load | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.cores = cores
        self.latency = latency
        self.publish = publish
        self.wake = wake
        self.stats = ServerStats()
        self.state = ServerState.INITIALIZING
        self.draining = False
        self._probes: asyncio.Task[None] | None = None
        self.maintenance = False
        self.load = load
        self.timeout_ns = spec.timeout_ms * 1_000_000
        self.acquire_timeout_ns = spec.pool.acquire_timeout_ms * 1_000_000
        self.deployment: Deployment
        self.storage: Storage
        self.retired: Callable[[Instance], None] = lambda _: None
        self.renewed: Callable[[str], None] = lambda _: None
        self.touched: Callable[[], None] = lambda: None
        self.notices = Notices({})
        self.watched = Watch(self)
        self.calls = Calls(self)
        self.reads = Reads(self)

    @property
    def peer(self) -> Peer | None:
        """What is known of the server: what the first discovered instance said."""
        return next((i.peer for i in self.instances if i.peer is not None), None)

    def next_id(self) -> int:
        """An id for a request of the manager's own; unique in the process, so that no two share a pipe."""
        return next(_ids)

    # -- life

    async def start(self) -> None:
        """Discover every instance, concurrently. Raises ServerStartError if none of them answers."""
        results = await asyncio.gather(*(i.ready() for i in self.instances), return_exceptions=True)
        errors = [r for r in results if isinstance(r, BaseException)]
        for error in errors:
            if not isinstance(error, CrossfadeError):
                raise error
        if len(errors) == len(self.instances):
            error = errors[0]
            if isinstance(error, ServerStartError):
                raise error
            where = "command" if self.spec.transport == "stdio" else "url"
            raise ServerStartError(
                f"server {self.spec.name!r} cannot be used: {error} (check its {where})", server=self.spec.name
            ) from error

    async def stop(self) -> None:
        """Close and reap all instances. Never raises CrossfadeError."""
        self.draining = True
        self.end_probes()
        await self.watched.close()
        if self.calls.places is not None:
            self.calls.places.close()
        try:
            await asyncio.gather(*(i.stop() for i in self.instances))
            if self._probes is not None:
                await asyncio.wait((self._probes,))
        finally:
            for instance in self.instances:
                instance.set_state(ServerState.STOPPED)

    async def release_storage(self, keep: bool | None = None) -> None:
        """Give back what the stopped instances have claimed; None does what the claim says."""
        for instance in self.instances:
            await instance.release_storage(keep)
        if keep is not True and not (keep is None and self.spec.storage is not None and self.spec.storage.keep):
            await self.storage.forget(self.spec.name)

    def end_probes(self) -> None:
        """No more probes, also none that is under way."""
        self.watched.returning.close()
        if self._probes is not None:
            self._probes.cancel()

    async def drained(self, drain_s: float) -> None:
        """Wait until no call is in flight, at most ``drain_s`` seconds."""
        deadline = monotonic_ns() + int(drain_s * 1e9)
        while self.stats.in_flight and monotonic_ns() < deadline:  # noqa: ASYNC110  a counter of the hot path
            await asyncio.sleep(0.01)

    def instance_changed(self) -> None:
        """Derive the state from the instances' and tell of a change."""
        states = {i.state for i in self.instances if not i.retired and (i.revision is self.current or self.share)}
        if not states:
            return
        if self.maintenance and not self.draining:
            new = ServerState.MAINTENANCE
        elif len(states) == 1:
            new = states.pop()
        elif ServerState.HEALTHY in states:
            new = ServerState.DEGRADED
        else:
            new = ServerState.UNHEALTHY if ServerState.UNHEALTHY in states else ServerState.INITIALIZING
        if new is not self.state:
            old, self.state = self.state, new
            self.touched()
            self.publish(Event(kind="state", server=self.spec.name, old=old, new=new))
            if new in (ServerState.HEALTHY, ServerState.DEGRADED):
                self.watched.returning.wake()

    def maintain(self, on: bool) -> None:
        """Take the server out of routing, or put it back. What is under way goes on."""
        self.maintenance = on
        self.calls.gate_changed()
        self.instance_changed()

    def heard(self, instance: Instance, message: Answer) -> None:
        """A notification or request of the server's own. What is for one request alone, its voice hears."""
        method = message.method
        if not isinstance(method, str):
            return
        if method.endswith("/list_changed"):
            self.changed(method.split("/")[1])
        elif method == UPDATED:
            self.updated(message)
        elif method == ACKNOWLEDGED:
            self.watched.acknowledged(message)

    def changed(self, what: str) -> None:
        """A list is another one."""
        self.reads.changed(what)
        if what == "tools":
            self.calls.repeating.forget()
        self.publish(Event(kind="list_changed", server=self.spec.name, new=what))
        self.notices.list_changed(what)

    def updated(self, message: Answer) -> None:
        """The content of a resource is another one."""
        self.reads.updated(updated_uri(message))
        self.notices.updated(self, message)

    def rearranged(self) -> None:
        super().rearranged()
        self.watched.poke(back=True)

    # -- revisions

    def install(self, revision: Revision) -> None:
        """The revision that serves from now on."""
        self.current, self.candidate, self.share = revision, None, 0
        self.spec = revision.spec
        self.timeout_ns = revision.spec.timeout_ms * 1_000_000
        self.acquire_timeout_ns = revision.spec.pool.acquire_timeout_ms * 1_000_000
        self.calls.adopt(revision.spec)
        self.reads.adopt(revision.spec.cache)
        self.renewed(self.spec.name)
        if revision.spec.health.interval_ms and (self._probes is None or self._probes.done()):
            self._probes = asyncio.get_running_loop().create_task(watch(self))
        self.rearranged()

    # -- requests

    def choose(self, now_ns: int, tried: Sequence[Instance] = (), key: int = 0) -> Instance:
        """An instance that its breaker admits, one that was not ``tried`` if possible. ``key`` is for affinity.

        Raises CircuitOpen, ManagerClosed. The caller owes begin and done.
        """
        if self.draining:
            raise ManagerClosed(f"server {self.spec.name!r} is being removed; call another one", server=self.spec.name)
        if (instance := self.only) is not None:
            if instance.breaker.admit(now_ns):
                return instance
        else:
            found = self.pick(now_ns, tried, key) or (self.pick(now_ns, (), key) if tried else None)
            if found is not None:
                return found
        self.stats.rejected += 1
        if not self.current.live and (self.candidate is None or not self.candidate.live):
            raise ServerUnavailable(
                f"server {self.spec.name!r} is being deployed; call it when its instances are ready",
                server=self.spec.name,
            )
        wait_ms = min((i.breaker.retry_after_ns(now_ns) for i in self.instances), default=0) // 1_000_000
        last = next((i.last_error for i in self.instances if i.last_error), None)
        raise CircuitOpen(
            f"server {self.spec.name!r} failed too often and is not called for another {wait_ms} ms"
            f"{f' (last error: {last})' if last else ''}; call again later, or look at the server",
            server=self.spec.name,
        )

    # -- snapshots

    def info(self) -> ServerInfo:
        """What ``Manager.get`` returns."""
        peer = self.peer
        last = next((i.last_error for i in self.instances if i.last_error and i.state is not ServerState.HEALTHY), None)
        return ServerInfo(
            name=self.spec.name,
            transport=self.spec.transport,
            state=self.state,
            era=peer.era if peer else None,
            protocol_version=peer.version if peer else None,
            server_name=peer.name if peer else None,
            server_version=peer.release if peer else None,
            capabilities=peer.capabilities if peer else {},
            tags=self.spec.tags,
            instances=tuple(i.info() for i in self.instances),
            last_error=str(last) if last else None,
        )
