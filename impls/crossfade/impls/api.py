"""The one interface: :class:`Manager`, and nothing else. What it returns is in ``results`` and ``snapshots``.

Every variant implements this class and passes the same contract suite (``tests/contract``).
"""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, ClassVar, Self

import msgspec

from crossfade.impls.config import Config, ServerSpec
from crossfade.impls.logs import EventLog
from crossfade.impls.reload import Changes, apply
from crossfade.impls.results import CallResult, Item, Result
from crossfade.impls.snapshots import DeploymentInfo, Event, Metrics, ServerInfo, StorageInfo
from crossfade.impls.states import ServerState, Strategy


class Gateway(abc.ABC):
    """A running gateway face. Close it, or leave the manager, which closes it too."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The MCP endpoint."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/mcp"

    @abc.abstractmethod
    async def close(self, *, drain_s: float = 5.0) -> None:
        """Stop accepting, let requests in flight finish for ``drain_s`` seconds, then close what is left."""


class Manager(abc.ABC):
    """Owns servers, instances and connections. An async context manager; every other call needs it entered.

    Entering connects to every configured server that is not ``lazy``, concurrently; one that fails is registered as
    ``unhealthy`` with ``last_error`` and tried again on use. Leaving drains, closes and reaps everything.
    """

    variant: ClassVar[str]

    def __init__(self, config: Config) -> None:
        self.config = config
        self.event_log = EventLog(config.telemetry)

    @abc.abstractmethod
    async def __aenter__(self) -> Self: ...

    @abc.abstractmethod
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    # -- registry
    @abc.abstractmethod
    async def register(self, spec: ServerSpec) -> ServerInfo:
        """Add a server and, unless it is lazy, connect. Raises ServerExists or ServerStartError (nothing is kept)."""

    @abc.abstractmethod
    async def unregister(self, name: str, *, drain_s: float = 5.0) -> None:
        """Stop routing to it, wait up to ``drain_s`` for calls in flight, close. Raises ServerNotFound."""

    @abc.abstractmethod
    def get(self, name: str) -> ServerInfo:
        """A snapshot. Raises ServerNotFound."""

    @abc.abstractmethod
    def servers(
        self, *, tag: str | None = None, state: ServerState | None = None, capability: str | None = None
    ) -> list[ServerInfo]:
        """Snapshots in order of registration, filtered."""

    @abc.abstractmethod
    async def maintenance(self, name: str, on: bool = True, *, drain_s: float = 5.0) -> ServerInfo:
        """Take a server out of routing without closing it (its calls raise ServerUnavailable), or put it back."""

    @abc.abstractmethod
    def events(self) -> AsyncIterator[Event]:
        """Changes from now on. A slow reader gets a ``gap`` event, never unbounded memory. Ends with the manager."""

    # -- deployment
    @abc.abstractmethod
    async def deploy(self, spec: ServerSpec) -> DeploymentInfo:
        """Register ``spec`` with its storage claimed, and return when all its instances are healthy.

        Raises ServerExists, StorageExhausted, DeploymentFailed (then nothing is kept).
        """

    @abc.abstractmethod
    async def update(self, spec: ServerSpec, *, strategy: Strategy | str | None = None) -> DeploymentInfo:
        """Replace the running revision of ``spec.name`` by ``spec`` without losing a call; return when it is over.

        A failed gate rolls back by itself and raises DeploymentFailed; the old revision never stopped serving (with
        ``recreate`` calls wait in between). Cancelling the awaiting task rolls back, too. Raises ServerNotFound,
        DeploymentBusy, ConfigError (unknown strategy), StorageExhausted.
        """

    @abc.abstractmethod
    async def scale(self, name: str, instances: int) -> DeploymentInfo:
        """Start or drain instances of a ``command``. Raises ServerNotFound, ConfigError, DeploymentBusy,
        StorageExhausted, DeploymentFailed."""

    @abc.abstractmethod
    async def rollback(self, name: str) -> DeploymentInfo:
        """Abort the update that runs, or else update to the previous revision. Raises DeploymentFailed if none."""

    @abc.abstractmethod
    async def undeploy(self, name: str, *, drain_s: float = 5.0, keep_storage: bool | None = None) -> None:
        """Unregister, and release (or keep) the storage; None does what the claim says. Raises ServerNotFound."""

    @abc.abstractmethod
    def deployments(self) -> list[DeploymentInfo]:
        """One snapshot per registered server, in order of registration."""

    @abc.abstractmethod
    def storage(self) -> list[StorageInfo]:
        """The configured storage pools."""

    async def apply(self, config: Config, *, drain_s: float = 5.0) -> Changes:
        """Bring the running manager to ``config``, touching only servers that differ (``crossfade.impls.reload``)."""
        return await apply(self, config, drain_s=drain_s)

    # -- MCP
    @abc.abstractmethod
    async def list_tools(self, server: str | None = None) -> list[Item]:
        """Every page of every server (or of one), concurrently; a failing server is left out unless it was named."""

    @abc.abstractmethod
    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | msgspec.Raw | None = None,
        *,
        timeout_s: float | None = None,
        meta: Mapping[str, Any] | None = None,
        principal: str | None = None,
    ) -> CallResult:
        """Call ``server__tool``. Cancelling the awaiting task cancels the request upstream and frees its slot.

        ``principal`` is on whose behalf: it keys rate limits, affinity and cached answers (here and below). ``meta``
        goes to the server as ``_meta``, but for what belongs to the hop.
        Raises UnknownTarget, RemoteError, ServerTimeout, ServerCrashed, ProtocolViolation, PoolTimeout, CircuitOpen,
        RateLimited, BulkheadFull, LoadShed, ServerUnavailable.
        """

    @abc.abstractmethod
    async def list_resources(self, server: str | None = None) -> list[Item]: ...

    @abc.abstractmethod
    async def list_resource_templates(self, server: str | None = None) -> list[Item]: ...

    @abc.abstractmethod
    async def read_resource(
        self,
        uri: str,
        *,
        server: str | None = None,
        timeout_s: float | None = None,
        meta: Mapping[str, Any] | None = None,
        principal: str | None = None,
    ) -> Result:
        """Read from ``server``, or from the server that lists ``uri`` (or a matching template)."""

    @abc.abstractmethod
    async def list_prompts(self, server: str | None = None) -> list[Item]: ...

    @abc.abstractmethod
    async def get_prompt(
        self,
        name: str,
        arguments: Mapping[str, str] | None = None,
        *,
        timeout_s: float | None = None,
        meta: Mapping[str, Any] | None = None,
        principal: str | None = None,
    ) -> Result: ...

    @abc.abstractmethod
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
        """``completion/complete``. ``ref`` names a prompt by its exposed name or a resource by URI."""

    # -- watching
    @abc.abstractmethod
    async def health(self, server: str | None = None, *, timeout_s: float = 5.0) -> dict[str, ServerState]:
        """Probe now (modern ``server/discover``, legacy ``ping``), update states, return them by server name."""

    @abc.abstractmethod
    def metrics(self) -> Metrics:
        """Counters and latency since start."""

    # -- serving
    @abc.abstractmethod
    async def serve(self, host: str = "127.0.0.1", port: int = 8080) -> Gateway:
        """Serve MCP clients on ``http://host:port/mcp`` (``/metrics`` and ``/healthz`` beside it). Port 0 picks one.

        Raises AddressInUse.
        """

    @abc.abstractmethod
    async def serve_stdio(self) -> None:
        """Serve one MCP client on stdin and stdout until it closes stdin."""
