"""Owns the operations of ``bench_ops`` for the balancers beside P2C and for restarts; see there for the rule.

``impls/rust/core/src/bench_ops/choice.rs`` has the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from crossfade.impls.cores.bundle import Cores
from crossfade.impls.cores.restart import RestartConfig


def weights(size: int) -> tuple[int, ...]:
    """1 to 4 in turn."""
    return tuple(1 + i % 4 for i in range(size))


def _choose(kind: str, cores: Cores, iterations: int, size: int) -> Callable[[], int]:
    """``pick``, ``started``, ``finished`` over ``size`` usable instances, with another key every time."""
    balancer = cores.balancer(kind, size, weights(size), 1)
    usable = (1 << size) - 1

    def choose() -> int:
        total = 0
        for now_ns in range(0, iterations * 1000, 1000):
            i = balancer.pick(now_ns, usable, now_ns)
            balancer.started(i)
            balancer.finished(i, now_ns, 1_000_000 + i, True)
            total += i
        return total

    return choose


def _restart(cores: Cores, iterations: int, size: int) -> Callable[[], int]:
    """``exited`` of a child that never lives long: five delays, the verdict, and again. ``size`` means nothing."""
    restart = cores.restart(RestartConfig(), 1)

    def exits() -> int:
        total = 0
        for now_ns in range(0, iterations * 1000, 1000):
            delay_ns = restart.exited(now_ns, 0)
            if delay_ns >= 0:
                total += delay_ns
        return total

    return exits


CHOICE_OPS: dict[str, Callable[[Cores, int, int], Callable[[], int]]] = {
    **{kind: partial(_choose, kind) for kind in ("round_robin", "weighted", "least_pending", "rendezvous")},
    "restart": _restart,
}
