"""Owns the operations that are timed on the compiled cores: the single steps of ``cores.bench_ops``, and batches.

Rule: a batch does the same work as as many single steps, ``BATCH`` of them per call, and reports per operation too. The
difference between the two is what a call into a kernel costs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from crossfade.impls.cores import bench_ops
from crossfade.impls.cores.breaker import BreakerConfig
from crossfade.impls.cores.limiter import RateLimitConfig
from crossfade.impls.cores_numba.breaker import Breakers
from crossfade.impls.cores_numba.bundle import NUMBA_CORES
from crossfade.impls.cores_numba.limiter import KeyedLimiter
from crossfade.impls.cores_numba.p2c import P2C
from crossfade.impls.cores_numba.rendezvous import Rendezvous
from crossfade.impls.cores_numba.rng import SplitMix64

BATCH: Final = 1024
"""Operations per call of a batch; ``iterations`` is rounded up to whole batches."""


def prepare(op: str, iterations: int, size: int) -> Callable[[], int]:
    """What to time for ``op``, as ``cores.bench_ops.prepare``. Raises KeyError for an operation that neither knows."""
    if op in BATCH_OPS:
        return BATCH_OPS[op](-(-iterations // BATCH), size)
    return bench_ops.prepare(op, iterations, size, NUMBA_CORES)


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
