"""Student's t and the beta distribution, so that a report needs no scipy.

Owns the cumulative distributions and their inverses. Tests check all four against scipy.
Source: Numerical Recipes, section 6.4 (incomplete beta by continued fraction, modified Lentz), and
P(|T| <= t) = 1 - I_{df/(df+t^2)}(df/2, 1/2).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

_TINY = 1e-300
_EPSILON = 1e-16
_MAX_TERMS = 10_000


def t_cdf(t: float, df: float) -> float:
    """P(T <= t) for ``df`` > 0 degrees of freedom."""
    if math.isinf(t):
        return 1.0 if t > 0 else 0.0
    # For |t| small against df, df/(df+t^2) is next to 1 and its complement must be computed directly.
    square = t * t
    if square < df:
        central = _beta_inc(0.5, df / 2, square / (df + square))
        return 0.5 + math.copysign(central / 2, t) if t else 0.5
    tail = _beta_inc(df / 2, 0.5, df / (df + square)) / 2
    return 1 - tail if t > 0 else tail


@functools.cache
def t_quantile(p: float, df: float) -> float:
    """The t with P(T <= t) = ``p``, for 0 < p < 1. Raises ValueError outside."""
    if not 0 < p < 1:
        raise ValueError(f"probability must lie between 0 and 1, not {p}")
    if p < 0.5:
        return -t_quantile(1 - p, df)
    low, high = 0.0, 1.0
    while t_cdf(high, df) < p:
        low, high = high, high * 2
    return _bisected(lambda t: t_cdf(t, df) < p, low, high)


def beta_cdf(x: float, a: float, b: float) -> float:
    """P(X <= x) of the beta distribution with ``a`` and ``b`` > 0."""
    return _beta_inc(a, b, x)


def beta_quantile(p: float, a: float, b: float) -> float:
    """The x with P(X <= x) = ``p``, for 0 < p < 1. Raises ValueError outside."""
    if not 0 < p < 1:
        raise ValueError(f"probability must lie between 0 and 1, not {p}")
    return _bisected(lambda x: beta_cdf(x, a, b) < p, 0.0, 1.0)


def _bisected(below: Callable[[float], bool], low: float, high: float) -> float:
    # Some sixty steps, no starting value to get wrong.
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
        if high - low <= 1e-15 * high:
            break
    return (low + high) / 2


def _beta_inc(a: float, b: float, x: float) -> float:
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _MAX_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d, c = 1 / _away(1 + even * d), _away(1 + even / c)
        value *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d, c = 1 / _away(1 + odd * d), _away(1 + odd / c)
        value *= d * c
        if abs(d * c - 1) < _EPSILON:
            break
    return value


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
