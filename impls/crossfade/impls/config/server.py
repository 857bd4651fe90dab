"""One upstream server as configured: how it is reached or started, what is shown of it, and its policies."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec

from crossfade.impls.config.base import Bytes, Count, Glob, Spec
from crossfade.impls.config.policies import (
    BreakerSpec,
    BulkheadSpec,
    CacheSpec,
    DedicatedSpec,
    DeploySpec,
    HealthSpec,
    HedgeSpec,
    PoolSpec,
    RateLimitSpec,
    RestartSpec,
    RetrySpec,
)
from crossfade.impls.errors import ConfigError
from crossfade.impls.states import StorageClass

MAX_INSTANCES = 256

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]|_(?!_)){0,40}")


class NameFilter(Spec, frozen=True):
    """Which of a server's tools (prompts, resources) are shown, by its own names or URIs, and under which name.

    Globs: ``*`` is any text, ``?`` one character, ``[a-z]`` and ``[!a-z]`` one of a set or one that is not in it; the
    whole name must match, case counts. Empty ``allow`` allows all; ``deny`` wins. ``alias`` maps an own name to the
    one shown behind the prefix, and takes the place of the own name. What is not shown cannot be called either. An
    alias that equals another shown tool's own name is an error when the tools are listed.
    """

    allow: tuple[Glob, ...] = ()
    deny: tuple[Glob, ...] = ()
    alias: dict[str, str] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        shown = list(self.alias.values())
        if twice := {name for name in shown if shown.count(name) > 1}:
            raise ValueError(f"alias {min(twice)!r} is given to two names; choose another for one of them")
        if "" in shown:
            raise ValueError("an alias is empty; give the name to show, or remove it")


class StorageClaim(Spec, frozen=True):
    """``bytes`` of a storage pool for each instance; its directory is the child's working directory.

    ``keep`` keeps the directories when the server is undeployed.
    """

    bytes: Bytes
    storage_class: StorageClass = StorageClass.STANDARD
    keep: bool = False


class ServerSpec(Spec, frozen=True):
    """One upstream server: a ``command`` (stdio) or one or more ``urls`` (Streamable HTTP).

    Durations are milliseconds. ``instances`` is the number of stdio children; HTTP has one instance per URL.
    ``lazy`` connects on first use, not at registration. ``stateless`` lets gateway clients share one upstream session.
    ``weights`` belong to the instances in order, for balancer ``weighted``. ``affinity`` is what balancer
    ``rendezvous`` hashes: the client's session, the principal, or the tool's name.
    """

    name: str
    command: str | None = None
    args: tuple[str, ...] = ()
    env: dict[str, str] = msgspec.field(default_factory=dict)
    cwd: str | None = None
    urls: tuple[str, ...] = ()
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    instances: Annotated[int, msgspec.Meta(ge=1, le=MAX_INSTANCES)] = 1
    tags: tuple[str, ...] = ()
    lazy: bool = False
    stateless: bool = False
    era: Literal["auto", "legacy", "modern", "sse"] = "auto"
    timeout_ms: Annotated[int, msgspec.Meta(ge=1, le=86_400_000)] = 30_000
    start_timeout_ms: Annotated[int, msgspec.Meta(ge=1, le=600_000)] = 30_000
    max_message_bytes: Annotated[int, msgspec.Meta(ge=1024, le=1 << 30)] = 16 * 1024 * 1024
    balancer: Literal["round_robin", "weighted", "least_pending", "p2c", "rendezvous"] = "p2c"
    weights: tuple[Count, ...] = ()
    affinity: Literal["session", "principal", "tool"] = "session"
    tools: NameFilter = NameFilter()
    prompts: NameFilter = NameFilter()
    resources: NameFilter = NameFilter()
    pool: PoolSpec = PoolSpec()
    breaker: BreakerSpec = BreakerSpec()
    retry: RetrySpec = RetrySpec()
    hedge: HedgeSpec = HedgeSpec()
    rate_limits: tuple[RateLimitSpec, ...] = ()
    bulkhead: BulkheadSpec = BulkheadSpec()
    dedicated: DedicatedSpec = DedicatedSpec()
    health: HealthSpec = HealthSpec()
    restart: RestartSpec = RestartSpec()
    cache: CacheSpec = CacheSpec()
    storage: StorageClaim | None = None
    deploy: DeploySpec = DeploySpec()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"server name {self.name!r} must be 1 to 41 letters, digits, '.', '-' or single '_', "
                "so that names like server__tool stay unique and short; rename it"
            )
        if (self.command is None) == (not self.urls):
            raise ValueError(
                "needs either `command` (stdio) or `url` (Streamable HTTP), and not both; add or remove one"
            )
        if self.era == "sse" and self.command is not None:
            raise ValueError("era: sse is HTTP+SSE, which needs a `url`; remove it, or give the url")
        for url in self.urls:
            if not url.startswith("http://"):
                raise ValueError(
                    f"url {url!r} must start with http:// (https upstreams are not supported yet); change it"
                )
        if self.resources.alias:
            raise ValueError("resources.alias: resources keep their URIs; remove it")
        if self.weights and len(self.weights) != self.replicas:
            raise ValueError(
                f"{len(self.weights)} weights are given for {self.replicas} instances; give one for each, or none"
            )
        if self.storage is not None and self.command is None:
            raise ValueError("storage: only a `command` has a working directory; remove it")

    @property
    def transport(self) -> Literal["stdio", "http"]:
        """``stdio`` for a command, ``http`` for URLs."""
        return "stdio" if self.command is not None else "http"

    @property
    def replicas(self) -> int:
        """Number of instances: children of a command, or URLs."""
        return self.instances if self.command is not None else len(self.urls)


def check_replicas(server: str, count: int) -> None:
    """Raises ConfigError for a number of instances that nobody can mean."""
    if not 1 <= count <= MAX_INSTANCES:
        raise ConfigError(
            f"server {server!r}: {count} instances are out of range; choose 1 to {MAX_INSTANCES}", server=server
        )
