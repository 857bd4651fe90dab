"""Owns the distribution of latencies: counts in log-linear buckets, cheap enough for every request.

The theory. A power of two of nanoseconds is cut into 32 equal steps, so a bucket is at most 3.2 % wide and finding it
is two shifts. Below 32 ns every nanosecond has a bucket of its own; what is longer than 2^37 ns (137 s) counts in the
last one.

The laws:

1. Recording never allocates and never raises; the sum of all buckets is the number recorded.
2. A quantile is the upper edge of the bucket that holds it, at most the maximum: never below the true one, and at most
   3.2 % above.
3. The edges are powers of two at every octave, so counts below a power of two are exact.
"""

from __future__ import annotations

from typing import Final

STEP_BITS: Final = 5
STEPS: Final = 1 << STEP_BITS
MAX_BITS: Final = 37
BUCKETS: Final = (MAX_BITS - STEP_BITS + 1) * STEPS
_LONGEST: Final = (1 << MAX_BITS) - 1
OCTAVES: Final = tuple(range(16, 36))
"""Exponents of the bounds that are published: 65.5 us to 34.4 s, each twice the one before."""
QUANTILES: Final = (("p50", 500), ("p90", 900), ("p99", 990), ("p999", 999))


class Histogram:
    """Latencies in nanoseconds."""

    __slots__ = ("_buckets", "max_ns", "sum_ns")

    def __init__(self) -> None:
        self._buckets = [0] * BUCKETS
        self.sum_ns = 0
        self.max_ns = 0

    def record(self, ns: int) -> None:
        """Count one latency; a negative one counts as 0."""
        shift = ns.bit_length() - (STEP_BITS + 1)
        if shift > MAX_BITS - STEP_BITS - 1:
            self._buckets[-1] += 1
        elif shift > 0:
            self._buckets[(shift << STEP_BITS) + (ns >> shift)] += 1
        else:
            self._buckets[max(ns, 0)] += 1
        self.sum_ns += ns
        self.max_ns = max(self.max_ns, ns)

    @property
    def count(self) -> int:
        """How many were recorded."""
        return sum(self._buckets)

    def add(self, other: Histogram) -> None:
        """Take over everything that ``other`` has recorded."""
        self._buckets = [mine + theirs for mine, theirs in zip(self._buckets, other._buckets, strict=True)]
        self.sum_ns += other.sum_ns
        self.max_ns = max(self.max_ns, other.max_ns)

    def quantile_ns(self, per_mille: int) -> int:
        """The quantile of rank ``ceil(count * per_mille / 1000)``, at least 1; 0 without data."""
        rank = max(1, -(-self.count * per_mille // 1000))
        seen = 0
        for index, count in enumerate(self._buckets):
            seen += count
            if seen >= rank:
                return min(upper_edge(index), self.max_ns)
        return 0

    def below(self, octave: int) -> int:
        """How many took less than ``2^octave`` ns; exact from octave 5 to 37."""
        return sum(self._buckets[: (octave - STEP_BITS + 1) << STEP_BITS])

    def summary(self) -> dict[str, int]:
        """``count``, ``mean``, the quantiles and ``max``, in nanoseconds."""
        count = self.count
        mean = self.sum_ns // count if count else 0
        quantiles = {name: self.quantile_ns(per_mille) for name, per_mille in QUANTILES}
        return {"count": count, "mean": mean, **quantiles, "max": self.max_ns}


def upper_edge(index: int) -> int:
    """The longest latency that falls into a bucket."""
    if index < STEPS:
        return index
    shift = (index >> STEP_BITS) - 1
    return (((index & (STEPS - 1)) + STEPS + 1) << shift) - 1
