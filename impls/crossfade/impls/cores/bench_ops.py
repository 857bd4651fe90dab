"""Owns the operations that scenario ``policy-ops`` times; ``impls/rust/core/src/bench_ops.rs`` has the same.

Rule: the caller holds the clock. ``prepare`` builds the state and returns what to time; nothing is built while it runs.
Time passes in the loops as data, 1 us per iteration.
"""

from __future__ import annotations

from collections.abc import Callable

from crossfade.impls.cores.actions import PoolConfig
from crossfade.impls.cores.bench_choice import CHOICE_OPS
from crossfade.impls.cores.bench_path import PATH_OPS
from crossfade.impls.cores.breaker import BreakerConfig
from crossfade.impls.cores.bundle import PYTHON_CORES, Cores
from crossfade.impls.cores.health import HealthConfig
from crossfade.impls.cores.histogram import Histogram


def prepare(op: str, iterations: int, size: int, cores: Cores = PYTHON_CORES) -> Callable[[], int]:
    """What to time for ``op``; calling it does ``iterations`` operations over ``size`` items and returns a checksum.

    Each is made of the single steps that a shell takes. Raises KeyError for an operation that is not in ``OPS``.
    """
    return OPS[op](cores, iterations, size)


def run(op: str, iterations: int, size: int) -> None:
    """Prepare and do it, for callers that time the whole."""
    prepare(op, iterations, size)()


def _pool_checkout(cores: Cores, iterations: int, size: int) -> Callable[[], int]:
    """``try_acquire`` and ``release`` on a pool with ``size`` idle connections."""
    pool = cores.pool(PoolConfig(max_connections=size))
    for waiter in range(size):
        pool.acquire(0, waiter, 1)
    for conn in range(1, size + 1):
        pool.connected(0, conn)
        pool.take(conn - 1)
    for conn in range(1, size + 1):
        pool.release(0, conn, True)

    def checkout() -> int:
        total = 0
        for now_ns in range(0, iterations * 1000, 1000):
            conn = pool.try_acquire(now_ns)
            if conn is not None:
                total += conn
                pool.release(now_ns, conn, True)
        return total

    return checkout


def _breaker(cores: Cores, iterations: int, size: int) -> Callable[[], int]:
    """``admit`` and ``record`` of a success, closed, window of ``size`` (at least 16) verdicts, one failure in 16."""
    breaker = cores.breaker(BreakerConfig(window=max(size, 16)))

    def calls() -> int:
        total = 0
        for now_ns in range(0, iterations * 1000, 1000):
            if breaker.admit(now_ns):
                total += 1
                breaker.record(now_ns, now_ns & 0x3C00 != 0, 1000)
        return total

    return calls


def _route(cores: Cores, iterations: int, size: int) -> Callable[[], int]:
    """P2C ``pick``, ``started``, ``finished`` over ``size`` usable instances."""
    balancer = cores.balancer("p2c", size, (), 1)
    usable = (1 << size) - 1

    def route() -> int:
        total = 0
        for now_ns in range(0, iterations * 1000, 1000):
            i = balancer.pick(now_ns, usable)
            balancer.started(i)
            balancer.finished(i, now_ns, 1_000_000 + i, True)
            total += i
        return total

    return route


def _registry_lookup(_cores: Cores, iterations: int, size: int) -> Callable[[], int]:
    """One server by name among ``size``."""
    names = [f"server-{i}" for i in range(size)]
    registry = {name: i for i, name in enumerate(names)}

    def lookup() -> int:
        total = 0
        for i in range(iterations):
            total += registry[names[i % size]]
        return total

    return lookup


class _Counters:
    __slots__ = ("in_flight", "requests")

    def __init__(self) -> None:
        self.in_flight = self.requests = 0


def _metrics(_cores: Cores, iterations: int, size: int) -> Callable[[], int]:
    """What one request records: begun, ended, counted, and its latency in the histogram. ``size`` means nothing."""
    histogram, counters = Histogram(), _Counters()

    def record() -> int:
        for now_ns in range(0, iterations * 1000, 1000):
            counters.in_flight += 1
            counters.in_flight -= 1
            counters.requests += 1
            histogram.record(200_000 + (now_ns & 0xFFFFF))
        return counters.requests

    return record


def _health(cores: Cores, iterations: int, size: int) -> Callable[[], int]:
    """One verdict on an instance, every sixteenth of them bad. ``size`` means nothing."""
    health = cores.health(HealthConfig(unhealthy_after=3, healthy_after=2))

    def verdicts() -> int:
        total = 0
        for now_ns in range(0, iterations * 1000, 1000):
            total += health.record(now_ns & 0x3C00 != 0)
        return total

    return verdicts


OPS: dict[str, Callable[[Cores, int, int], Callable[[], int]]] = {
    "pool_checkout": _pool_checkout,
    "breaker": _breaker,
    "route": _route,
    "registry_lookup": _registry_lookup,
    "metrics": _metrics,
    "health": _health,
    **CHOICE_OPS,
    **PATH_OPS,
}
"""Operation by name: ``(cores, iterations, size)`` to what to time."""
