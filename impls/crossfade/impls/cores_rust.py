"""Owns ``RUST_CORES``: the factories of the Rust cores as Python classes, for the shell of variant ``rust-core``.

Rule: one crossing per step; nothing is decided or kept on this side.
"""

from __future__ import annotations

from collections.abc import Sequence

import crossfade_native as native

from crossfade.impls.cores.balancer import Balancer
from crossfade.impls.cores.bundle import Cores


def _balancer(kind: str, n: int, weights: Sequence[int], seed: int) -> Balancer:
    match kind:
        case "round_robin":
            return native.RoundRobin(n)
        case "weighted":
            return native.Weighted([*weights, *(1,) * n][:n])
        case "least_pending":
            return native.LeastPending(n)
        case "p2c":
            return native.P2C(n, seed)
        case "rendezvous":
            return native.Rendezvous(n)
        case _:
            raise ValueError(f"balancer {kind!r} is unknown; name one of those that ServerSpec.balancer lists")


RUST_CORES = Cores(
    name="rust-core",
    rng=native.SplitMix64,
    breaker=native.Breaker,
    pool=native.Pool,
    balancer=_balancer,
    gcra=native.Gcra,
    keyed_limiter=native.KeyedLimiter,
    bulkhead=native.Bulkhead,
    retry=native.Retry,
    hedge=native.Hedge,
    shedder=native.Shedder,
    health=native.Health,
    restart=native.Restart,
)
