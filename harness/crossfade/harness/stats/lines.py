"""Least-squares lines: memory against connections.

total/N is wrong (it bills the interpreter to the connections) and is not offered here (method rule 15).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from crossfade.harness.stats.student import t_quantile


class Line(msgspec.Struct, frozen=True):
    """``y = intercept + slope x`` with the slope's 95 % t-interval (None for fewer than three points) and R^2."""

    intercept: float
    slope: float
    low: float | None
    high: float | None
    r_squared: float
    n: int


def fit(xs: Sequence[float], ys: Sequence[float]) -> Line:
    """The ordinary least-squares line. Raises ValueError for fewer than two distinct ``xs``."""
    n = len(xs)
    if n != len(ys):
        raise ValueError(f"{n} xs and {len(ys)} ys")
    if len(set(xs)) < 2:
        raise ValueError("a line needs at least two distinct x values")
    mean_x, mean_y = math.fsum(xs) / n, math.fsum(ys) / n
    sxx = math.fsum((x - mean_x) ** 2 for x in xs)
    sxy = math.fsum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    syy = math.fsum((y - mean_y) ** 2 for y in ys)
    slope = sxy / sxx
    intercept = mean_y - slope * mean_x
    residual = math.fsum((y - intercept - slope * x) ** 2 for x, y in zip(xs, ys, strict=True))
    r_squared = 1 - residual / syy if syy else 1.0
    if n < 3:
        return Line(intercept, slope, None, None, r_squared, n)
    half = t_quantile(0.975, n - 2) * math.sqrt(residual / (n - 2) / sxx)
    return Line(intercept, slope, slope - half, slope + half, r_squared, n)
