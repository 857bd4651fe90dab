"""The same manager for callers without asyncio: every call blocks, and is safe from any thread.

One event loop runs in a thread of its own for as long as the manager is open (``loop_thread``). Rule: nothing is
decided here; leaving the ``with`` block leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from crossfade.impls.api import Gateway, Manager
from crossfade.impls.config import Config, ServerSpec
from crossfade.impls.errors import ManagerClosed
from crossfade.impls.loop_thread import LoopThread
from crossfade.impls.reload import Changes
from crossfade.impls.results import CallResult, Item, Result
from crossfade.impls.snapshots import DeploymentInfo, Event, Metrics, ServerInfo, StorageInfo
from crossfade.impls.states import ServerState, Strategy
from crossfade.impls.variants import open_manager

_T = TypeVar("_T")


def open_sync(config: Config, variant: str | None = None) -> SyncManager:
    """A manager without asyncio: ``with open_sync(config, "rust") as manager: manager.call_tool(...)``.

    Raises VariantUnavailable as :func:`open_manager` does.
    """
    return SyncManager(open_manager(config, variant))


class SyncManager:
    """What :class:`Manager` offers, without ``await``. Arguments, results and errors are the same."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._thread: LoopThread | None = None

    @property
    def variant(self) -> str:
        """The variant that runs."""
        return self._manager.variant

    @property
    def config(self) -> Config:
        """The configuration that runs."""
        return self._manager.config

    # -- life

    def __enter__(self) -> Self:
        self._thread = LoopThread()
        try:
            self._run(self._manager.__aenter__())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._run(self._manager.__aexit__(kind, error, trace))
        finally:
            self._end()

    def _end(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        if self._thread is None:
            work.close()
            raise ManagerClosed("the manager is not open; use it inside `with`")
        return self._thread.run(work)

    def _look(self, at: Callable[[], _T]) -> _T:
        if self._thread is None:
            raise ManagerClosed("the manager is not open; use it inside `with`")
        return self._thread.look(at)

    # -- registry

    def register(self, spec: ServerSpec) -> ServerInfo:
        """See :meth:`Manager.register`."""
        return self._run(self._manager.register(spec))

    def unregister(self, name: str, *, drain_s: float = 5.0) -> None:
        """See :meth:`Manager.unregister`."""
        self._run(self._manager.unregister(name, drain_s=drain_s))

    def get(self, name: str) -> ServerInfo:
        """See :meth:`Manager.get`."""
        return self._look(lambda: self._manager.get(name))

    def servers(
        self, *, tag: str | None = None, state: ServerState | None = None, capability: str | None = None
    ) -> list[ServerInfo]:
        """See :meth:`Manager.servers`."""
        return self._look(lambda: self._manager.servers(tag=tag, state=state, capability=capability))

    def maintenance(self, name: str, on: bool = True, *, drain_s: float = 5.0) -> ServerInfo:
        """See :meth:`Manager.maintenance`."""
        return self._run(self._manager.maintenance(name, on, drain_s=drain_s))

    def events(self) -> Iterator[Event]:
        """Changes from now on, as they come; ends with the manager. See :meth:`Manager.events`."""
        stream = self._look(self._manager.events)

        async def following() -> Event | None:
            return await anext(stream, None)

        def each() -> Iterator[Event]:
            while (event := self._run(following())) is not None:
                yield event

        return each()

    # -- deployment

    def deploy(self, spec: ServerSpec) -> DeploymentInfo:
        """See :meth:`Manager.deploy`."""
        return self._run(self._manager.deploy(spec))

    def update(self, spec: ServerSpec, *, strategy: Strategy | str | None = None) -> DeploymentInfo:
        """See :meth:`Manager.update`."""
        return self._run(self._manager.update(spec, strategy=strategy))

    def scale(self, name: str, instances: int) -> DeploymentInfo:
        """See :meth:`Manager.scale`."""
        return self._run(self._manager.scale(name, instances))

    def rollback(self, name: str) -> DeploymentInfo:
        """See :meth:`Manager.rollback`."""
        return self._run(self._manager.rollback(name))

    def undeploy(self, name: str, *, drain_s: float = 5.0, keep_storage: bool | None = None) -> None:
        """See :meth:`Manager.undeploy`."""
        self._run(self._manager.undeploy(name, drain_s=drain_s, keep_storage=keep_storage))

    def deployments(self) -> list[DeploymentInfo]:
        """See :meth:`Manager.deployments`."""
        return self._look(self._manager.deployments)

    def storage(self) -> list[StorageInfo]:
        """See :meth:`Manager.storage`."""
        return self._look(self._manager.storage)

    def apply(self, config: Config, *, drain_s: float = 5.0) -> Changes:
        """See :meth:`Manager.apply`."""
        return self._run(self._manager.apply(config, drain_s=drain_s))

    # -- MCP

    def list_tools(self, server: str | None = None) -> list[Item]:
        """See :meth:`Manager.list_tools`."""
        return self._run(self._manager.list_tools(server))

    def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | msgspec.Raw | None = None,
        *,
        timeout_s: float | None = None,
        meta: Mapping[str, Any] | None = None,
        principal: str | None = None,
    ) -> CallResult:
        """See :meth:`Manager.call_tool`."""
        return self._run(self._manager.call_tool(name, arguments, timeout_s=timeout_s, meta=meta, principal=principal))

    def list_resources(self, server: str | None = None) -> list[Item]:
        """See :meth:`Manager.list_resources`."""
        return self._run(self._manager.list_resources(server))

    def list_resource_templates(self, server: str | None = None) -> list[Item]:
        """See :meth:`Manager.list_resource_templates`."""
        return self._run(self._manager.list_resource_templates(server))

    def read_resource(
        self,
        uri: str,
        *,
        server: str | None = None,
        timeout_s: float | None = None,
        meta: Mapping[str, Any] | None = None,
        principal: str | None = None,
    ) -> Result:
        """See :meth:`Manager.read_resource`."""
        return self._run(
            self._manager.read_resource(uri, server=server, timeout_s=timeout_s, meta=meta, principal=principal)
        )

    def list_prompts(self, server: str | None = None) -> list[Item]:
        """See :meth:`Manager.list_prompts`."""
        return self._run(self._manager.list_prompts(server))

    def get_prompt(
        self,
        name: str,
        arguments: Mapping[str, str] | None = None,
        *,
        timeout_s: float | None = None,
        meta: Mapping[str, Any] | None = None,
        principal: str | None = None,
    ) -> Result:
        """See :meth:`Manager.get_prompt`."""
        return self._run(self._manager.get_prompt(name, arguments, timeout_s=timeout_s, meta=meta, principal=principal))

    def complete(
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
        """See :meth:`Manager.complete`."""
        return self._run(
            self._manager.complete(
                ref, argument, server=server, context=context, timeout_s=timeout_s, meta=meta, principal=principal
            )
        )

    # -- watching and serving

    def health(self, server: str | None = None, *, timeout_s: float = 5.0) -> dict[str, ServerState]:
        """See :meth:`Manager.health`."""
        return self._run(self._manager.health(server, timeout_s=timeout_s))

    def metrics(self) -> Metrics:
        """See :meth:`Manager.metrics`."""
        return self._look(self._manager.metrics)

    def serve(self, host: str = "127.0.0.1", port: int = 8080) -> Gateway:
        """Serve in the background until the ``with`` block ends. See :meth:`Manager.serve`."""
        return self._run(self._manager.serve(host, port))

    def serve_stdio(self) -> None:
        """Blocks until the client closes stdin. See :meth:`Manager.serve_stdio`."""
        self._run(self._manager.serve_stdio())
