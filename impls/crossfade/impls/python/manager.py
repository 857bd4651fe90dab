"""Owns the registry and the life of everything in it: the ``python`` variant's :class:`Manager`.

Rule: leaving the manager, however, leaves nothing behind: no task, no socket, no child.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic_ns
from types import TracebackType
from typing import ClassVar, Final, Self

from crossfade.impls.api import Gateway
from crossfade.impls.config import Config, ServerSpec
from crossfade.impls.cores import PYTHON_CORES, Cores
from crossfade.impls.cores.histogram import Histogram
from crossfade.impls.errors import CrossfadeError, ManagerClosed, ServerExists
from crossfade.impls.python.catalog import Catalog
from crossfade.impls.python.deploying import Deploying
from crossfade.impls.python.deployment import Deployment
from crossfade.impls.python.events import Events
from crossfade.impls.python.gateway.server import GatewayServer
from crossfade.impls.python.gateway.stdio import serve_stdio
from crossfade.impls.python.instance import Instance
from crossfade.impls.python.load import load_of
from crossfade.impls.python.metrics import Nowhere, Stats
from crossfade.impls.python.notices import Notices
from crossfade.impls.python.probing import ask
from crossfade.impls.python.registry import Index
from crossfade.impls.python.requests import Requests
from crossfade.impls.python.revision import Revision
from crossfade.impls.python.server import Server
from crossfade.impls.python.storage import Storage
from crossfade.impls.snapshots import Event, Metrics, ServerInfo, StorageInfo
from crossfade.impls.states import DeploymentState, ServerState

_BUSY_TICK_S: Final = 0.05
_IDLE_TICK_S: Final = 1.0


class PythonManager(Requests, Deploying):
    """asyncio shell, Python cores. Not thread-safe: use it from the loop that entered it.

    A subclass with other ``cores`` is another variant.
    """

    variant: ClassVar[str] = "python"
    cores: ClassVar[Cores] = PYTHON_CORES

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.stats = Stats()
        self.registry: dict[str, Server] = {}
        self._index = Index(self.registry)
        self._leaving: set[Server] = set()  # no longer registered, and still answering calls
        self.catalog = Catalog(self.registry, prefix=config.gateway.prefix, errors=self.stats.errors_by_code)
        self.gateways: set[GatewayServer] = set()
        self.notices = Notices(self.registry)
        self.load = load_of(config.shed, self.cores)
        self._events = Events()
        self._storage = Storage(config.storage, self._events.publish)
        self._open = False
        self._seeds = config.seed
        self._ticker: asyncio.TimerHandle | None = None
        self._tick_is_slow = False

    # -- life

    async def __aenter__(self) -> Self:
        self._open = True
        self.event_log.follow(self._events.stream)
        self._schedule(_IDLE_TICK_S)
        try:
            for spec in self.config.servers:
                self._add(spec)
            await asyncio.gather(*(self._try_start(s) for s in self.registry.values() if not s.spec.lazy))
        except BaseException:
            await self._close()
            raise
        return self

    async def _try_start(self, server: Server) -> None:
        try:
            await server.start()
        except CrossfadeError as error:
            for instance in server.instances:
                instance.failed(instance.last_error or error)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        self._open = False
        try:
            await asyncio.gather(*(g.close() for g in list(self.gateways)))
            await asyncio.gather(*(s.deployment.end() for s in self.registry.values()))
            for server in self.registry.values():
                server.draining = True
            await asyncio.gather(*(s.stop() for s in self.registry.values()))
        finally:
            # Whoever closes may be cancelled at any of these awaits, and still no child may be left.
            for gateway in list(self.gateways):
                gateway.abort()
            for server in self.registry.values():
                server.end_probes()
                for instance in server.instances:
                    instance.kill()
            if self._ticker is not None:
                self._ticker.cancel()
            self._storage.close()
            self._events.close()
        await self.event_log.ended()

    def _check_open(self) -> None:
        if not self._open:
            raise ManagerClosed("the manager is not open; use it inside `async with`")

    # -- time

    def wake(self) -> None:
        """A deadline is running: look at it soon."""
        if self._tick_is_slow and self._open:
            self._schedule(_BUSY_TICK_S)

    def _schedule(self, delay_s: float) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
        self._tick_is_slow = delay_s > _BUSY_TICK_S
        self._ticker = asyncio.get_running_loop().call_later(delay_s, self._tick)

    def _tick(self) -> None:
        now = monotonic_ns()
        busy = False
        for server in list(self.registry.values()):
            for instance in server.instances:
                instance.tick(now)
            busy = busy or server.stats.in_flight > 0
        for gateway in self.gateways:
            gateway.tick(now)
        if self._open:
            self._schedule(_BUSY_TICK_S if busy else _IDLE_TICK_S)

    # -- registry

    def _add(self, spec: ServerSpec, *, deploy: bool = False) -> Server:
        if spec.name in self.registry:
            raise ServerExists(
                f"a server {spec.name!r} is registered already; unregister it first, or choose another name",
                server=spec.name,
            )
        latency = Histogram() if self.config.telemetry.metrics else Nowhere()
        server = Server(spec, latency, self._events.publish, self.wake, cores=self.cores, load=self.load)
        server.retired = self._retired
        server.touched = self._index.touch
        server.renewed = self._changed
        server.notices = self.notices
        server.storage = self._storage
        server.spanned = self.serving is not None
        server.watch(None, None)
        if spec.storage is not None:
            self._storage.check(spec.name, spec.storage, spec.replicas)
        server.deployment = Deployment(server, DeploymentState.PENDING if deploy else DeploymentState.RUNNING)
        revision = Revision(server, 0 if deploy else 1, spec, self._next_seed())
        server.install(revision)
        for slot in range(0 if deploy else spec.replicas):
            revision.admit(revision.create(slot))
        self.registry[spec.name] = server
        self._changed(spec.name)
        self._events.publish(Event(kind="registered", server=spec.name))
        return server

    def _next_seed(self) -> int:
        self._seeds += 1
        return self._seeds

    def _retired(self, instance: Instance) -> None:
        for gateway in self.gateways:
            gateway.end_upstream(instance)

    def _changed(self, name: str) -> None:
        self._index.touch()
        self.catalog.forget(name)
        for gateway in self.gateways:
            gateway.forget_routes()
        self.notices.all_changed()

    async def register(self, spec: ServerSpec) -> ServerInfo:
        self._check_open()
        server = self._add(spec)
        if not spec.lazy:
            try:
                await server.start()
            except BaseException:
                self.registry.pop(spec.name, None)
                self._changed(spec.name)
                await server.stop()
                await server.release_storage()
                self._events.publish(Event(kind="unregistered", server=spec.name))
                raise
        return server.info()

    async def unregister(self, name: str, *, drain_s: float = 5.0) -> None:
        await self.undeploy(name, drain_s=drain_s)

    async def undeploy(self, name: str, *, drain_s: float = 5.0, keep_storage: bool | None = None) -> None:
        self._check_open()
        server = self.catalog.server(name)
        del self.registry[name]
        self._leaving.add(server)
        self._changed(name)
        await server.deployment.end()
        server.draining = True
        server.end_probes()  # what they ask is not worth waiting for
        try:
            await server.drained(drain_s)
        finally:
            await server.stop()
            await server.release_storage(keep_storage)
            self._leaving.discard(server)
            self.stats.retire(server.stats, server.latency)
            server.deployment.set_state(DeploymentState.STOPPED)
            self._events.publish(Event(kind="unregistered", server=name))

    def storage(self) -> list[StorageInfo]:
        return self._storage.info()

    def get(self, name: str) -> ServerInfo:
        return self.catalog.server(name).info()

    def servers(
        self, *, tag: str | None = None, state: ServerState | None = None, capability: str | None = None
    ) -> list[ServerInfo]:
        return [server.info() for server in self._index.select(tag, state, capability)]

    async def maintenance(self, name: str, on: bool = True, *, drain_s: float = 5.0) -> ServerInfo:
        self._check_open()
        server = self.catalog.server(name)
        server.maintain(on)
        if on:
            await server.drained(drain_s)
        return server.info()

    def events(self) -> AsyncIterator[Event]:
        return self._events.stream(self.notices.reader)

    # -- watching

    async def health(self, server: str | None = None, *, timeout_s: float = 5.0) -> dict[str, ServerState]:
        self._check_open()
        chosen = [self.catalog.server(server)] if server is not None else list(self.registry.values())
        for instance in (i for s in chosen for i in s.instances):
            instance.forgive()
        await asyncio.gather(*(ask(i, timeout_s) for s in chosen for i in s.instances))
        return {s.spec.name: s.state for s in chosen}

    def metrics(self) -> Metrics:
        servers = {
            s.spec.name: {**s.stats.counts(), "connections": sum(i.pool.open for i in s.instances)}
            for s in self.registry.values()
        }
        ever = [*self.registry.values(), *self._leaving]
        return Metrics(
            requests=self.stats.gone.requests + sum(s.stats.requests for s in ever),
            errors=self.stats.gone.errors + sum(s.stats.errors for s in ever),
            rejected=self.stats.gone.rejected + sum(s.stats.rejected for s in ever),
            in_flight=sum(c["in_flight"] for c in servers.values()),
            connections=sum(c["connections"] for c in servers.values()),
            clients=sum(len(g.clients) for g in self.gateways),
            sessions=sum(len(g.sessions) for g in self.gateways),
            latency_ns=self.stats.latency(s.latency for s in ever).summary(),
            errors_by_code=dict(self.stats.errors_by_code),
            servers=servers,
            latency_by_server={s.spec.name: s.latency.summary() for s in self.registry.values()},
        )

    # -- serving

    async def serve(self, host: str = "127.0.0.1", port: int = 8080) -> Gateway:
        self._check_open()
        gateway = GatewayServer(self)
        await gateway.start(host, port)
        self.gateways.add(gateway)
        return gateway

    async def serve_stdio(self) -> None:
        self._check_open()
        await serve_stdio(self)
