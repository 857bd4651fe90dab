"""Paired comparison: log-ratios of rounds, a t-interval, a verdict.

The unit of evidence is one round (method rule 3). A verdict needs the interval to clear the threshold, not just zero
(rule 5), and over a suite it needs to survive Holm's correction. Everything works on natural logarithms of ratios.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from crossfade.harness.stats.student import t_cdf, t_quantile

Verdict = Literal["better", "worse", "inconclusive"]
ALPHA = 0.05


class Interval(msgspec.Struct, frozen=True):
    """A mean with its 95 % t-interval over ``n`` rounds; ``low`` and ``high`` are None for fewer than two."""

    mean: float
    low: float | None
    high: float | None
    sd: float
    n: int


def interval(values: Sequence[float], *, confidence: float = 1 - ALPHA) -> Interval:
    """Mean and t-interval of independent values. Raises ValueError for none."""
    n = len(values)
    if n == 0:
        raise ValueError("no values")
    mean = math.fsum(values) / n
    if n == 1:
        return Interval(mean, None, None, 0.0, 1)
    sd = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = t_quantile(0.5 + confidence / 2, n - 1) * sd / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, sd, n)


def midmean(values: Sequence[float]) -> float:
    """The mean of the middle half: a quarter at either end is left out. Raises ValueError for none.

    A turn in which the machine stood still says nothing of the pair. What is left out lies evenly on both sides, so
    that twins keep a mean of zero.
    """
    if not values:
        raise ValueError("no values")
    cut = len(values) // 4
    kept = sorted(values)[cut : len(values) - cut]
    return math.fsum(kept) / len(kept)


def p_beyond(logs: Sequence[float], margin: float) -> float:
    """Two-sided p-value of the claim that the mean lies beyond ``margin`` (a log-ratio > 0) from zero.

    Below 0.05 exactly when the 95 % interval lies beyond the margin. 1 for fewer than two values.
    """
    if len(logs) < 2:
        return 1.0
    found = interval(logs)
    excess = abs(found.mean) - margin
    if excess <= 0:
        return 1.0
    if found.sd == 0:
        return 0.0
    return min(1.0, 2 * (1 - t_cdf(excess / (found.sd / math.sqrt(found.n)), found.n - 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the order given. Source: Holm 1979, Scand. J. Statist. 6, 65-70."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def verdict(mean_log: float, p_adjusted: float, better: Literal["higher", "lower"]) -> Verdict:
    """``better`` or ``worse`` for the candidate if the adjusted p-value is below 0.05, else ``inconclusive``."""
    if p_adjusted >= ALPHA:
        return "inconclusive"
    return "better" if (mean_log > 0) == (better == "higher") else "worse"


def equivalent(logs: Sequence[float], margin: float) -> bool:
    """True if the 90 % interval lies within the margin (two one-sided tests): no difference that matters."""
    if len(logs) < 2:
        return False
    found = interval(logs, confidence=1 - 2 * ALPHA)
    return found.low is not None and found.high is not None and -margin < found.low and found.high < margin


def rounds_needed(sd_log: float, threshold: float, mean_log: float = 0.0) -> int:
    """Rounds that settle the question with 80 % power: (2.8 sd / effect)^2.

    The effect is ``threshold`` (relative), or how far the mean observed so far lies beyond it, if that is more.
    """
    effect = max(threshold, abs(mean_log) - threshold)
    return max(3, math.ceil((2.8 * sd_log / effect) ** 2))
