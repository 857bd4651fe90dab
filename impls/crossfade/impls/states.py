"""The states and classes that the interface speaks of: strings, hashable, the same words in Rust and on the wire."""

from __future__ import annotations

import enum


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


class DeploymentState(enum.StrEnum):
    """Where the deployment of a server stands. ``running``, ``rolled_back``, ``stopped`` and ``failed`` are at rest."""

    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    UPDATING = "updating"
    SCALING = "scaling"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"


class Strategy(enum.StrEnum):
    """How an update replaces the instances of a server."""

    RECREATE = "recreate"
    ROLLING = "rolling"
    BLUE_GREEN = "blue_green"
    CANARY = "canary"
    SHADOW = "shadow"


class StorageClass(enum.StrEnum):
    """Kind of storage that a server claims for the working directories of its instances."""

    STANDARD = "standard"
    FAST = "fast"
    NVME = "nvme"
    NETWORK = "network"
