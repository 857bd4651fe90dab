"""Owns ``NUMBA_CORES``: the factories of the compiled cores, as ``cores.bundle`` has those in Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from crossfade.impls.cores.balancer import Balancer
from crossfade.impls.cores.bundle import Cores
from crossfade.impls.cores_numba.breaker import Breaker
from crossfade.impls.cores_numba.bulkhead import Bulkhead
from crossfade.impls.cores_numba.health import Health
from crossfade.impls.cores_numba.hedge import Hedge
from crossfade.impls.cores_numba.limiter import Gcra, KeyedLimiter
from crossfade.impls.cores_numba.p2c import P2C
from crossfade.impls.cores_numba.pool import Pool
from crossfade.impls.cores_numba.rendezvous import Rendezvous
from crossfade.impls.cores_numba.restart import Restart
from crossfade.impls.cores_numba.retry import Retry
from crossfade.impls.cores_numba.rng import SplitMix64
from crossfade.impls.cores_numba.shedder import Shedder
from crossfade.impls.cores_numba.turns import LeastPending, RoundRobin, Weighted


def _balancer(kind: str, n: int, weights: Sequence[int], seed: int) -> Balancer:
    if kind == "p2c":
        return P2C(n, seed)
    if kind == "weighted":
        return Weighted([*weights, *(1,) * n][:n])
    others: dict[str, Callable[[int], Balancer]] = {
        "round_robin": RoundRobin,
        "least_pending": LeastPending,
        "rendezvous": Rendezvous,
    }
    if kind not in others:
        raise ValueError(f"balancer {kind!r} is unknown; name one of those that ServerSpec.balancer lists")
    return others[kind](n)


NUMBA_CORES = Cores(
    name="numba",
    rng=SplitMix64,
    breaker=Breaker,
    pool=Pool,
    balancer=_balancer,
    gcra=Gcra,
    keyed_limiter=KeyedLimiter,
    bulkhead=Bulkhead,
    retry=Retry,
    hedge=Hedge,
    shedder=Shedder,
    health=Health,
    restart=Restart,
)
