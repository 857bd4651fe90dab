"""Owns the registry and the life of everything in it: the ``python`` variant's :class:`Manager`.

Rule: leaving the manager, however, leaves nothing behind: no task, no socket, no child.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from time import monotonic_ns
from types import TracebackType
from typing import Any, ClassVar, Final, Self

import msgspec

from crossfade.impls.api import Gateway
from crossfade.impls.config import Config, ServerSpec
from crossfade.impls.cores import PYTHON_CORES, Cores
from crossfade.impls.cores.histogram import Histogram
from crossfade.impls.errors import CrossfadeError, ManagerClosed, RemoteError, ServerExists, ServerTimeout
from crossfade.impls.python.ask import Ticket
from crossfade.impls.python.catalog import Catalog
from crossfade.impls.python.deploying import Deploying
from crossfade.impls.python.deployment import Deployment
from crossfade.impls.python.events import Events
from crossfade.impls.python.gateway.principal import ANONYMOUS
from crossfade.impls.python.gateway.server import GatewayServer
from crossfade.impls.python.gateway.stdio import serve_stdio
from crossfade.impls.python.instance import Instance, Sessions
from crossfade.impls.python.jsonrpc import HEADER_MISMATCH
from crossfade.impls.python.load import load_of
from crossfade.impls.python.metrics import Nowhere, Stats
from crossfade.impls.python.revision import Revision
from crossfade.impls.python.server import Server
from crossfade.impls.python.storage import Storage
from crossfade.impls.results import CallResult, Item, Result
from crossfade.impls.snapshots import Event, Metrics, ServerInfo, StorageInfo
from crossfade.impls.states import DeploymentState, ServerState

_BUSY_TICK_S: Final = 0.05
_IDLE_TICK_S: Final = 1.0


class PythonManager(Deploying):
    """asyncio shell, Python cores. Not thread-safe: use it from the loop that entered it.

    A subclass with other ``cores`` is another variant.
    """

    variant: ClassVar[str] = "python"
    cores: ClassVar[Cores] = PYTHON_CORES

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.stats = Stats()
        self.registry: dict[str, Server] = {}
        self.catalog = Catalog(self.registry, prefix=config.gateway.prefix, errors=self.stats.errors_by_code)
        self.gateways: set[GatewayServer] = set()
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
        server.storage = self._storage
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
        self.catalog.forget(name)
        for gateway in self.gateways:
            gateway.forget_routes()

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
        self._changed(name)
        await server.deployment.end()
        server.draining = True
        try:
            await server.drained(drain_s)
        finally:
            await server.stop()
            await server.release_storage(keep_storage)
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
        return [
            info
            for info in (s.info() for s in self.registry.values())
            if (tag is None or tag in info.tags)
            and (state is None or info.state is state)
            and (capability is None or capability in info.capabilities)
        ]

    async def maintenance(self, name: str, on: bool = True, *, drain_s: float = 5.0) -> ServerInfo:
        self._check_open()
        server = self.catalog.server(name)
        server.maintain(on)
        if on:
            await server.drained(drain_s)
        return server.info()

    def events(self) -> AsyncIterator[Event]:
        return self._events.stream()

    # -- MCP

    async def list_tools(self, server: str | None = None) -> list[Item]:
        return await self._list("tools/list", server)

    async def list_resources(self, server: str | None = None) -> list[Item]:
        return await self._list("resources/list", server)

    async def list_resource_templates(self, server: str | None = None) -> list[Item]:
        return await self._list("resources/templates/list", server)

    async def list_prompts(self, server: str | None = None) -> list[Item]:
        return await self._list("prompts/list", server)

    async def _list(self, method: str, server: str | None) -> list[Item]:
        self._check_open()
        return await self.catalog.items(method, server, principal=ANONYMOUS)

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | msgspec.Raw | None = None,
        *,
        timeout_s: float | None = None,
        meta: Mapping[str, Any] | None = None,
        principal: str | None = None,
    ) -> CallResult:
        self._check_open()
        server, own = await self.catalog.resolve(name, "tools/list")
        fields = {"name": own, "arguments": {} if arguments is None else arguments}
        return CallResult(
            await self.send(server, "tools/call", fields, timeout_s=timeout_s, meta=meta, name=own, principal=principal)
        )

    async def read_resource(
        self, uri: str, *, server: str | None = None, timeout_s: float | None = None, principal: str | None = None
    ) -> Result:
        self._check_open()
        owner = await self.catalog.owner(uri, server)
        fields = {"uri": uri}
        return Result(
            await self.send(owner, "resources/read", fields, timeout_s=timeout_s, name=uri, principal=principal)
        )

    async def get_prompt(
        self,
        name: str,
        arguments: Mapping[str, str] | None = None,
        *,
        timeout_s: float | None = None,
        principal: str | None = None,
    ) -> Result:
        self._check_open()
        server, own = await self.catalog.resolve(name, "prompts/list")
        fields: dict[str, Any] = {"name": own}
        if arguments is not None:
            fields["arguments"] = arguments
        return Result(
            await self.send(server, "prompts/get", fields, timeout_s=timeout_s, name=own, principal=principal)
        )

    async def complete(
        self,
        ref: Mapping[str, Any],
        argument: Mapping[str, str],
        *,
        server: str | None = None,
        context: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
        principal: str | None = None,
    ) -> Result:
        self._check_open()
        owner, own_ref = await self.completion_target(ref, server)
        fields: dict[str, Any] = {"ref": own_ref, "argument": argument}
        if context is not None:
            fields["context"] = context
        return Result(await self.send(owner, "completion/complete", fields, timeout_s=timeout_s, principal=principal))

    async def completion_target(self, ref: Mapping[str, Any], server: str | None) -> tuple[Server, dict[str, Any]]:
        """Who completes ``ref``, and the ref in the server's own words."""
        name = ref.get("name")
        if ref.get("type") == "ref/prompt" and isinstance(name, str):
            owner, own = await self.catalog.resolve(name, "prompts/list", server)
            return owner, {**ref, "name": own}
        return await self.catalog.owner(str(ref.get("uri")), server), dict(ref)

    async def send(
        self,
        server: Server,
        method: str,
        fields: Mapping[str, object],
        *,
        timeout_s: float | None = None,
        meta: Mapping[str, Any] | None = None,
        name: str | None = None,
        sessions: Sessions | None = None,
        session: str | None = None,
        principal: str | None = None,
        ticket: Ticket | None = None,
    ) -> bytes:
        """One request to a server on behalf of ``principal``, with what fails counted by code. ``ticket`` says what it
        has behind it already.

        A modern HTTP server may want arguments in headers, and says so in the tool's definition. One that was never
        listed refuses the call with HeaderMismatch; then the list is read and the call sent again (streamable-http,
        "Client Behavior").
        """
        options: dict[str, Any] = {"timeout_s": timeout_s, "meta": meta, "name": name, "sessions": sessions}
        headed = method == "tools/call" and server.spec.transport == "http" and name is not None
        calls = server.calls
        try:
            if not calls.plain:
                who, tool = principal or ANONYMOUS, name if method == "tools/call" else None
                if ticket is None or not ticket.admitted:
                    calls.admit(tool, who)
                options["key"] = calls.key(session, who, tool)
            options["ticket"] = ticket = ticket or Ticket()
            options["principal"] = principal
            if not headed:
                return await server.calls.request(method, fields, **options)
            extra = self.catalog.param_headers(server.spec.name, name or "", fields.get("arguments"))
            try:
                return await server.calls.request(method, fields, **options, extra=extra)
            except RemoteError as error:
                if error.remote_code != HEADER_MISMATCH:
                    raise
            await self.catalog.items("tools/list", server.spec.name)
            extra = self.catalog.param_headers(server.spec.name, name or "", fields.get("arguments"))
            return await server.calls.request(method, fields, **options, extra=extra)
        except CrossfadeError as error:
            self.stats.errors_by_code[error.code] += 1
            raise

    # -- watching

    async def health(self, server: str | None = None, *, timeout_s: float = 5.0) -> dict[str, ServerState]:
        self._check_open()
        chosen = [self.catalog.server(server)] if server is not None else list(self.registry.values())
        for instance in (i for s in chosen for i in s.instances):
            instance.forgive()
        await asyncio.gather(*(self._probe(i, timeout_s) for s in chosen for i in s.instances))
        return {s.spec.name: s.state for s in chosen}

    async def _probe(self, instance: Instance, timeout_s: float) -> None:
        deadline_ns = monotonic_ns() + int(timeout_s * 1e9)
        try:
            async with asyncio.timeout(timeout_s):
                peer = await instance.ready()
                await instance.probe(peer, deadline_ns)
        except (CrossfadeError, TimeoutError) as error:
            if isinstance(error, CrossfadeError):
                instance.failed(error)
            else:
                name = instance.spec.name
                instance.failed(
                    ServerTimeout(
                        f"server {name!r} did not answer a probe within {timeout_s} s; look at the server", server=name
                    )
                )
        else:
            instance.recovered()

    def metrics(self) -> Metrics:
        servers = {
            s.spec.name: {
                "requests": s.stats.requests,
                "errors": s.stats.errors,
                "rejected": s.stats.rejected,
                "in_flight": s.stats.in_flight,
                "restarts": s.stats.restarts,
                "connections": sum(i.pool.open for i in s.instances),
                "retries": s.stats.retries,
                "hedges": s.stats.hedges,
                "hedged_wins": s.stats.hedged_wins,
                "rate_limited": s.stats.rate_limited,
                "shed": s.stats.shed,
                "queued": s.stats.queued,
                "cache_hits": s.stats.cache_hits,
                "cache_misses": s.stats.cache_misses,
                "coalesced": s.stats.coalesced,
            }
            for s in self.registry.values()
        }
        return Metrics(
            requests=self.stats.gone.requests + sum(c["requests"] for c in servers.values()),
            errors=self.stats.gone.errors + sum(c["errors"] for c in servers.values()),
            rejected=self.stats.gone.rejected + sum(c["rejected"] for c in servers.values()),
            in_flight=sum(c["in_flight"] for c in servers.values()),
            connections=sum(c["connections"] for c in servers.values()),
            clients=sum(len(g.clients) for g in self.gateways),
            sessions=sum(len(g.sessions) for g in self.gateways),
            latency_ns=self.stats.latency(s.latency for s in self.registry.values()).summary(),
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
