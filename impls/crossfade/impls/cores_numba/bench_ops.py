"""Owns the operations that are timed on the compiled cores: in numba itself, and in batches called from Python.

Rule: an operation of ``cores.bench_ops`` is a loop inside numba here (``bench_loops``). What single steps from Python
cost is timed with ``cores.bench_ops.prepare(..., NUMBA_CORES)``; a batch does ``BATCH`` steps per call, and reports per
operation too. The three together say what a call into a kernel costs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from crossfade.impls.cores import bench_ops
from crossfade.impls.cores.actions import PoolConfig
from crossfade.impls.cores.breaker import BreakerConfig
from crossfade.impls.cores.bulkhead import BulkheadConfig
from crossfade.impls.cores.health import HealthConfig
from crossfade.impls.cores.hedge import HedgeConfig
from crossfade.impls.cores.limiter import RateLimitConfig
from crossfade.impls.cores.retry import RetryConfig
from crossfade.impls.cores.shedder import ShedConfig
from crossfade.impls.cores_numba import bench_loops as loops
from crossfade.impls.cores_numba.breaker import Breaker, Breakers
from crossfade.impls.cores_numba.bulkhead import Bulkhead
from crossfade.impls.cores_numba.health import Health
from crossfade.impls.cores_numba.hedge import Hedge
from crossfade.impls.cores_numba.limiter import KeyedLimiter
from crossfade.impls.cores_numba.p2c import P2C
from crossfade.impls.cores_numba.pool import Pool
from crossfade.impls.cores_numba.rendezvous import Rendezvous
from crossfade.impls.cores_numba.retry import Retry
from crossfade.impls.cores_numba.rng import SplitMix64
from crossfade.impls.cores_numba.shedder import Shedder
from crossfade.impls.names import fnv1a

BATCH: Final = 1024
"""Operations per call of a batch; ``iterations`` is rounded up to whole batches."""


def prepare(op: str, iterations: int, size: int) -> Callable[[], int]:
    """What to time for ``op``; calling it does ``iterations`` operations over ``size`` items and returns a checksum.

    Raises KeyError for an operation that is in none of the three tables.
    """
    if op in SHELL_OPS:
        return bench_ops.prepare(op, iterations, size)
    if op in BATCH_OPS:
        return BATCH_OPS[op](-(-iterations // BATCH), size)
    loop, arguments = LOOPS[op](size)
    return lambda: loop(*arguments, iterations)


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


SHELL_OPS: Final = ("metrics",)
"""What the asyncio shell does in Python whatever its cores are."""

LOOPS: dict[str, Callable[[int], Loop]] = {
    "pool_checkout": _pool_checkout,
    "breaker": lambda size: (loops.breaker_calls, (Breaker(BreakerConfig(window=max(size, 16))).table,)),
    "route": _one_route,
    "registry_lookup": _registry,
    "rate_limit": _limiter,
    "bulkhead": _bulkhead,
    "health": lambda _size: (loops.verdicts, (Health(HealthConfig()).table,)),
    "retry": _retry,
    "hedge": lambda size: (loops.hedges, (Hedge(HedgeConfig()).table, size)),
    "shed": lambda size: (loops.shed, (Shedder(ShedConfig(max_in_flight=size, target_ns=5_000_000)).table, size)),
}
"""Operation by name: from the size to the loop and the state it runs on."""


def _route(batches: int, size: int) -> Callable[[], int]:
    """P2C over ``size`` usable instances: pick and start a batch, then finish it."""
    balancer = P2C(size, 1)
    usable = (1 << size) - 1
    latency_ns = np.full(BATCH, 1_000_000, np.int64)
    ok = np.ones(BATCH, np.bool_)

    def route() -> int:
        total = 0
        for now_ns in range(0, batches * BATCH * 1000, BATCH * 1000):
            chosen = balancer.route_batch(now_ns, usable, BATCH)
            balancer.finished_batch(chosen, now_ns, latency_ns, ok)
            total += int(chosen[0])
        return total

    return route


def _breaker(batches: int, size: int) -> Callable[[], int]:
    """``admit`` and ``record`` of a batch spread over ``size`` closed breakers, one failure in 16."""
    breakers = Breakers([BreakerConfig()] * size)
    which = np.arange(BATCH, dtype=np.int64) % size
    ok = np.arange(BATCH) % 16 != 0
    duration_ns = np.full(BATCH, 1000, np.int64)

    def calls() -> int:
        total = 0
        for now_ns in range(0, batches * BATCH * 1000, BATCH * 1000):
            admitted = breakers.admit(now_ns, which)
            breakers.record(now_ns, which, ok, duration_ns)
            total += int(admitted.sum())
        return total

    return calls


def _rendezvous(batches: int, size: int) -> Callable[[], int]:
    """The instance of ``size`` for each key of a batch."""
    balancer = Rendezvous(size)
    usable = (1 << size) - 1
    keys = SplitMix64(1).batch(BATCH)

    def place() -> int:
        return sum(int(balancer.pick_batch(usable, keys)[0]) for _ in range(batches))

    return place


def _rate_limit(batches: int, size: int) -> Callable[[], int]:
    """``admit`` of a batch spread over ``size`` keys of one limit."""
    limiter = KeyedLimiter(RateLimitConfig(requests=1_000, per_ns=1_000_000, burst=100, max_keys=size))
    keys = SplitMix64(1).batch(size)[np.arange(BATCH) % size]

    def admit() -> int:
        total = 0
        for now_ns in range(0, batches * BATCH * 1000, BATCH * 1000):
            total += int(np.count_nonzero(limiter.admit_batch(now_ns, keys)))
        return total

    return admit


BATCH_OPS: dict[str, Callable[[int, int], Callable[[], int]]] = {
    "route_batch": _route,
    "breaker_batch": _breaker,
    "rendezvous_batch": _rendezvous,
    "rate_limit_batch": _rate_limit,
}
"""Operation by name: ``(batches, size)`` to what to time."""
