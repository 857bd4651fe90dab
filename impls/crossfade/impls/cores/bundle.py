"""Owns the choice of cores: one object with a factory for each, so that one asyncio shell runs on any of them.

Rule: the shell makes every core through ``Manager.cores`` and nowhere else; a variant differs from ``python`` by this
object alone. Configurations are the dataclasses of this package, in nanoseconds, whatever language the core is in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crossfade.impls.cores.actions import PoolConfig
from crossfade.impls.cores.balancer import P2C, Balancer
from crossfade.impls.cores.breaker import Breaker, BreakerConfig
from crossfade.impls.cores.bulkhead import Bulkhead, BulkheadConfig
from crossfade.impls.cores.health import Health, HealthConfig
from crossfade.impls.cores.hedge import Hedge, HedgeConfig
from crossfade.impls.cores.limiter import Gcra, KeyedLimiter, RateLimitConfig
from crossfade.impls.cores.pool import Pool
from crossfade.impls.cores.protocols import (
    BreakerCore,
    BulkheadCore,
    GcraCore,
    HealthCore,
    HedgeCore,
    KeyedLimiterCore,
    PoolCore,
    RandomCore,
    RestartCore,
    RetryCore,
    ShedderCore,
)
from crossfade.impls.cores.rendezvous import Rendezvous
from crossfade.impls.cores.restart import Restart, RestartConfig
from crossfade.impls.cores.retry import Retry, RetryConfig
from crossfade.impls.cores.rng import SplitMix64
from crossfade.impls.cores.shedder import ShedConfig, Shedder
from crossfade.impls.cores.turns import LeastPending, RoundRobin, Weighted

BalancerFactory = Callable[[str, int, Sequence[int], int], Balancer]


@dataclass(frozen=True, slots=True)
class Cores:
    """Factories. ``balancer`` takes the kind of ``ServerSpec.balancer``, the number of instances, their weights
    (empty: equal) and a seed.
    """

    name: str
    rng: Callable[[int], RandomCore]
    breaker: Callable[[BreakerConfig], BreakerCore]
    pool: Callable[[PoolConfig], PoolCore]
    balancer: BalancerFactory
    gcra: Callable[[RateLimitConfig], GcraCore]
    keyed_limiter: Callable[[RateLimitConfig], KeyedLimiterCore]
    bulkhead: Callable[[BulkheadConfig], BulkheadCore]
    retry: Callable[[RetryConfig, int], RetryCore]
    hedge: Callable[[HedgeConfig], HedgeCore]
    shedder: Callable[[ShedConfig], ShedderCore]
    health: Callable[[HealthConfig], HealthCore]
    restart: Callable[[RestartConfig, int], RestartCore]


def python_balancer(kind: str, n: int, weights: Sequence[int], seed: int) -> Balancer:
    """The Python balancer of that kind. Instances without a weight have weight 1."""
    match kind:
        case "round_robin":
            return RoundRobin(n)
        case "weighted":
            return Weighted([*weights, *(1,) * n][:n])
        case "least_pending":
            return LeastPending(n)
        case "p2c":
            return P2C(n, seed)
        case "rendezvous":
            return Rendezvous(n)
        case _:
            raise ValueError(f"balancer {kind!r} is unknown; name one of those that ServerSpec.balancer lists")


PYTHON_CORES = Cores(
    name="python",
    rng=SplitMix64,
    breaker=Breaker,
    pool=Pool,
    balancer=python_balancer,
    gcra=Gcra,
    keyed_limiter=KeyedLimiter,
    bulkhead=Bulkhead,
    retry=Retry,
    hedge=Hedge,
    shedder=Shedder,
    health=Health,
    restart=Restart,
)
