"""Owns the balancers that take turns: round robin, smooth weighted round robin, least pending.

Round robin: the first usable instance at or after the cursor; the cursor moves behind it.

Weighted is nginx's smooth weighted round robin (nginx 1.3.1, 2012): every usable instance gains its weight, the richest
is picked and pays what all gained together; on a tie the lower index. Over one cycle, as many picks as the weights sum
up to, each gets exactly its weight, and its turns lie spread out, not in a row. Nobody picks an instance of weight 0.

Least pending: the fewest calls in flight; among equals the first at or after the cursor, which moves behind it, so that
an idle server's calls do not all go to instance 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from crossfade.impls.cores.loads import Loads


class RoundRobin(Loads):
    """Takes turns; skips what is not usable."""

    __slots__ = ("_all", "_cursor")

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self._all = (1 << n) - 1
        self._cursor = 0

    def pick(self, now_ns: int, usable: int, key: int = 0) -> int:
        """The next usable instance, or -1."""
        usable &= self._all
        if not usable:
            return -1
        ahead = usable >> self._cursor << self._cursor or usable
        i = (ahead & -ahead).bit_length() - 1
        self._cursor = i + 1
        return i

    def resize(self, n: int) -> None:
        """Keep the first n instances; new ones start unmeasured."""
        self._resize(n)
        self._all = (1 << n) - 1
        self._cursor = min(self._cursor, n)


class Weighted(Loads):
    """Takes turns in proportion to ``weights``, smoothly. An instance that is added later has weight 1."""

    __slots__ = ("_credit", "_eligible", "_weights")

    def __init__(self, weights: Sequence[int]) -> None:
        super().__init__(len(weights))
        self._weights = list(weights)
        self._credit = [0] * len(weights)
        self._eligible = sum(1 << i for i, weight in enumerate(weights) if weight)

    def pick(self, now_ns: int, usable: int, key: int = 0) -> int:
        """The usable instance with the most credit, or -1."""
        usable &= self._eligible
        if not usable:
            return -1
        account, weights = self._credit, self._weights
        total = 0
        best = -1
        most = 0
        while usable:
            i = (usable & -usable).bit_length() - 1
            usable &= usable - 1
            weight = weights[i]
            total += weight
            account[i] = credit = account[i] + weight
            if best < 0 or credit > most:
                best, most = i, credit
        account[best] = most - total
        return best

    def resize(self, n: int) -> None:
        """Keep the first n instances; new ones have weight 1, no credit, and start unmeasured."""
        self._resize(n)
        for column, fill in ((self._weights, 1), (self._credit, 0)):
            del column[n:]
            column.extend([fill] * (n - len(column)))
        self._eligible = sum(1 << i for i, weight in enumerate(self._weights) if weight)


class LeastPending(Loads):
    """The fewest calls in flight; equals take turns."""

    __slots__ = ("_all", "_cursor")

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self._all = (1 << n) - 1
        self._cursor = 0

    def pick(self, now_ns: int, usable: int, key: int = 0) -> int:
        """The usable instance with the fewest calls in flight, or -1."""
        usable &= self._all
        if not usable:
            return -1
        pending = self._pending
        ahead = usable >> self._cursor << self._cursor
        best = -1
        fewest = 0
        for part in (ahead, usable ^ ahead):
            rest = part
            while rest:
                i = (rest & -rest).bit_length() - 1
                rest &= rest - 1
                if best < 0 or pending[i] < fewest:
                    best, fewest = i, pending[i]
                    if not fewest:
                        break
            if best >= 0 and not fewest:
                break
        self._cursor = best + 1
        return best

    def resize(self, n: int) -> None:
        """Keep the first n instances; new ones start unmeasured."""
        self._resize(n)
        self._all = (1 << n) - 1
        self._cursor = min(self._cursor, n)
