"""What a manager tells of itself: immutable snapshots of servers, instances, deployments, storage and counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from crossfade.impls.states import CircuitState, DeploymentState, ServerState, StorageClass, Strategy

Era = Literal["legacy", "modern"]
Transport = Literal["stdio", "http"]
EventKind = Literal[
    "registered",
    "unregistered",
    "state",
    "circuit",
    "list_changed",
    "deployment",
    "restart",
    "quota",
    "gap",
]


@dataclass(frozen=True, slots=True)
class InstanceInfo:
    """One running replica: ``pid`` for stdio, ``url`` for HTTP. ``ewma_ns`` is 0 before the first answer.

    ``revision`` is the deployment's that it runs, ``directory`` its claimed storage.
    """

    index: int
    state: ServerState
    circuit: CircuitState
    era: Era | None = None
    pid: int | None = None
    url: str | None = None
    connections: int = 0
    in_flight: int = 0
    ewma_ns: int = 0
    revision: int = 1
    restarts: int = 0
    directory: str | None = None


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
    """One change. ``old`` and ``new`` are states, or for ``quota`` the bytes allowed and used, or what changed.

    ``kind`` ``gap`` says that ``missed`` events were dropped because the reader was slow.
    """

    kind: EventKind
    server: str
    old: str | None = None
    new: str | None = None
    missed: int = 0


@dataclass(frozen=True, slots=True)
class DeploymentInfo:
    """A snapshot of one server's deployment.

    ``revision`` counts specifications from 1; ``previous`` is the one that ``rollback`` returns to, if any. While an
    update runs, ``candidate`` is the new revision, ``share_percent`` its part of the traffic, and ``samples`` and
    ``failures`` what it has answered in the present step (shadow: copies compared, and copies that differed).
    ``message`` says why the last one failed or was rolled back.
    """

    name: str
    state: DeploymentState
    revision: int
    desired: int
    ready: int
    strategy: Strategy | None = None
    candidate: int | None = None
    share_percent: int = 0
    samples: int = 0
    failures: int = 0
    previous: int | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class StorageInfo:
    """A storage pool: bytes of capacity, claimed and really used (as of the last look), and its claims by server."""

    storage_class: StorageClass
    path: str
    capacity_bytes: int
    claimed_bytes: int
    used_bytes: int
    claims: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Metrics:
    """Counters since start and latency summaries in nanoseconds, of all requests and by server."""

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
    latency_by_server: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
