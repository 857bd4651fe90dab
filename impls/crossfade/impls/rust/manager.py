"""``RustManager``: the interface over the native manager. It translates and decides nothing.

Rule: one crossing per call. Parameters are encoded here, results stay the bytes that came, and whoever looks at a
result pays for its decoding.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from types import TracebackType
from typing import Any, ClassVar, Self

import crossfade_native
import msgspec

from crossfade.impls import api
from crossfade.impls.config import Config, ServerSpec, check_replicas
from crossfade.impls.errors import ManagerClosed
from crossfade.impls.results import CallResult, Item, Result
from crossfade.impls.rust import wire
from crossfade.impls.rust.logs import follow
from crossfade.impls.snapshots import DeploymentInfo, Event, Metrics, ServerInfo, StorageInfo
from crossfade.impls.states import ServerState, Strategy

LEAVE_DRAIN_S = 5.0
"""How long leaving the manager waits for calls in flight."""


class RustManager(api.Manager):
    """The ``rust`` variant: tokio shell, Rust cores, and gateway traffic that never touches Python."""

    variant: ClassVar[str] = "rust"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._open: crossfade_native.Manager | None = None
        self._logs: asyncio.Task[None] | None = None

    @property
    def _native(self) -> crossfade_native.Manager:
        if self._open is None:
            raise ManagerClosed("the manager is not open; use it inside `async with open_manager(...) as manager:`")
        return self._open

    async def __aenter__(self) -> Self:
        native = crossfade_native.Manager(self.config.to_json())
        self._logs = follow(native.logs())
        self.event_log.follow(lambda: _events(native.overhear()))
        try:
            await native.start()
        except BaseException:
            await self._close(native, 0.0)
            raise
        self._open = native
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        native, self._open = self._open, None
        if native is not None:
            await self._close(native, LEAVE_DRAIN_S)

    async def _close(self, native: crossfade_native.Manager, drain_s: float) -> None:
        await native.close(drain_s)
        if self._logs is not None:
            await asyncio.wait([self._logs])  # the last words of the servers
        await self.event_log.ended()

    # -- registry

    async def register(self, spec: ServerSpec) -> ServerInfo:
        return wire.server_info(await self._native.register(msgspec.json.encode(spec)))

    async def unregister(self, name: str, *, drain_s: float = 5.0) -> None:
        await self._native.unregister(name, drain_s)

    async def maintenance(self, name: str, on: bool = True, *, drain_s: float = 5.0) -> ServerInfo:
        return wire.server_info(await self._native.maintenance(name, on, drain_s))

    # -- deployment

    async def deploy(self, spec: ServerSpec) -> DeploymentInfo:
        check_replicas(spec.name, spec.replicas)
        return await self._changing(spec.name, self._native.deploy(msgspec.json.encode(spec)))

    async def update(self, spec: ServerSpec, *, strategy: Strategy | str | None = None) -> DeploymentInfo:
        check_replicas(spec.name, spec.replicas)
        return await self._changing(spec.name, self._native.update(msgspec.json.encode(spec), strategy))

    async def scale(self, name: str, instances: int) -> DeploymentInfo:
        return await self._changing(name, self._native.scale(name, min(max(0, instances), 1 << 32)))

    async def rollback(self, name: str) -> DeploymentInfo:
        return wire.deployment(await self._native.rollback(name))

    async def _changing(self, name: str, change: crossfade_native.Coroutine[bytes]) -> DeploymentInfo:
        native = self._native
        try:
            return wire.deployment(await change)
        except asyncio.CancelledError:
            # Whoever cancels finds the change undone, not on its way to be.
            await asyncio.shield(_wait(native.settled(name)))
            raise

    async def undeploy(self, name: str, *, drain_s: float = 5.0, keep_storage: bool | None = None) -> None:
        await self._native.undeploy(name, drain_s, keep_storage)

    def deployments(self) -> list[DeploymentInfo]:
        return wire.deployments(self._native.deployments())

    def storage(self) -> list[StorageInfo]:
        return wire.storage(self._native.storage())

    # -- looking

    def get(self, name: str) -> ServerInfo:
        return wire.server_info(self._native.get(name))

    def servers(
        self, *, tag: str | None = None, state: ServerState | None = None, capability: str | None = None
    ) -> list[ServerInfo]:
        return wire.server_infos(self._native.servers(tag, state, capability))

    def events(self) -> AsyncIterator[Event]:
        # Subscribed here and not in the generator's body, which only runs when the first event is asked for.
        return _events(self._native.subscribe())

    # -- MCP

    async def list_tools(self, server: str | None = None) -> list[Item]:
        return wire.items(await self._native.list("tools", server))

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | msgspec.Raw | None = None,
        *,
        timeout_s: float | None = None,
        meta: Mapping[str, Any] | None = None,
        principal: str | None = None,
    ) -> CallResult:
        params = wire.call_params(name, arguments, meta)
        return CallResult(await self._native.request("tools/call", params, None, timeout_s, principal))

    async def list_resources(self, server: str | None = None) -> list[Item]:
        return wire.items(await self._native.list("resources", server))

    async def list_resource_templates(self, server: str | None = None) -> list[Item]:
        return wire.items(await self._native.list("resource_templates", server))

    async def read_resource(
        self,
        uri: str,
        *,
        server: str | None = None,
        timeout_s: float | None = None,
        meta: Mapping[str, Any] | None = None,
        principal: str | None = None,
    ) -> Result:
        params = wire.params(uri=uri, _meta=meta)
        return Result(await self._native.request("resources/read", params, server, timeout_s, principal))

    async def list_prompts(self, server: str | None = None) -> list[Item]:
        return wire.items(await self._native.list("prompts", server))

    async def get_prompt(
        self,
        name: str,
        arguments: Mapping[str, str] | None = None,
        *,
        timeout_s: float | None = None,
        meta: Mapping[str, Any] | None = None,
        principal: str | None = None,
    ) -> Result:
        params = wire.params(name=name, arguments=arguments, _meta=meta)
        return Result(await self._native.request("prompts/get", params, None, timeout_s, principal))

    async def complete(
        self,
        ref: Mapping[str, Any],
        argument: Mapping[str, str],
        *,
        server: str | None = None,
        context: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
        meta: Mapping[str, Any] | None = None,
        principal: str | None = None,
    ) -> Result:
        params = wire.params(ref=ref, argument=argument, context=context, _meta=meta)
        return Result(await self._native.request("completion/complete", params, server, timeout_s, principal))

    # -- watching

    async def health(self, server: str | None = None, *, timeout_s: float = 5.0) -> dict[str, ServerState]:
        return wire.states(await self._native.health(server, timeout_s))

    def metrics(self) -> Metrics:
        return wire.metrics(self._native.metrics())

    # -- serving

    async def serve(self, host: str = "127.0.0.1", port: int = 8080) -> api.Gateway:
        return RustGateway(await self._native.serve(host, port))

    async def serve_stdio(self) -> None:
        await self._native.serve_stdio()


class RustGateway(api.Gateway):
    """A gateway that runs on tokio; Python only starts and stops it."""

    def __init__(self, native: crossfade_native.Gateway) -> None:
        self._native = native
        self.host = native.host
        self.port = native.port

    async def close(self, *, drain_s: float = 5.0) -> None:
        await self._native.close(drain_s)


async def _wait(work: Awaitable[None]) -> None:
    await work


async def _events(subscription: crossfade_native.Subscription) -> AsyncIterator[Event]:
    try:
        while (raw := await subscription.next()) is not None:
            yield wire.event(raw)
    finally:
        subscription.close()
