"""Owns the cheaper of two drawn at random, one request at a time or many in one call.

The draw, the cost and the tie are those of ``cores.balancer``.
"""

from __future__ import annotations

import numpy as np

from crossfade.impls.cores.balancer import UNKNOWN
from crossfade.impls.cores.loads import DECAY_NS
from crossfade.impls.cores_numba.jit import Ints, Words, kernel, part
from crossfade.impls.cores_numba.loads import EWMA, PENDING, UPDATED, Loads
from crossfade.impls.cores_numba.rng import draw, shifted

_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


@part("int64(int64[:, ::1], int64, int64)")
def _cost(s: Ints, i: int, now_ns: int) -> int:
    ewma, pending = s[EWMA, i], s[PENDING, i]
    if pending:
        return int(ewma * (pending + 1) if ewma else UNKNOWN + pending)
    elapsed = now_ns - s[UPDATED, i]
    if elapsed <= 0:
        return int(ewma)
    if elapsed >= DECAY_NS:
        return 0
    return int(ewma - np.int64(shifted(np.uint64(ewma), np.uint64(elapsed))))


@kernel("int64(int64[:, ::1], uint64[::1], int64[::1], int64)")
def pick(s: Ints, rng: Words, usable: Ints, now_ns: int) -> int:
    n = usable.size
    if n < 2:
        return int(usable[0]) if n else -1
    drawn = draw(rng)
    first = np.int64((drawn >> _32) * np.uint64(n) >> _32)
    second = np.int64((drawn & _LOW) * np.uint64(n - 1) >> _32)
    if second >= first:
        second += 1
    a, b = usable[first], usable[second]
    return int(b if _cost(s, b, now_ns) < _cost(s, a, now_ns) else a)


@kernel("void(int64[:, ::1], uint64[::1], int64[::1], int64, int64[::1])")
def _route(s: Ints, rng: Words, usable: Ints, now_ns: int, out: Ints) -> None:
    for k in range(out.size):
        i = pick(s, rng, usable, now_ns)
        s[PENDING, i] += 1
        out[k] = i


class P2C(Loads):
    """The cheaper of two drawn at random."""

    __slots__ = ("rng",)

    def __init__(self, n: int, seed: int) -> None:
        super().__init__(n)
        self.rng = np.array([seed & 0xFFFFFFFFFFFFFFFF], np.uint64)

    def pick(self, now_ns: int, usable: int, key: int = 0) -> int:
        """The cheaper of two usable instances, or -1. Draws one number, none if fewer than two are usable."""
        return pick(self.table, self.rng, self._usable(usable), now_ns)

    def route_batch(self, now_ns: int, usable: int, count: int) -> Ints:
        """``count`` requests, each picked and started, in order. Empty if nobody is usable."""
        indices = self._usable(usable)
        out = np.empty(count if indices.size else 0, np.int64)
        _route(self.table, self.rng, indices, now_ns, out)
        return out
