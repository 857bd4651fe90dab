"""Owns the operations of ``bench_ops`` for the policies on the path of a request; see there for the rule.

``impls/rust/core/src/bench_ops/path.rs`` has the same.
"""

from __future__ import annotations

from collections.abc import Callable

from crossfade.impls.cores.bulkhead import BulkheadConfig
from crossfade.impls.cores.bundle import Cores
from crossfade.impls.cores.hedge import HedgeConfig
from crossfade.impls.cores.limiter import RateLimitConfig
from crossfade.impls.cores.retry import RetryConfig
from crossfade.impls.cores.shedder import ShedConfig


def _rate_limit(cores: Cores, iterations: int, size: int) -> Callable[[], int]:
    """``admit`` of ``size`` keys in turn, of which each may come every second time: half is refused."""
    limiter = cores.keyed_limiter(RateLimitConfig(requests=1, per_ns=2000 * size, burst=8, max_keys=size))

    def limit() -> int:
        total = 0
        for now_ns in range(0, iterations * 1000, 1000):
            if not limiter.admit(now_ns, now_ns // 1000 % size):
                total += 1
        return total

    return limit


def _bulkhead(cores: Cores, iterations: int, size: int) -> Callable[[], int]:
    """``try_acquire`` and ``release`` with ``size`` places, of which all but one are taken."""
    bulkhead = cores.bulkhead(BulkheadConfig(max_in_flight=size))
    for _ in range(size - 1):
        bulkhead.try_acquire()

    def enter() -> int:
        total = 0
        for now_ns in range(0, iterations * 1000, 1000):
            if bulkhead.try_acquire():
                total += 1
                bulkhead.release(now_ns)
        return total

    return enter


def _retry(cores: Cores, iterations: int, size: int) -> Callable[[], int]:
    """``request`` and ``next``: every request fails once, and one in five is paid for."""
    retry = cores.retry(RetryConfig(budget_burst=size), 1)

    def again() -> int:
        total = 0
        for _ in range(iterations):
            retry.request()
            if retry.next(1) >= 0:
                total += 1
        return total

    return again


def _hedge(cores: Cores, iterations: int, size: int) -> Callable[[], int]:
    """``request``, ``delay_ns``, ``record`` of latencies around 1 ms, and ``try_start`` for one request in 16."""
    hedge = cores.hedge(HedgeConfig())

    def race() -> int:
        total = 0
        for i in range(iterations):
            hedge.request()
            if not i % 16 and hedge.delay_ns() >= 0 and hedge.try_start():
                total += 1
            hedge.record(1_000_000 + (i % size) * 10_000)
        return total

    return race


def _shed(cores: Cores, iterations: int, size: int) -> Callable[[], int]:
    """``admit`` and ``waited`` behind a standing queue: every wait is above the target, some requests are shed."""
    shedder = cores.shedder(ShedConfig(max_in_flight=size, target_ns=5_000_000))

    def door() -> int:
        total = 0
        for now_ns in range(0, iterations * 1000, 1000):
            if shedder.admit(now_ns, size - 1):
                total += 1
                shedder.waited(now_ns, 6_000_000)
        return total

    return door


PATH_OPS: dict[str, Callable[[Cores, int, int], Callable[[], int]]] = {
    "rate_limit": _rate_limit,
    "bulkhead": _bulkhead,
    "retry": _retry,
    "hedge": _hedge,
    "shed": _shed,
}
