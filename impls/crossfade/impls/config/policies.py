"""Policies of one server: what its pool, breaker, retries, hedges, limits, health checks, restarts and cache may do.

Durations are milliseconds; 0 switches off where it says so. Each class has a core of the same meaning in
``crossfade.impls.cores``.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from crossfade.impls.config.base import (
    Bytes,
    Count,
    CountOrOff,
    Glob,
    Millis,
    PerMille,
    PerMilleOrOff,
    SomeMillis,
    Spec,
)
from crossfade.impls.states import Strategy


class PoolSpec(Spec, frozen=True):
    """Connections to one instance. ``streams`` is requests in flight per connection (1 for HTTP/1.1)."""

    min_connections: CountOrOff = 0
    max_connections: Count = 64
    max_waiters: CountOrOff = 1024
    acquire_timeout_ms: Millis = 5_000
    idle_timeout_ms: Millis = 60_000
    max_age_ms: Millis = 0
    stdio_streams: Count = 256

    def __post_init__(self) -> None:
        if self.min_connections > self.max_connections:
            raise ValueError(
                f"pool.minConnections {self.min_connections} is above pool.maxConnections {self.max_connections}; "
                "lower it or raise the other"
            )


class BreakerSpec(Spec, frozen=True):
    """Circuit breaker per instance: a sliding window of outcomes, bounded by count and by time."""

    enabled: bool = True
    window: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 100
    window_ms: Millis = 10_000
    min_calls: Count = 20
    failure_per_mille: PerMille = 500
    slow_call_ms: Millis = 0
    slow_per_mille: PerMille = 1000
    open_ms: Millis = 5_000
    probes: Count = 3


class RetrySpec(Spec, frozen=True):
    """Second attempts, where they are safe: lists, reads, prompts, completion, tools that say they are idempotent or
    read-only (``hints``), and tools that match ``tools``. ``attempts`` counts the first one; 1 switches retries off.

    A retry waits a random time up to ``base_ms * 2^n``, at most ``cap_ms`` (full jitter), and takes one token of a
    budget that every request fills by ``budget_per_mille`` of a token, up to ``budget_burst``.
    """

    attempts: Annotated[int, msgspec.Meta(ge=1, le=10)] = 2
    base_ms: SomeMillis = 20
    cap_ms: SomeMillis = 1_000
    budget_per_mille: PerMilleOrOff = 200
    budget_burst: Count = 10
    hints: bool = True
    tools: tuple[Glob, ...] = ()


class HedgeSpec(Spec, frozen=True):
    """A second copy of a safe read if the first has not answered after ``delay_ms`` (0: its own observed p95).

    At most ``per_mille`` of the requests are hedged. Reads are ``resources/read`` and ``prompts/get``; ``tools`` adds
    tools. Needs more than one instance.
    """

    enabled: bool = False
    delay_ms: Millis = 0
    per_mille: PerMille = 50
    tools: tuple[Glob, ...] = ()


class RateLimitSpec(Spec, frozen=True):
    """At most ``requests`` in ``per_ms``, with bursts of ``burst`` (GCRA), counted per ``key``.

    ``server`` counts all calls together, ``tool`` each tool for itself, ``principal`` each caller. ``tools`` narrows it
    to tools that match; empty means every request. ``max_keys`` bounds what is remembered.
    """

    requests: Count
    per_ms: SomeMillis = 1_000
    burst: Count = 1
    key: Literal["server", "tool", "principal"] = "server"
    tools: tuple[Glob, ...] = ()
    max_keys: Count = 10_000


class BulkheadSpec(Spec, frozen=True):
    """Requests to one server at once; 0: no bound. Others queue, at most ``max_queue``, for ``queue_timeout_ms``."""

    max_in_flight: CountOrOff = 0
    max_queue: CountOrOff = 0
    queue_timeout_ms: Millis = 1_000


class DedicatedSpec(Spec, frozen=True):
    """Sessions with a legacy server that serve one client at a time, because it can be asked or wants logs: at most
    ``max`` per instance (a child each for a command), kept for ``idle_ms`` after their last call."""

    max: Count = 16
    idle_ms: Millis = 60_000


class HealthSpec(Spec, frozen=True):
    """Probes every ``interval_ms`` (0: calls alone tell). The state turns after so many equal verdicts in a row."""

    interval_ms: Millis = 0
    timeout_ms: SomeMillis = 5_000
    unhealthy_after: Count = 3
    healthy_after: Count = 2


class RestartSpec(Spec, frozen=True):
    """Restarts of a child that ended by itself: after ``base_ms * 2^n``, at most ``cap_ms``, with jitter.

    More than ``max_restarts`` within ``window_ms`` is a crash loop: the server is unhealthy and stays down for
    ``window_ms``, or until somebody deploys, updates or probes it. A child that lived ``reset_after_ms`` starts at
    ``base_ms`` again.
    """

    enabled: bool = True
    base_ms: SomeMillis = 100
    cap_ms: SomeMillis = 30_000
    reset_after_ms: SomeMillis = 10_000
    max_restarts: Count = 5
    window_ms: SomeMillis = 60_000


class CacheSpec(Spec, frozen=True):
    """Answers to lists and reads that the server marks with ``ttlMs`` and ``cacheScope``, at most so many and so large.

    ``default_ttl_ms`` is for answers that say nothing (legacy servers): 0 keeps only what routing needs.
    ``coalesce`` answers identical reads in flight from one request.
    """

    enabled: bool = True
    coalesce: bool = True
    default_ttl_ms: Millis = 0
    max_ttl_ms: Millis = 3_600_000
    max_entries: Count = 1_000
    max_bytes: Bytes = 16 * 1024 * 1024


class DeploySpec(Spec, frozen=True):
    """How ``update`` and ``scale`` proceed. Every step waits for healthy instances, at most ``gate_timeout_ms``.

    ``steps_percent`` are the canary's shares of the traffic; each needs ``min_samples`` answers within
    ``step_timeout_ms`` and fails if more than ``max_failure_per_mille`` of them failed. Shadow copies safe reads to
    the new instances until ``min_samples`` were compared, within the same time. With 0 a step that nobody asks
    anything in is passed when its time is over.
    """

    strategy: Strategy = Strategy.ROLLING
    max_surge: Count = 1
    steps_percent: Annotated[tuple[Annotated[int, msgspec.Meta(ge=1, le=100)], ...], msgspec.Meta(min_length=1)] = (
        5,
        25,
        50,
    )
    min_samples: CountOrOff = 20
    step_timeout_ms: SomeMillis = 60_000
    max_failure_per_mille: PerMilleOrOff = 50
    gate_timeout_ms: SomeMillis = 30_000
    drain_ms: Millis = 10_000

    def __post_init__(self) -> None:
        if list(self.steps_percent) != sorted(set(self.steps_percent)):
            raise ValueError(f"deploy.stepsPercent {list(self.steps_percent)} must rise; sort them")
