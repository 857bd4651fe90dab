"""Owns the wire form of the policies on the path of a request; see ``replay.py`` for the rule.

``impls/rust/core/src/replay/path.rs`` is its twin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from crossfade.impls.cores.limiter import Gcra, KeyedLimiter, RateLimitConfig

Step = Callable[..., Any]


def _gcra(config: Mapping[str, Any], _seed: int) -> dict[str, Step]:
    limit = Gcra(RateLimitConfig(**config))
    return {"admit": limit.admit, "peek": limit.peek}


def _keyed_limiter(config: Mapping[str, Any], _seed: int) -> dict[str, Step]:
    limiter = KeyedLimiter(RateLimitConfig(**config))
    return {"admit": limiter.admit, "peek": limiter.peek, "size": lambda _now: limiter.size}


PATH_KINDS: dict[str, Callable[[Mapping[str, Any], int], dict[str, Step]]] = {
    "gcra": _gcra,
    "keyed_limiter": _keyed_limiter,
}
