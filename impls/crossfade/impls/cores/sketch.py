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

from itertools import accumulate
from typing import Final

EVERY: Final = 32
FULL: Final = 1024

_LONGEST_NS: Final = (1 << 40) - 1
_BUCKETS: Final = 592


class LatencySketch:
    """``p95_ns`` is -1 before the first ``EVERY`` samples."""

    __slots__ = ("_counts", "_samples", "p95_ns")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self._samples = 0
        self.p95_ns = -1

    def record(self, latency_ns: int) -> None:
        """One more sample."""
        latency_ns = min(latency_ns, _LONGEST_NS)
        shift = latency_ns.bit_length() - 5
        self._counts[(shift << 4) + (latency_ns >> shift) if shift > 0 else latency_ns] += 1
        self._samples += 1
        if not self._samples % EVERY:
            self._look()

    def _look(self) -> None:
        up_to = list(accumulate(self._counts))
        rank = self._samples - self._samples // 20
        self.p95_ns = _upper_end(next(bucket for bucket, samples in enumerate(up_to) if samples >= rank))
        if self._samples == FULL:
            halved = [samples >> 1 for samples in up_to]
            self._counts = [after - before for before, after in zip([0, *halved], halved, strict=False)]
            self._samples = halved[-1]


def _upper_end(bucket: int) -> int:
    shift = max((bucket >> 4) - 1, 0)
    return ((bucket - (shift << 4) + 1) << shift) - 1
