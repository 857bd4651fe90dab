"""Owns the wire form of the policies on the path of a request; see ``replay.py`` for the rule.

``impls/rust/core/src/replay/path.rs`` is its twin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from crossfade.impls.cores.actions import Action
from crossfade.impls.cores.bulkhead import Bulkhead, BulkheadConfig
from crossfade.impls.cores.limiter import Gcra, KeyedLimiter, RateLimitConfig

Step = Callable[..., Any]


def actions_of(method: Callable[..., Sequence[Action]]) -> Step:
    """The step that performs ``method`` and says its actions as arrays."""
    return lambda now, *args: [[type(action).__name__.lower(), *action] for action in method(now, *args)]


def _gcra(config: Mapping[str, Any], _seed: int) -> dict[str, Step]:
    limit = Gcra(RateLimitConfig(**config))
    return {"admit": limit.admit, "peek": limit.peek}


def _keyed_limiter(config: Mapping[str, Any], _seed: int) -> dict[str, Step]:
    limiter = KeyedLimiter(RateLimitConfig(**config))
    return {"admit": limiter.admit, "peek": limiter.peek, "size": lambda _now: limiter.size}


def _bulkhead(config: Mapping[str, Any], _seed: int) -> dict[str, Step]:
    bulkhead = Bulkhead(BulkheadConfig(**config))
    acting = (bulkhead.acquire, bulkhead.cancel, bulkhead.release, bulkhead.tick, bulkhead.resize, bulkhead.drain)
    return {
        **{method.__name__: actions_of(method) for method in acting},
        "try_acquire": lambda _now: bulkhead.try_acquire(),
        "take": lambda _now, waiter: bulkhead.take(waiter),
        "next_deadline_ns": lambda _now: bulkhead.next_deadline_ns(),
        "counts": lambda _now: [bulkhead.in_flight, bulkhead.waiting, bulkhead.untaken],
    }


PATH_KINDS: dict[str, Callable[[Mapping[str, Any], int], dict[str, Step]]] = {
    "gcra": _gcra,
    "keyed_limiter": _keyed_limiter,
    "bulkhead": _bulkhead,
}
