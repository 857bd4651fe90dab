"""Growth of memory in a soak: a slope with an interval that honours autocorrelation, and when it is a leak.

1. The warm-up is cut where the slope of what is left has its least standard error, never beyond half of the samples.
2. The line is ordinary least squares; its interval counts ``n (1 - r) / (1 + r)`` samples instead of n, r being the
   residuals' lag-one correlation (Santer and others, 2000, J. Geophys. Res. 105, 7337), corrected for its bias by
   ``(1 + 4 r) / n`` (Kendall 1954). Tests hold its coverage against AR(1) noise.
3. It is a leak if the interval clears the threshold, the rise is more than what bounded memories (caches, arenas) may
   take until they are full, and the second half alone clears the threshold too and rises at least half as fast as the
   first. A smaller rise, or one that ebbs, is a process that still settles: soak it longer.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from crossfade.harness.stats.lines import fit
from crossfade.harness.stats.student import t_quantile

Course = Literal["steady", "grows", "settles", "undecided", "too short"]
MIN_SAMPLES = 24
"""Fewer than this many leave no interval worth its name."""
EBB = 0.5
"""Below this share of the first half's slope the second half's is no growth that goes on."""


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """A slope with its 95 % interval over the samples from ``cut`` on, of which ``effective`` are worth counting."""

    slope: float
    low: float
    high: float
    intercept: float
    cut: int
    samples: int
    effective: float
    rise: float
    """What the line rises by from the first sample that counts to the last."""


def warm_up(xs: Sequence[float], ys: Sequence[float]) -> int:
    """The first sample that counts: the cut whose line has the least standard error, at most half of the samples."""

    def error(cut: int) -> float:
        x, y = xs[cut:], ys[cut:]
        sxx, residual, _ = _line(x, y)
        return residual / (len(x) - 2) / sxx

    return min(range(len(xs) // 2 + 1), key=error)


def growth(xs: Sequence[float], ys: Sequence[float], cut: int | None = None) -> Growth | None:
    """The slope of ``ys`` over rising ``xs``; None for too few samples. ``cut`` is given or found."""
    if len(xs) != len(ys):
        raise ValueError(f"{len(xs)} xs and {len(ys)} ys")
    if len(xs) < MIN_SAMPLES:
        return None
    return _over(xs, ys, warm_up(xs, ys) if cut is None else cut)


def _over(xs: Sequence[float], ys: Sequence[float], cut: int) -> Growth:
    x, y = xs[cut:], ys[cut:]
    n = len(x)
    sxx, residual, lagged = _line(x, y)
    line = fit(x, y)
    correlation = lagged / residual if residual else 0.0
    correlation = min(0.99, max(0.0, correlation + (1 + 4 * correlation) / n))
    effective = max(3.0, n * (1 - correlation) / (1 + correlation))
    half = t_quantile(0.975, effective - 2) * math.sqrt(residual / (effective - 2) / sxx)
    return Growth(
        slope=line.slope,
        low=line.slope - half,
        high=line.slope + half,
        intercept=line.intercept,
        cut=cut,
        samples=n,
        effective=effective,
        rise=line.slope * (x[-1] - x[0]),
    )


def course(
    xs: Sequence[float], ys: Sequence[float], found: Growth | None, *, threshold: float, least_rise: float
) -> Course:
    """What the memory does: ``grows`` is a leak, ``settles`` a rise that ebbs or is small; both clear the threshold.

    ``steady`` has its whole interval below it; an interval with the threshold inside is ``undecided``, and no leak.
    """
    if found is None:
        return "too short"
    if found.low <= threshold:
        return "steady" if found.high <= threshold else "undecided"
    if found.rise <= least_rise:
        return "settles"
    middle = found.cut + found.samples // 2
    early = fit(xs[found.cut : middle], ys[found.cut : middle]).slope
    late = _over(xs, ys, middle)
    return "grows" if late.low > threshold and late.slope >= EBB * early else "settles"


def _line(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float, float]:
    """Sum of squares of x, of the residuals, and of the residuals' products with their successors."""
    n = len(xs)
    mean_x, mean_y = math.fsum(xs) / n, math.fsum(ys) / n
    sxx = math.fsum((x - mean_x) ** 2 for x in xs)
    slope = math.fsum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / sxx
    left = [y - mean_y - slope * (x - mean_x) for x, y in zip(xs, ys, strict=True)]
    lagged = math.fsum(a * b for a, b in itertools.pairwise(left))
    return sxx, math.fsum(r * r for r in left), lagged
