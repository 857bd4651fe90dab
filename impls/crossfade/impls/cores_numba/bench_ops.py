"""Owns the operations that are timed on the compiled cores, in three ways that together say what a call into one costs.

``route`` and the other operations of ``cores.bench_ops`` are single steps called from Python, as a shell takes them.
``route_batch`` and its like are the same steps in one call, a loop inside numba (``bench_loops``). ``route_array`` and
its like hand over ``ARRAY`` steps per call as arrays, as a caller with many requests at once would.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from crossfade.impls.cores import bench_ops
from crossfade.impls.cores.actions import PoolConfig
from crossfade.impls.cores.bench_choice import weights
from crossfade.impls.cores.breaker import BreakerConfig
from crossfade.impls.cores.bulkhead import BulkheadConfig
from crossfade.impls.cores.health import HealthConfig
from crossfade.impls.cores.hedge import HedgeConfig
from crossfade.impls.cores.limiter import RateLimitConfig
from crossfade.impls.cores.restart import RestartConfig
from crossfade.impls.cores.retry import RetryConfig
from crossfade.impls.cores.shedder import ShedConfig
from crossfade.impls.cores_numba import bench_loops as loops
from crossfade.impls.cores_numba.breaker import Breaker, Breakers
from crossfade.impls.cores_numba.bulkhead import Bulkhead
from crossfade.impls.cores_numba.bundle import NUMBA_CORES
from crossfade.impls.cores_numba.health import Health
from crossfade.impls.cores_numba.hedge import Hedge
from crossfade.impls.cores_numba.limiter import KeyedLimiter
from crossfade.impls.cores_numba.p2c import P2C
from crossfade.impls.cores_numba.pool import Pool
from crossfade.impls.cores_numba.rendezvous import Rendezvous
from crossfade.impls.cores_numba.restart import Restart
from crossfade.impls.cores_numba.retry import Retry
from crossfade.impls.cores_numba.rng import SplitMix64
from crossfade.impls.cores_numba.shedder import Shedder
from crossfade.impls.cores_numba.turns import LeastPending, RoundRobin, Weighted
from crossfade.impls.names import fnv1a

ARRAY: Final = 1024
"""Operations per call with arrays; ``iterations`` is rounded up to whole calls."""


def prepare(op: str, iterations: int, size: int) -> Callable[[], int]:
    """What to time for ``op``; calling it does ``iterations`` operations over ``size`` items and returns a checksum.

    Raises KeyError for an operation that is in none of the tables.
    """
    if op in BATCH_OPS:
        loop, arguments = BATCH_OPS[op](size)
        return lambda: loop(*arguments, iterations)
    if op in ARRAY_OPS:
        return ARRAY_OPS[op](-(-iterations // ARRAY), size)
    return bench_ops.prepare(op, iterations, size, NUMBA_CORES)


Loop = tuple[Callable[..., int], tuple[Any, ...]]


def _pool_checkout(size: int) -> Loop:
    pool = Pool(PoolConfig(max_connections=size))
    for waiter in range(size):
        pool.acquire(0, waiter, 1)
    for conn in range(1, size + 1):
        pool.connected(0, conn)
        pool.take(conn - 1)
    for conn in range(1, size + 1):
        pool.release(0, conn, True)
    return loops.pool_checkout, (pool.table,)


def _bulkhead(size: int) -> Loop:
    bulkhead = Bulkhead(BulkheadConfig(max_in_flight=size))
    for _ in range(size - 1):
        bulkhead.try_acquire()
    return loops.bulkhead_places, (bulkhead.table,)


def _one_route(size: int) -> Loop:
    balancer = P2C(size, 1)
    return loops.route, (balancer.table, balancer.rng, np.arange(size))


def _registry(size: int) -> Loop:
    hashes = np.array([fnv1a(f"server-{i}".encode()) for i in range(size)], np.uint64)
    table = np.zeros((2, 4 << (size - 1).bit_length()), np.int64)
    loops.fill_registry(table, hashes)
    return loops.registry_lookup, (table, hashes)


def _limiter(size: int) -> Loop:
    limiter = KeyedLimiter(RateLimitConfig(requests=1, per_ns=2000 * size, burst=8, max_keys=size))
    limiter.make_room(size)
    return loops.rate_limit, (limiter.table, size)


def _retry(size: int) -> Loop:
    retry = Retry(RetryConfig(budget_burst=size), 1)
    return loops.retries, (retry.table, retry.rng)


def _one_place(size: int) -> Loop:
    balancer = Rendezvous(size)
    return loops.placed, (balancer.table, balancer.salts, np.arange(size))


def _restart(_size: int) -> Loop:
    restart = Restart(RestartConfig(), 1)
    return loops.exits, (restart.table, restart.rng)


BATCH_OPS: dict[str, Callable[[int], Loop]] = {
    "pool_checkout_batch": _pool_checkout,
    "breaker_batch": lambda size: (loops.breaker_calls, (Breaker(BreakerConfig(window=max(size, 16))).table,)),
    "route_batch": _one_route,
    "round_robin_batch": lambda size: (loops.round_robin, (RoundRobin(size).table, np.arange(size))),
    "weighted_batch": lambda size: (loops.weighted, (Weighted(weights(size)).table, np.arange(size))),
    "least_pending_batch": lambda size: (loops.least_pending, (LeastPending(size).table, np.arange(size))),
    "rendezvous_batch": _one_place,
    "restart_batch": _restart,
    "registry_lookup_batch": _registry,
    "rate_limit_batch": _limiter,
    "bulkhead_batch": _bulkhead,
    "health_batch": lambda _size: (loops.verdicts, (Health(HealthConfig()).table,)),
    "retry_batch": _retry,
    "hedge_batch": lambda size: (loops.hedges, (Hedge(HedgeConfig()).table, size)),
    "shed_batch": lambda size: (loops.shed, (Shedder(ShedConfig(max_in_flight=size, target_ns=5_000_000)).table, size)),
}
"""Operation by name: from the size to the loop and the state it runs on."""


def _route(batches: int, size: int) -> Callable[[], int]:
    """P2C over ``size`` usable instances: pick and start a batch, then finish it."""
    balancer = P2C(size, 1)
    usable = (1 << size) - 1
    latency_ns = np.full(ARRAY, 1_000_000, np.int64)
    ok = np.ones(ARRAY, np.bool_)

    def route() -> int:
        total = 0
        for now_ns in range(0, batches * ARRAY * 1000, ARRAY * 1000):
            chosen = balancer.route_batch(now_ns, usable, ARRAY)
            balancer.finished_batch(chosen, now_ns, latency_ns, ok)
            total += int(chosen[0])
        return total

    return route


def _breaker(batches: int, size: int) -> Callable[[], int]:
    """``admit`` and ``record`` of a batch spread over ``size`` closed breakers, one failure in 16."""
    breakers = Breakers([BreakerConfig()] * size)
    which = np.arange(ARRAY, dtype=np.int64) % size
    ok = np.arange(ARRAY) % 16 != 0
    duration_ns = np.full(ARRAY, 1000, np.int64)

    def calls() -> int:
        total = 0
        for now_ns in range(0, batches * ARRAY * 1000, ARRAY * 1000):
            admitted = breakers.admit(now_ns, which)
            breakers.record(now_ns, which, ok, duration_ns)
            total += int(admitted.sum())
        return total

    return calls


def _rendezvous(batches: int, size: int) -> Callable[[], int]:
    """The instance of ``size`` for each key of a batch."""
    balancer = Rendezvous(size)
    usable = (1 << size) - 1
    keys = SplitMix64(1).batch(ARRAY)

    def place() -> int:
        return sum(int(balancer.pick_batch(usable, keys)[0]) for _ in range(batches))

    return place


def _rate_limit(batches: int, size: int) -> Callable[[], int]:
    """``admit`` of a batch spread over ``size`` keys of one limit."""
    limiter = KeyedLimiter(RateLimitConfig(requests=1_000, per_ns=1_000_000, burst=100, max_keys=size))
    keys = SplitMix64(1).batch(size)[np.arange(ARRAY) % size]

    def admit() -> int:
        total = 0
        for now_ns in range(0, batches * ARRAY * 1000, ARRAY * 1000):
            total += int(np.count_nonzero(limiter.admit_batch(now_ns, keys)))
        return total

    return admit


ARRAY_OPS: dict[str, Callable[[int, int], Callable[[], int]]] = {
    "route_array": _route,
    "breaker_array": _breaker,
    "rendezvous_array": _rendezvous,
    "rate_limit_array": _rate_limit,
}
"""Operation by name: ``(batches, size)`` to what to time."""
