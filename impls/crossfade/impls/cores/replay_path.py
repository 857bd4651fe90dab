"""Owns the wire form of the policies on the path of a request; see ``replay.py`` for the rule.

``impls/rust/core/src/replay/path.rs`` is its twin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from crossfade.impls.cores.actions import Action
from crossfade.impls.cores.bulkhead import BulkheadConfig
from crossfade.impls.cores.bundle import Cores
from crossfade.impls.cores.hedge import HedgeConfig
from crossfade.impls.cores.limiter import RateLimitConfig
from crossfade.impls.cores.retry import RetryConfig
from crossfade.impls.cores.shedder import ShedConfig

Step = Callable[..., Any]


def actions_of(method: Callable[..., Sequence[Action]]) -> Step:
    """The step that performs ``method`` and says its actions as arrays."""
    return lambda now, *args: [[type(action).__name__.lower(), *action] for action in method(now, *args)]


def _gcra(cores: Cores, config: Mapping[str, Any], _seed: int) -> dict[str, Step]:
    limit = cores.gcra(RateLimitConfig(**config))
    return {"admit": limit.admit, "peek": limit.peek}


def _keyed_limiter(cores: Cores, config: Mapping[str, Any], _seed: int) -> dict[str, Step]:
    limiter = cores.keyed_limiter(RateLimitConfig(**config))
    return {"admit": limiter.admit, "peek": limiter.peek, "size": lambda _now: limiter.size}


def _bulkhead(cores: Cores, config: Mapping[str, Any], _seed: int) -> dict[str, Step]:
    bulkhead = cores.bulkhead(BulkheadConfig(**config))
    acting = (bulkhead.acquire, bulkhead.cancel, bulkhead.release, bulkhead.tick, bulkhead.resize, bulkhead.drain)
    return {
        **{method.__name__: actions_of(method) for method in acting},
        "try_acquire": lambda _now: bulkhead.try_acquire(),
        "take": lambda _now, waiter: bulkhead.take(waiter),
        "next_deadline_ns": lambda _now: bulkhead.next_deadline_ns(),
        "counts": lambda _now: [bulkhead.in_flight, bulkhead.waiting, bulkhead.untaken],
    }


def _retry(cores: Cores, config: Mapping[str, Any], seed: int) -> dict[str, Step]:
    retry = cores.retry(RetryConfig(**config), seed)
    return {
        "request": lambda _now: retry.request(),
        "next": lambda _now, made: retry.next(made),
        "forget": lambda _now: retry.forget(),
        "budget_milli": lambda _now: retry.budget_milli(),
    }


def _hedge(cores: Cores, config: Mapping[str, Any], _seed: int) -> dict[str, Step]:
    hedge = cores.hedge(HedgeConfig(**config))

    def record_many(_now: int, latency_ns: int, times: int) -> None:
        for _ in range(times):
            hedge.record(latency_ns)

    return {
        "request": lambda _now: hedge.request(),
        "delay_ns": lambda _now: hedge.delay_ns(),
        "try_start": lambda _now: hedge.try_start(),
        "record": lambda _now, latency_ns: hedge.record(latency_ns),
        "record_many": record_many,
    }


def _shedder(cores: Cores, config: Mapping[str, Any], _seed: int) -> dict[str, Step]:
    shedder = cores.shedder(ShedConfig(**config))
    return {"admit": shedder.admit, "waited": shedder.waited, "shedding": lambda _now: shedder.shedding}


PATH_KINDS: dict[str, Callable[[Cores, Mapping[str, Any], int], dict[str, Step]]] = {
    "gcra": _gcra,
    "keyed_limiter": _keyed_limiter,
    "bulkhead": _bulkhead,
    "retry": _retry,
    "hedge": _hedge,
    "shedder": _shedder,
}
