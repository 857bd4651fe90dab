"""Percentiles of merged histograms, with the honesty to say "too few".

Histograms are merged, percentiles never averaged. A p99 needs 368 samples for a finite 95 % interval, a p99.9 needs
3,688 (method rule 12: smallest n with 1 - p^n >= 0.975); below, the value is None.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from crossfade.harness.hdr import Histogram

NEEDED: dict[float, int] = {50.0: 6, 90.0: 36, 99.0: 368, 99.9: 3_688}
"""Samples below which a percentile is not reported."""

_CURVE = (0, 10, 25, 50, 75, 90, 95, 97.5, 99, 99.5, 99.75, 99.9, 99.95, 99.99)


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """Microseconds; None means too few samples. ``maximum`` is the largest value seen."""

    count: int
    p50_us: float | None
    p90_us: float | None
    p99_us: float | None
    p999_us: float | None
    maximum_us: float | None


def merged(blobs: Sequence[str]) -> Histogram:
    """One histogram out of stored blobs; empty strings are skipped. Raises ValueError for a broken blob."""
    return Histogram.merged(blob for blob in blobs if blob)


def percentiles(blobs: Sequence[str]) -> Percentiles:
    """The usual percentiles of the merged blobs."""
    histogram = merged(blobs)
    count = histogram.total_count

    def at(percentile: float) -> float | None:
        return histogram.value_at_percentile(percentile) / 1000 if count >= NEEDED[percentile] else None

    return Percentiles(
        count=count,
        p50_us=at(50.0),
        p90_us=at(90.0),
        p99_us=at(99.0),
        p999_us=at(99.9),
        maximum_us=histogram.max_value / 1000 if count else None,
    )


def distribution(blobs: Sequence[str]) -> list[tuple[float, float]]:
    """(percentile, microseconds) for a percentile plot, up to the highest percentile the samples support."""
    histogram = merged(blobs)
    count = histogram.total_count
    return [
        (float(p), histogram.value_at_percentile(p) / 1000)
        for p in _CURVE
        # n(1 - p) >= 3.688 is the rule of NEEDED in general form: 368 for p99, 3,688 for p99.9.
        if count * (100 - p) >= 368
    ]
