"""Owns the balancers that take turns, over arrays: round robin, smooth weighted round robin, least pending.

Ties, cursors and credits are those of ``cores.turns``. Kernels see the usable instances as ascending indices.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crossfade.impls.cores_numba.jit import Ints, kernel
from crossfade.impls.cores_numba.loads import PENDING, ROWS, Loads

_WEIGHT, _CREDIT = ROWS, ROWS + 1


@kernel("int64(int64[::1], int64)")
def next_usable(usable: Ints, cursor: int) -> int:
    """The first usable instance at or after the cursor, else the first."""
    low, high = 0, usable.size
    while low < high:
        middle = (low + high) >> 1
        if usable[middle] < cursor:
            low = middle + 1
        else:
            high = middle
    return int(usable[low if low < usable.size else 0])


@kernel("int64(int64[:, ::1], int64[::1])")
def richest(s: Ints, usable: Ints) -> int:
    """Every usable instance gains its weight; the richest pays what all gained. -1: none has a weight."""
    total = 0
    best = -1
    most = 0
    for k in range(usable.size):
        i = usable[k]
        weight = s[_WEIGHT, i]
        if weight:
            total += weight
            credit = s[_CREDIT, i] + weight
            s[_CREDIT, i] = credit
            if best < 0 or credit > most:
                best, most = i, credit
    if best >= 0:
        s[_CREDIT, best] -= total
    return int(best)


@kernel("int64(int64[:, ::1], int64[::1], int64)")
def idlest(s: Ints, usable: Ints, cursor: int) -> int:
    """The fewest calls in flight; of equals the first at or after the cursor, else the first."""
    best = -1
    fewest = 0
    wrapped = True
    for k in range(usable.size):
        i = usable[k]
        pending = s[PENDING, i]
        if best < 0 or pending < fewest or (pending == fewest and wrapped and i >= cursor):
            best, fewest, wrapped = i, pending, i < cursor
    return int(best)


class RoundRobin(Loads):
    """Takes turns; skips what is not usable."""

    __slots__ = ("_cursor",)

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self._cursor = 0

    def pick(self, now_ns: int, usable: int, key: int = 0) -> int:
        """The next usable instance, or -1."""
        indices = self._usable(usable)
        if not indices.size:
            return -1
        i = next_usable(indices, self._cursor)
        self._cursor = i + 1
        return i

    def resize(self, n: int) -> None:
        """Keep the first n instances; new ones start unmeasured."""
        super().resize(n)
        self._cursor = min(self._cursor, n)


class Weighted(Loads):
    """Takes turns in proportion to ``weights``, smoothly. An instance that is added later has weight 1."""

    __slots__ = ()

    def __init__(self, weights: Sequence[int]) -> None:
        super().__init__(len(weights), ROWS + 2)
        self.table[_WEIGHT] = np.array(weights, np.int64)

    def pick(self, now_ns: int, usable: int, key: int = 0) -> int:
        """The usable instance with the most credit, or -1."""
        return richest(self.table, self._usable(usable))

    def resize(self, n: int) -> None:
        """Keep the first n instances; new ones have weight 1, no credit, and start unmeasured."""
        before = self._n
        super().resize(n)
        self.table[_WEIGHT, before:] = 1


class LeastPending(Loads):
    """The fewest calls in flight; equals take turns."""

    __slots__ = ("_cursor",)

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self._cursor = 0

    def pick(self, now_ns: int, usable: int, key: int = 0) -> int:
        """The usable instance with the fewest calls in flight, or -1."""
        i = idlest(self.table, self._usable(usable), self._cursor)
        if i >= 0:
            self._cursor = i + 1
        return i

    def resize(self, n: int) -> None:
        """Keep the first n instances; new ones start unmeasured."""
        super().resize(n)
        self._cursor = min(self._cursor, n)
