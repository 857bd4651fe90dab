"""Owns the balancer with affinity: the same key goes to the same instance for as long as that one is usable.

Rendezvous hashing, also called highest random weight (Thaler and Ravishankar, "A name-based mapping scheme for
rendezvous", 1996): every instance scores the key, the highest score wins, on a tie the lower index. Each instance has a
salt, the first number of ``SplitMix64(i)``; its score is the first number of ``SplitMix64(key ^ salt)``.

The law: an instance that goes moves its own keys and no others, each to its second choice; when it comes back, exactly
they return. Keys are 64 bits, FNV-1a of a text (``names.py``); they need no randomness of their own.
"""

from __future__ import annotations

from typing import Final

from crossfade.impls.cores.loads import Loads
from crossfade.impls.cores.rng import first_of

_MASK: Final = (1 << 64) - 1


class Rendezvous(Loads):
    """The instance that scores the key highest."""

    __slots__ = ("_all", "_salts")

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self._all = (1 << n) - 1
        self._salts = [first_of(i) for i in range(n)]

    def pick(self, now_ns: int, usable: int, key: int = 0) -> int:
        """The usable instance with the highest score for ``key``, or -1. Changes nothing."""
        usable &= self._all
        key &= _MASK
        salts = self._salts
        best = -1
        highest = -1
        while usable:
            i = (usable & -usable).bit_length() - 1
            usable &= usable - 1
            score = first_of(key ^ salts[i])
            if score > highest:
                best, highest = i, score
        return best

    def resize(self, n: int) -> None:
        """Keep the first n instances; a new one takes over the keys that score it highest."""
        self._resize(n)
        self._all = (1 << n) - 1
        self._salts = [first_of(i) for i in range(n)]
