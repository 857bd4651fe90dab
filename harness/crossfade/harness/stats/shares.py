"""Counts out of counts: the interval of a share, and whether one of a pair loses requests that the other does not.

The rule: exact, never a normal approximation, for the counts here are small: 0 of 42, 9 of 10.
"""

from __future__ import annotations

import math

from crossfade.harness.stats.student import beta_quantile


def clopper_pearson(hits: int, of: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share of which ``hits`` out of ``of`` were seen. (0, 1) for nothing seen.

    Source: Clopper and Pearson 1934, Biometrika 26, 404-413, by quantiles of the beta distribution.
    """
    if not 0 <= hits <= of:
        raise ValueError(f"{hits} of {of} is no share")
    tail = (1 - confidence) / 2
    low = beta_quantile(tail, hits, of - hits + 1) if hits else 0.0
    high = beta_quantile(1 - tail, hits + 1, of - hits) if hits < of else 1.0
    return low, high


def sign_test(more: int, fewer: int) -> float:
    """Two-sided exact p-value of ``more`` against ``fewer`` where both are equally likely; ties are left out."""
    n, least = more + fewer, min(more, fewer)
    if n == 0:
        return 1.0
    tail: float = sum(math.comb(n, k) for k in range(least + 1)) / 2.0**n
    return min(1.0, 2 * tail)
