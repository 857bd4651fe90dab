"""Owns whether a second copy of a request is sent, and when; the budget and the sketch are those of ``cores.hedge``.

One array: delay, share and budget, then the state of the sketch and its buckets.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from crossfade.impls.cores.hedge import BURST, HedgeConfig
from crossfade.impls.cores.sketch import EVERY, FULL
from crossfade.impls.cores_numba.jit import Ints, kernel, part

_DELAY_NS, _FILL, _BUDGET, _SAMPLES, _P95, _COUNTS = range(6)
_TOKEN: Final = 1000
_ENOUGH: Final = BURST * _TOKEN
_LONGEST_NS: Final = (1 << 40) - 1
_BUCKETS: Final = 592


@kernel("void(int64[::1])")
def request(s: Ints) -> None:
    s[_BUDGET] = min(s[_BUDGET] + s[_FILL], _ENOUGH)


@kernel("boolean(int64[::1])")
def try_start(s: Ints) -> bool:
    if s[_BUDGET] < _TOKEN:
        return False
    s[_BUDGET] -= _TOKEN
    return True


@part("void(int64[::1])")
def _look(s: Ints) -> None:
    """Find the percentile; when there are enough samples, halve the cumulative counts."""
    rank = s[_SAMPLES] - s[_SAMPLES] // 20
    up_to = 0
    for bucket in range(_BUCKETS):
        up_to += s[_COUNTS + bucket]
        if up_to >= rank:
            shift = max((bucket >> 4) - 1, 0)
            s[_P95] = ((bucket - (shift << 4) + 1) << shift) - 1
            break
    if s[_SAMPLES] == FULL:
        up_to = 0
        before = 0
        for bucket in range(_BUCKETS):
            up_to += s[_COUNTS + bucket]
            s[_COUNTS + bucket] = (up_to >> 1) - before
            before = up_to >> 1
        s[_SAMPLES] = before


@kernel("void(int64[::1], int64)")
def record(s: Ints, latency_ns: int) -> None:
    if s[_DELAY_NS]:
        return
    shift = 0
    while latency_ns >> shift > 31:
        shift += 1
    s[_COUNTS + (shift << 4) + (latency_ns >> shift)] += 1
    s[_SAMPLES] += 1
    if s[_SAMPLES] % EVERY == 0:
        _look(s)


@kernel("int64(int64[::1])")
def delay(s: Ints) -> int:
    """How long to wait, or -1."""
    return int(s[_DELAY_NS] if s[_DELAY_NS] else s[_P95])


class Hedge:
    """The hedges of one server."""

    __slots__ = ("table",)

    def __init__(self, config: HedgeConfig) -> None:
        self.table = np.zeros(_COUNTS + _BUCKETS, np.int64)
        self.table[_DELAY_NS], self.table[_FILL], self.table[_P95] = config.delay_ns, config.per_mille, -1

    def request(self) -> None:
        """A request that could be hedged came in: the budget grows."""
        request(self.table)

    def delay_ns(self) -> int:
        """How long to wait for the first answer, or -1: not known yet, so no hedge."""
        return delay(self.table)

    def try_start(self) -> bool:
        """Whether the second copy may be sent now; True takes it from the budget."""
        return try_start(self.table)

    def record(self, latency_ns: int) -> None:
        """How long one attempt took to its answer. Attempts that were cancelled say nothing."""
        record(self.table, min(latency_ns, _LONGEST_NS))
