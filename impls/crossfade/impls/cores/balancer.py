"""Owns the choice of one instance among those that are usable, and the load figures the choice rests on.

Round robin: the first usable instance at or after the cursor; the cursor moves behind it.

P2C ("power of two choices", Mitzenmacher 2001) with a peak-sensitive EWMA of latency, as in Finagle and linkerd:

1. Draw two different usable instances, each pair equally likely: one number, its high half for the first (rank
   ``high * n >> 32``), its low half for the second among the others (``low * (n - 1) >> 32``).
2. The cost of one is its EWMA times (calls in flight + 1). An idle one's EWMA fades linearly to 0 within ``DECAY_NS``,
   so that nobody is shunned for ever. One that was never measured costs nothing while idle and ``UNKNOWN`` while busy:
   it gets one call at a time until it has answered.
3. Take the cheaper; on a tie the one drawn first.

The EWMA jumps up to a higher sample at once and comes down by ``(ewma - sample) * elapsed >> DECAY_SHIFT``, all the way
once ``DECAY_NS`` have elapsed since the last answer.
A failure is never a fast answer: it counts as ``max(latency, 2 * ewma, FAILURE_NS)``, or a broken instance that refuses
within microseconds would attract all traffic. All arithmetic is on integers.
"""

from __future__ import annotations

from typing import Final, Protocol

from crossfade.impls.cores.rng import SplitMix64

DECAY_SHIFT: Final = 32
DECAY_NS: Final = 1 << DECAY_SHIFT
FAILURE_NS: Final = 1 << 26
MAX_NS: Final = 1 << 40
UNKNOWN: Final = 1 << 62


class Balancer(Protocol):
    """What both policies offer. ``usable`` is a bit mask: bit i set means that instance i may be picked."""

    def pick(self, now_ns: int, usable: int) -> int: ...
    def started(self, i: int) -> None: ...
    def finished(self, i: int, now_ns: int, latency_ns: int, ok: bool) -> None: ...
    def cancelled(self, i: int) -> None: ...
    def pending(self, i: int) -> int: ...
    def ewma_ns(self, i: int) -> int: ...
    def resize(self, n: int) -> None: ...


class _Loads:
    """Calls in flight and EWMA latency per instance. An index that is out of range (resized away) is ignored."""

    __slots__ = ("_ewma", "_pending", "_updated")

    def __init__(self, n: int) -> None:
        self._pending = [0] * n
        self._ewma = [0] * n
        self._updated = [0] * n

    def started(self, i: int) -> None:
        """A call to instance i goes out."""
        if i < len(self._pending):
            self._pending[i] += 1

    def finished(self, i: int, now_ns: int, latency_ns: int, ok: bool) -> None:
        """The call ended with an answer or a failure after ``latency_ns``."""
        pending = self._pending
        if i >= len(pending):
            return
        if pending[i]:
            pending[i] -= 1
        ewma = self._ewma[i]
        sample = latency_ns if ok else max(latency_ns, 2 * ewma, FAILURE_NS)
        if not 0 < sample <= MAX_NS:
            sample = 1 if sample < 1 else MAX_NS
        if sample < ewma:
            elapsed = now_ns - self._updated[i]
            if elapsed <= 0:
                sample = ewma
            elif elapsed < DECAY_NS:
                sample = ewma - ((ewma - sample) * elapsed >> DECAY_SHIFT)
        self._ewma[i] = sample
        self._updated[i] = now_ns

    def cancelled(self, i: int) -> None:
        """The call ended without telling anything about the instance."""
        if i < len(self._pending) and self._pending[i]:
            self._pending[i] -= 1

    def pending(self, i: int) -> int:
        """Calls in flight to instance i."""
        return self._pending[i] if i < len(self._pending) else 0

    def ewma_ns(self, i: int) -> int:
        """The latency estimate, as of the last answer; 0 before the first."""
        return self._ewma[i] if i < len(self._ewma) else 0

    def _resize(self, n: int) -> None:
        for column in (self._pending, self._ewma, self._updated):
            del column[n:]
            column.extend([0] * (n - len(column)))


class RoundRobin(_Loads):
    """Takes turns; skips what is not usable."""

    __slots__ = ("_all", "_cursor")

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self._all = (1 << n) - 1
        self._cursor = 0

    def pick(self, now_ns: int, usable: int) -> int:
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


class P2C(_Loads):
    """The cheaper of two drawn at random."""

    __slots__ = ("_draw", "_indices", "_mask")

    def __init__(self, n: int, seed: int) -> None:
        super().__init__(n)
        self._draw = SplitMix64(seed).next_u64
        self._mask = (1 << n) - 1
        self._indices = list(range(n))

    def pick(self, now_ns: int, usable: int) -> int:
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
