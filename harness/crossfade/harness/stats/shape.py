"""The shape of a block's series: warm-up is detected, not assumed (method rule 7).

A series is cut into thirds. A first third that is slower than the rest is a warm-up, a last third that is slower is a
slowdown, and a series whose intervals scatter more than a third around their median is unstable: no single number
describes it.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Literal

Shape = Literal["flat", "warm-up", "slowdown", "unstable", "too short"]
STEP = 0.10
SCATTER = 0.35
MIN_INTERVALS = 6


def classify(rates: Sequence[float]) -> Shape:
    """The shape of per-interval rates (any unit), in order of time."""
    if len(rates) < MIN_INTERVALS:
        return "too short"
    middle = statistics.median(rates)
    if middle <= 0:
        return "unstable"
    # 1.4826 makes the median absolute deviation comparable with a standard deviation; it forgives one stall.
    scatter = 1.4826 * statistics.median(abs(r - middle) for r in rates) / middle
    third = len(rates) // 3
    first, last = statistics.median(rates[:third]), statistics.median(rates[-third:])
    rest_after, rest_before = statistics.median(rates[third:]), statistics.median(rates[:-third])
    if scatter > SCATTER:
        return "unstable"
    if first < (1 - STEP) * rest_after:
        return "warm-up"
    if last < (1 - STEP) * rest_before:
        return "slowdown"
    return "flat"
