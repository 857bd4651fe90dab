"""Owns the load figures that every balancer keeps: calls in flight and an EWMA of latency per instance.

The EWMA jumps up to a higher sample at once and comes down by ``(ewma - sample) * elapsed >> DECAY_SHIFT``, all the way
once ``DECAY_NS`` have elapsed since the last answer.
A failure is never a fast answer: it counts as ``max(latency, 2 * ewma, FAILURE_NS)``, or a broken instance that refuses
within microseconds would attract all traffic. All arithmetic is on integers.
"""

from __future__ import annotations

from typing import Final

DECAY_SHIFT: Final = 32
DECAY_NS: Final = 1 << DECAY_SHIFT
FAILURE_NS: Final = 1 << 26
MAX_NS: Final = 1 << 40


class Loads:
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
