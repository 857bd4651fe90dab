"""Policy without I/O. A core takes ``now_ns`` and a seed, decides, and returns what the shell must do.

Rule: nothing below this package reads a clock, a socket, the environment or a log. ``impls/rust/core`` holds the same
cores in Rust; both replay ``impls/vectors`` exactly, and ``impls/vectors/SCHEMA.md`` pins every tie and rounding.
"""

from crossfade.impls.cores.actions import Action, Close, Connect, Grant, PoolConfig, Reject
from crossfade.impls.cores.balancer import P2C, Balancer
from crossfade.impls.cores.breaker import Breaker, BreakerConfig
from crossfade.impls.cores.bulkhead import Bulkhead, BulkheadConfig
from crossfade.impls.cores.bundle import PYTHON_CORES, Cores
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

__all__ = [
    "P2C",
    "PYTHON_CORES",
    "Action",
    "Balancer",
    "Breaker",
    "BreakerConfig",
    "BreakerCore",
    "Bulkhead",
    "BulkheadConfig",
    "BulkheadCore",
    "Close",
    "Connect",
    "Cores",
    "Gcra",
    "GcraCore",
    "Grant",
    "Health",
    "HealthConfig",
    "HealthCore",
    "Hedge",
    "HedgeConfig",
    "HedgeCore",
    "KeyedLimiter",
    "KeyedLimiterCore",
    "LeastPending",
    "Pool",
    "PoolConfig",
    "PoolCore",
    "RandomCore",
    "RateLimitConfig",
    "Reject",
    "Rendezvous",
    "Restart",
    "RestartConfig",
    "RestartCore",
    "Retry",
    "RetryConfig",
    "RetryCore",
    "RoundRobin",
    "ShedConfig",
    "Shedder",
    "ShedderCore",
    "SplitMix64",
    "Weighted",
]
