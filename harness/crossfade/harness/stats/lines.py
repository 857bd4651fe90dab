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


def fit(xs: Sequence[float], ys: Sequence[float], rounds: Sequence[int] | None = None) -> Line:
    """The ordinary least-squares line. Raises ValueError for fewer than two distinct ``xs``.

    With ``rounds`` (the round of each point) every round has an intercept of its own and all share the slope (the
    within estimator, Wooldridge, Introductory Econometrics, 14.1): what shifts a whole round, such as its hash seed, is
    no error of the slope. ``intercept`` is then their mean, and ``r_squared`` is of the variation within rounds.
    """
    n = len(xs)
    told = [0] * n if rounds is None else rounds
    if not n == len(ys) == len(told):
        raise ValueError(f"{n} xs, {len(ys)} ys and {len(told)} rounds")
    if len(set(xs)) < 2:
        raise ValueError("a line needs at least two distinct x values")
    groups = sorted(set(told))
    centred_x, centred_y = _centred(xs, told, groups), _centred(ys, told, groups)
    sxx = math.fsum(x * x for x in centred_x)
    if not sxx:
        raise ValueError("a line needs at least two distinct x values in some round")
    sxy = math.fsum(x * y for x, y in zip(centred_x, centred_y, strict=True))
    syy = math.fsum(y * y for y in centred_y)
    slope = sxy / sxx
    intercept = math.fsum(y - slope * x for x, y in zip(xs, ys, strict=True)) / n
    residual = math.fsum((y - slope * x) ** 2 for x, y in zip(centred_x, centred_y, strict=True))
    r_squared = 1 - residual / syy if syy else 1.0
    freedom = n - len(groups) - 1
    if freedom < 1:
        return Line(intercept, slope, None, None, r_squared, n)
    half = t_quantile(0.975, freedom) * math.sqrt(residual / freedom / sxx)
    return Line(intercept, slope, slope - half, slope + half, r_squared, n)


def _centred(values: Sequence[float], rounds: Sequence[int], groups: Sequence[int]) -> list[float]:
    """Each value less the mean of its round."""
    means = {}
    for group in groups:
        members = [value for value, its in zip(values, rounds, strict=True) if its == group]
        means[group] = math.fsum(members) / len(members)
    return [value - means[its] for value, its in zip(values, rounds, strict=True)]
