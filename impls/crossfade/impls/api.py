"""The one interface: :class:`Manager`, what it returns, and nothing else.

Every variant implements this class and passes the same contract suite (``tests/contract``). Payloads stay bytes until
somebody looks: a :class:`Result` decodes on first access, so a relay never pays for a parse that nobody asked for.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

import msgspec

from crossfade.impls.config import Config, ServerSpec

Era = Literal["legacy", "modern"]
Transport = Literal["stdio", "http"]


class ServerState(enum.StrEnum):
    """Where a server stands. Routable are ``healthy`` and ``degraded``, and ``initializing`` if it is lazy."""

    INITIALIZING = "initializing"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    MAINTENANCE = "maintenance"
    STOPPED = "stopped"


class CircuitState(enum.StrEnum):
    """State of one instance's breaker. ``closed`` admits."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class InstanceInfo:
    """One running replica: ``pid`` for stdio, ``url`` for HTTP. ``ewma_ns`` is 0 before the first answer."""

    index: int
    state: ServerState
    circuit: CircuitState
    era: Era | None = None
    pid: int | None = None
    url: str | None = None
    connections: int = 0
    in_flight: int = 0
    ewma_ns: int = 0


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A snapshot of one registered server. ``capabilities`` is what the server announced, untouched."""

    name: str
    transport: Transport
    state: ServerState
    era: Era | None = None
    protocol_version: str | None = None
    server_name: str | None = None
    server_version: str | None = None
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    instances: tuple[InstanceInfo, ...] = ()
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One change of state. ``kind`` ``gap`` says that ``missed`` events were dropped because the reader was slow."""

    kind: Literal["registered", "unregistered", "state", "circuit", "list_changed", "gap"]
    server: str
    old: str | None = None
    new: str | None = None
    missed: int = 0


class Result:
    """A JSON-RPC ``result`` as bytes, decoded on first access. Unknown fields survive."""

    __slots__ = ("_decoded", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._decoded: dict[str, Any] | None = None

    @property
    def data(self) -> dict[str, Any]:
        """The decoded object, cached."""
        if self._decoded is None:
            self._decoded = msgspec.json.decode(self.raw, type=dict[str, Any])
        return self._decoded

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.raw[:120]!r}{'...' if len(self.raw) > 120 else ''})"


class CallResult(Result):
    """What ``tools/call`` returned. ``is_error`` is the tool's own verdict; transport and protocol errors raise."""

    __slots__ = ()

    @property
    def content(self) -> list[dict[str, Any]]:
        """Content blocks, in order."""
        content: list[dict[str, Any]] = self.data.get("content", [])
        return content

    @property
    def is_error(self) -> bool:
        """True if the tool reports failure."""
        return bool(self.data.get("isError", False))

    @property
    def structured(self) -> Any:
        """``structuredContent``, or None."""
        return self.data.get("structuredContent")

    @property
    def text(self) -> str:
        """All text blocks, joined by newlines."""
        return "\n".join(block["text"] for block in self.content if block.get("type") == "text")


@dataclass(frozen=True, slots=True)
class Item:
    """One listed tool, prompt, resource or resource template.

    ``name`` is the name to call it by (prefixed with the server's); for resources ``uri`` is the key. ``data`` is the
    server's definition with ``name`` as exposed and every other field untouched.
    """

    server: str
    name: str
    data: Mapping[str, Any]

    @property
    def uri(self) -> str | None:
        """The resource's URI (or its template), None for tools and prompts."""
        return self.data.get("uri") or self.data.get("uriTemplate")


@dataclass(frozen=True, slots=True)
class Metrics:
    """Counters since start and a latency summary in nanoseconds; ``servers`` has the same keys per server."""

    requests: int
    errors: int
    rejected: int
    in_flight: int
    connections: int
    clients: int
    sessions: int
    latency_ns: Mapping[str, int]
    errors_by_code: Mapping[str, int]
    servers: Mapping[str, Mapping[str, int]]


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
    def events(self) -> AsyncIterator[Event]:
        """Changes from now on. A slow reader gets a ``gap`` event, never unbounded memory. Ends with the manager."""

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
    ) -> CallResult:
        """Call ``server__tool``. Cancelling the awaiting task cancels the request upstream and frees its slot.

        Raises UnknownTarget, RemoteError, ServerTimeout, ServerCrashed, ProtocolViolation, PoolTimeout, CircuitOpen.
        """

    @abc.abstractmethod
    async def list_resources(self, server: str | None = None) -> list[Item]: ...

    @abc.abstractmethod
    async def list_resource_templates(self, server: str | None = None) -> list[Item]: ...

    @abc.abstractmethod
    async def read_resource(self, uri: str, *, server: str | None = None, timeout_s: float | None = None) -> Result:
        """Read from ``server``, or from the server that lists ``uri`` (or a matching template)."""

    @abc.abstractmethod
    async def list_prompts(self, server: str | None = None) -> list[Item]: ...

    @abc.abstractmethod
    async def get_prompt(
        self, name: str, arguments: Mapping[str, str] | None = None, *, timeout_s: float | None = None
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
