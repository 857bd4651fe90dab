"""Owns the load figures of a balancer's instances as three rows of a table, one column per instance.

Rule: the figures and the clamps are those of ``cores.loads``. An index out of range is ignored in Python, before a
kernel sees it.
"""

from __future__ import annotations

import numpy as np

from crossfade.impls.cores.loads import DECAY_NS, FAILURE_NS, MAX_NS
from crossfade.impls.cores_numba.jit import Flags, Ints, kernel
from crossfade.impls.cores_numba.rng import shifted

PENDING, EWMA, UPDATED, ROWS = range(4)


@kernel("void(int64[:, ::1], int64, int64, int64, boolean)")
def finish(s: Ints, i: int, now_ns: int, latency_ns: int, ok: bool) -> None:
    """One answer or failure of instance i."""
    if s[PENDING, i]:
        s[PENDING, i] -= 1
    ewma = s[EWMA, i]
    sample = latency_ns if ok else max(latency_ns, 2 * ewma, FAILURE_NS)
    sample = min(max(sample, 1), MAX_NS)
    if sample < ewma:
        elapsed = now_ns - s[UPDATED, i]
        if elapsed <= 0:
            sample = ewma
        elif elapsed < DECAY_NS:
            sample = ewma - np.int64(shifted(np.uint64(ewma - sample), np.uint64(elapsed)))
    s[EWMA, i] = sample
    s[UPDATED, i] = now_ns


@kernel("void(int64[:, ::1], int64[::1], int64, int64[::1], boolean[::1])")
def finish_batch(s: Ints, which: Ints, now_ns: int, latency_ns: Ints, ok: Flags) -> None:
    """Answers of many instances, in order."""
    for k in range(which.size):
        finish(s, which[k], now_ns, latency_ns[k], ok[k])


class Loads:
    """Calls in flight and EWMA latency per instance; further rows belong to the policy that derives from this."""

    __slots__ = ("_indices", "_mask", "_n", "table")

    def __init__(self, n: int, rows: int = ROWS) -> None:
        self._n = n
        self.table = np.zeros((rows, n), np.int64)
        self._mask: int | None = None
        self._indices = np.empty(0, np.int64)

    def started(self, i: int) -> None:
        """A call to instance i goes out."""
        if i < self._n:
            self.table[PENDING, i] += 1

    def finished(self, i: int, now_ns: int, latency_ns: int, ok: bool) -> None:
        """The call ended with an answer or a failure after ``latency_ns``."""
        if i < self._n:
            finish(self.table, i, now_ns, latency_ns, ok)

    def finished_batch(self, which: Ints, now_ns: int, latency_ns: Ints, ok: Flags) -> None:
        """The same for many calls, in order. All arrays have one length. Raises IndexError."""
        if which.size and not 0 <= int(which.min()) <= int(which.max()) < self._n:
            raise IndexError(f"instances {which.min()} to {which.max()} of {self._n}; name existing ones")
        if not which.size == latency_ns.size == ok.size:
            raise ValueError(f"{which.size} instances, {latency_ns.size} latencies, {ok.size} verdicts; match them")
        finish_batch(self.table, which, now_ns, latency_ns, ok)

    def cancelled(self, i: int) -> None:
        """The call ended without telling anything about the instance."""
        if i < self._n and self.table[PENDING, i]:
            self.table[PENDING, i] -= 1

    def pending(self, i: int) -> int:
        """Calls in flight to instance i."""
        return int(self.table[PENDING, i]) if i < self._n else 0

    def ewma_ns(self, i: int) -> int:
        """The latency estimate, as of the last answer; 0 before the first."""
        return int(self.table[EWMA, i]) if i < self._n else 0

    def resize(self, n: int) -> None:
        """Keep the first n instances; new ones start unmeasured, every row of theirs at 0."""
        kept = min(n, self._n)
        grown = np.zeros((self.table.shape[0], n), np.int64)
        grown[:, :kept] = self.table[:, :kept]
        self.table, self._n, self._mask = grown, n, None

    def _usable(self, mask: int) -> Ints:
        """The instances in a bit mask, ascending. A mask mostly comes again, so the last answer is kept."""
        if mask != self._mask:
            n = self._n
            octets = (mask & ((1 << n) - 1)).to_bytes((n + 7) // 8, "little")
            bits = np.unpackbits(np.frombuffer(octets, np.uint8), bitorder="little")
            self._indices = np.flatnonzero(bits).astype(np.int64)
            self._mask = mask
        return self._indices
