"""Owns the choice of one instance among those that are usable: what a balancer offers, and the one that weighs loads.

P2C ("power of two choices", Mitzenmacher 2001) with a peak-sensitive EWMA of latency, as in Finagle and linkerd:

1. Draw two different usable instances, each pair equally likely: one number, its high half for the first (rank
   ``high * n >> 32``), its low half for the second among the others (``low * (n - 1) >> 32``).
2. The cost of one is its EWMA times (calls in flight + 1). An idle one's EWMA fades linearly to 0 within ``DECAY_NS``,
   so that nobody is shunned for ever. One that was never measured costs nothing while idle and ``UNKNOWN`` while busy:
   it gets one call at a time until it has answered.
3. Take the cheaper; on a tie the one drawn first.

``turns`` holds those that take turns, ``rendezvous`` the one that keeps a caller where it is, ``loads`` the figures.
"""

from __future__ import annotations

from typing import Final, Protocol

from crossfade.impls.cores.loads import DECAY_NS, DECAY_SHIFT, Loads
from crossfade.impls.cores.rng import SplitMix64

UNKNOWN: Final = 1 << 62


class Balancer(Protocol):
    """What all of them offer. ``usable`` is a bit mask: bit i set means that instance i may be picked; nobody: -1.

    ``key`` is what affinity goes by, 64 bits of hash; only Rendezvous looks at it.
    """

    def pick(self, now_ns: int, usable: int, key: int = 0) -> int: ...
    def started(self, i: int) -> None: ...
    def finished(self, i: int, now_ns: int, latency_ns: int, ok: bool) -> None: ...
    def cancelled(self, i: int) -> None: ...
    def pending(self, i: int) -> int: ...
    def ewma_ns(self, i: int) -> int: ...
    def resize(self, n: int) -> None: ...


class P2C(Loads):
    """The cheaper of two drawn at random."""

    __slots__ = ("_draw", "_indices", "_mask")

    def __init__(self, n: int, seed: int) -> None:
        super().__init__(n)
        self._draw = SplitMix64(seed).next_u64
        self._mask = (1 << n) - 1
        self._indices = list(range(n))

    def pick(self, now_ns: int, usable: int, key: int = 0) -> int:
        """The cheaper of two usable instances, or -1. Draws one number, none if fewer than two are usable."""
        if usable != self._mask:
            self._mask = usable
            self._indices = [i for i in range(len(self._pending)) if usable >> i & 1]
        indices = self._indices
        n = len(indices)
        if n < 2:
            return indices[0] if n else -1
        drawn = self._draw()
        first = (drawn >> 32) * n >> 32
        second = (drawn & 0xFFFFFFFF) * (n - 1) >> 32
        a = indices[first]
        b = indices[second + (second >= first)]
        return b if self._cost(b, now_ns) < self._cost(a, now_ns) else a

    def _cost(self, i: int, now_ns: int) -> int:
        ewma = self._ewma[i]
        pending = self._pending[i]
        if pending:
            return ewma * (pending + 1) if ewma else UNKNOWN + pending
        elapsed = now_ns - self._updated[i]
        if elapsed <= 0:
            return ewma
        return ewma - (ewma * elapsed >> DECAY_SHIFT) if elapsed < DECAY_NS else 0

    def resize(self, n: int) -> None:
        """Keep the first n instances; new ones start unmeasured. The random stream goes on."""
        self._resize(n)
        self._mask = (1 << n) - 1
        self._indices = list(range(n))
