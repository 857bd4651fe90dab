"""Owns the retry budgets of many servers, one column each; attempts, budget and jitter as in ``cores.retry``."""

from __future__ import annotations

from typing import Final

import numpy as np

from crossfade.impls.cores.retry import RetryConfig
from crossfade.impls.cores_numba.jit import Ints, Words, kernel
from crossfade.impls.cores_numba.rng import below

_ATTEMPTS, _BASE_NS, _CAP_NS, _FILL, _FULL, _BUDGET = range(6)
_TOKEN: Final = 1000
_LONGEST_NS: Final = 1 << 62


@kernel("void(int64[:, ::1], int64)")
def request(s: Ints, i: int) -> None:
    s[_BUDGET, i] = min(s[_BUDGET, i] + s[_FILL, i], s[_FULL, i])


@kernel("int64(int64[:, ::1], uint64[::1], int64, int64)")
def next_delay(s: Ints, rng: Words, i: int, made: int) -> int:
    if made >= s[_ATTEMPTS, i] or s[_BUDGET, i] < _TOKEN:
        return -1
    s[_BUDGET, i] -= _TOKEN
    doublings = min(max(made, 1) - 1, 62)
    bound_ns = s[_CAP_NS, i]
    if s[_BASE_NS, i] <= bound_ns >> doublings:
        bound_ns = s[_BASE_NS, i] << doublings
    return int(np.int64(below(rng, bound_ns + 1)))


@kernel("void(int64[:, ::1], int64)")
def _forget(s: Ints, i: int) -> None:
    s[_BUDGET, i] = min(s[_BUDGET, i] + _TOKEN, s[_FULL, i])


class Retry:
    """The retries of one server."""

    __slots__ = ("rng", "table")

    def __init__(self, config: RetryConfig, seed: int) -> None:
        self.table = np.zeros((6, 1), np.int64)
        full = config.budget_burst * _TOKEN
        base_ns, cap_ns = min(config.base_ns, _LONGEST_NS), min(config.cap_ns, _LONGEST_NS)
        self.table[:, 0] = config.attempts, base_ns, cap_ns, config.budget_per_mille, full, full
        self.rng = np.array([seed & 0xFFFFFFFFFFFFFFFF], np.uint64)

    def request(self) -> None:
        """A request came in (once per request, not per attempt): the budget grows."""
        request(self.table, 0)

    def next(self, made: int) -> int:
        """How many nanoseconds to wait before one more attempt after ``made`` of them, or -1: no more."""
        return next_delay(self.table, self.rng, 0, made)

    def forget(self) -> None:
        """The attempt that ``next`` allowed is not made: its token is given back."""
        _forget(self.table, 0)

    def budget_milli(self) -> int:
        """What is left of the budget, in thousandths of a retry."""
        return int(self.table[_BUDGET, 0])
