"""Owns the balancer with affinity over arrays: every usable instance scores the key, the highest score wins.

The salts and the tie are those of ``cores.rendezvous``. Keys are 64 unsigned bits.
"""

from __future__ import annotations

import numpy as np

from crossfade.impls.cores_numba.jit import Ints, Words, kernel, signed
from crossfade.impls.cores_numba.loads import Loads
from crossfade.impls.cores_numba.rng import first_of


@kernel("void(uint64[::1])")
def _salt(out: Words) -> None:
    for i in range(out.size):
        out[i] = first_of(np.uint64(i))


@kernel("int64(uint64[::1], int64[::1], int64)")
def pick(salts: Words, usable: Ints, key: int) -> int:
    best = -1
    highest = np.uint64(0)
    for k in range(usable.size):
        i = usable[k]
        score = first_of(np.uint64(key) ^ salts[i])
        if best < 0 or score > highest:
            best, highest = i, score
    return int(best)


@kernel("void(uint64[::1], int64[::1], uint64[::1], int64[::1])")
def _pick_batch(salts: Words, usable: Ints, keys: Words, out: Ints) -> None:
    for k in range(keys.size):
        out[k] = pick(salts, usable, int(keys[k]))


class Rendezvous(Loads):
    """The instance that scores the key highest."""

    __slots__ = ("salts",)

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self.salts = np.empty(n, np.uint64)
        _salt(self.salts)

    def pick(self, now_ns: int, usable: int, key: int = 0) -> int:
        """The usable instance with the highest score for ``key``, or -1. Changes nothing."""
        return pick(self.salts, self._usable(usable), signed(key))

    def pick_batch(self, usable: int, keys: Words) -> Ints:
        """The same for many keys."""
        out = np.empty(keys.size, np.int64)
        _pick_batch(self.salts, self._usable(usable), keys, out)
        return out

    def resize(self, n: int) -> None:
        """Keep the first n instances; a new one takes over the keys that score it highest."""
        super().resize(n)
        self.salts = np.empty(n, np.uint64)
        _salt(self.salts)
