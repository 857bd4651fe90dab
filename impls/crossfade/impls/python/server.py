"""Owns one registered server: its instances, the choice among them, its state as the sum of theirs, and its counters.

Rule: whoever is chosen was admitted by its breaker; how a request makes use of that is in ``calls``.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from time import monotonic_ns

from crossfade.impls.config import ServerSpec
from crossfade.impls.cores import Balancer, Cores
from crossfade.impls.errors import CircuitOpen, CrossfadeError, ManagerClosed, ServerStartError
from crossfade.impls.python.calls import Calls
from crossfade.impls.python.instance import Instance
from crossfade.impls.python.jsonrpc import Answer
from crossfade.impls.python.metrics import Histogram, ServerStats
from crossfade.impls.python.peer import Peer
from crossfade.impls.snapshots import Event, ServerInfo
from crossfade.impls.states import ServerState

_ids = itertools.count(1)


class Server:
    """A server and its replicas. ``publish`` takes events, ``wake`` tells the manager that a deadline is running."""

    __slots__ = (
        "_all",
        "acquire_timeout_ns",
        "balancer",
        "calls",
        "cores",
        "draining",
        "instances",
        "latency",
        "publish",
        "spec",
        "state",
        "stats",
        "timeout_ns",
        "wake",
    )

    def __init__(
        self,
        spec: ServerSpec,
        seed: int,
        latency: Histogram,
        publish: Callable[[Event], None],
        wake: Callable[[], None],
        *,
        cores: Cores,
    ) -> None:
        self.spec = spec
        self.cores = cores
        self.latency = latency
        self.publish = publish
        self.wake = wake
        self.stats = ServerStats()
        self.state = ServerState.INITIALIZING
        self.draining = False
        self.timeout_ns = spec.timeout_ms * 1_000_000
        self.acquire_timeout_ns = spec.pool.acquire_timeout_ms * 1_000_000
        count = len(spec.urls) if spec.transport == "http" else spec.instances
        self.balancer: Balancer = cores.balancer(spec.balancer, count, spec.weights, seed)
        self._all = (1 << count) - 1
        self.instances: list[Instance] = []
        self.calls = Calls(self)

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
        try:
            await asyncio.gather(*(i.stop() for i in self.instances))
        finally:
            for instance in self.instances:
                instance.set_state(ServerState.STOPPED)

    async def drained(self, drain_s: float) -> None:
        """Wait until no call is in flight, at most ``drain_s`` seconds."""
        deadline = monotonic_ns() + int(drain_s * 1e9)
        while self.stats.in_flight and monotonic_ns() < deadline:  # noqa: ASYNC110  a counter of the hot path
            await asyncio.sleep(0.01)

    def instance_changed(self) -> None:
        """Derive the state from the instances' and tell of a change."""
        states = {i.state for i in self.instances}
        if len(states) == 1:
            new = states.pop()
        elif ServerState.HEALTHY in states:
            new = ServerState.DEGRADED
        else:
            new = ServerState.UNHEALTHY if ServerState.UNHEALTHY in states else ServerState.INITIALIZING
        if new is not self.state:
            old, self.state = self.state, new
            self.publish(Event(kind="state", server=self.spec.name, old=old, new=new))

    def heard(self, instance: Instance, message: Answer) -> None:
        """A notification or request of the server's own. Only list changes mean something to us so far."""
        method = message.method
        if isinstance(method, str) and method.endswith("/list_changed"):
            self.publish(Event(kind="list_changed", server=self.spec.name, new=method.split("/")[1]))

    # -- requests

    def choose(self, now_ns: int, tried: Sequence[Instance] = ()) -> Instance:
        """An instance that its breaker admits, none of those ``tried``. Raises CircuitOpen, ManagerClosed.

        The caller owes begin and done.
        """
        if self.draining:
            raise ManagerClosed(f"server {self.spec.name!r} is being removed; call another one", server=self.spec.name)
        if self._all == 1:
            instance = self.instances[0]
            if instance.breaker.admit(now_ns):
                return instance
        else:
            usable = self._all
            for instance in tried:
                usable &= ~(1 << instance.index)
            while usable and (i := self.balancer.pick(now_ns, usable)) >= 0:
                instance = self.instances[i]
                if instance.breaker.admit(now_ns):
                    return instance
                usable &= ~(1 << i)
        self.stats.rejected += 1
        wait_ms = min(i.breaker.retry_after_ns(now_ns) for i in self.instances) // 1_000_000
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
