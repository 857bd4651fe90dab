"""Owns the 95th percentile of the latencies seen lately, in a few hundred integers.

The theory. Buckets are log-linear: exact up to 31 ns, then 16 to each power of two, so a bucket is never wider than a
sixteenth of what is in it (the layout of HdrHistogram). Old samples fade: when there are ``FULL``, the cumulative
counts are halved. Looking for the percentile costs a walk over the buckets, so it is done once in ``EVERY`` samples.

The laws:

1. Until ``FULL`` samples: with every ``EVERY``-th, the value is the upper end of the bucket that holds the sample of
   rank ceil(0.95 * n). So it is not below that sample, and at most a sixteenth above it.
2. Halving moves no rank by more than one, and halves the weight of what came before it.
3. Memory never grows, and no sample is too long: above 2**40 - 1 ns (18 minutes) it counts as that.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Final

EVERY: Final = 32
FULL: Final = 1024

_LONGEST_NS: Final = (1 << 40) - 1
_BUCKETS: Final = 592
_GROUP: Final = 16  # buckets that are counted together as well, so that a look walks over 37 + 16 numbers, not 592


class LatencySketch:
    """``p95_ns`` is -1 before the first ``EVERY`` samples."""

    __slots__ = ("_counts", "_groups", "_samples", "p95_ns")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self._groups = [0] * (_BUCKETS // _GROUP)
        self._samples = 0
        self.p95_ns = -1

    def record(self, latency_ns: int) -> None:
        """One more sample."""
        latency_ns = min(latency_ns, _LONGEST_NS)
        shift = latency_ns.bit_length() - 5
        bucket = (shift << 4) + (latency_ns >> shift) if shift > 0 else latency_ns
        self._counts[bucket] += 1
        self._groups[bucket >> 4] += 1
        self._samples = samples = self._samples + 1
        if not samples % EVERY:
            self._look(samples)

    def _look(self, samples: int) -> None:
        left = samples - samples // 20
        bucket = 0
        for count in self._groups:
            if count >= left:
                break
            left -= count
            bucket += _GROUP
        while (left := left - self._counts[bucket]) > 0:
            bucket += 1
        self.p95_ns = _upper_end(bucket)
        if samples == FULL:
            self._halve()

    def _halve(self) -> None:
        halved = [samples >> 1 for samples in accumulate(self._counts)]
        self._counts = [halved[0], *(after - before for before, after in pairwise(halved))]
        self._groups = [sum(self._counts[bucket : bucket + _GROUP]) for bucket in range(0, _BUCKETS, _GROUP)]
        self._samples = halved[-1]


def _upper_end(bucket: int) -> int:
    shift = max((bucket >> 4) - 1, 0)
    return ((bucket - (shift << 4) + 1) << shift) - 1
