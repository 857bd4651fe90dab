"""Owns whether a failed attempt is made again, and when: a number of attempts, a budget for all requests, and jitter.

The theory. Retries help against an instance that is gone, and ruin a server that is overloaded: three tiers that retry
three times each send 27 requests for one. So retries are paid from a budget that requests fill, a fixed share of the
traffic however bad things are (Finagle's ``RetryBudget``; gRPC's retry throttling, gRFC A6). The wait is drawn from the
whole range up to the exponential bound (full jitter; Brooker, "Exponential Backoff And Jitter", 2015), so that those
who failed together do not come back together.

The laws:

1. A request makes at most ``attempts`` attempts.
2. There are never more retries than ``budget_burst`` plus ``budget_per_mille`` per thousand requests.
3. The wait before attempt n + 1 is uniform over 0 .. min(``cap_ns``, ``base_ns`` * 2**(n - 1)), both ends included.
4. What is refused costs nothing: no token, and no draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from crossfade.impls.cores.rng import SplitMix64

if TYPE_CHECKING:
    from crossfade.impls.config import RetrySpec

_MS: Final = 1_000_000
_TOKEN: Final = 1000  # the budget counts thousandths
_LONGEST_NS: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class RetryConfig:
    """``attempts`` counts the first one. The budget starts full."""

    attempts: int = 2
    base_ns: int = 20 * _MS
    cap_ns: int = 1_000 * _MS
    budget_per_mille: int = 200
    budget_burst: int = 10

    @classmethod
    def from_spec(cls, spec: RetrySpec) -> Self:
        """The same in nanoseconds. Which requests may be retried at all is the caller's to know."""
        return cls(
            attempts=spec.attempts,
            base_ns=spec.base_ms * _MS,
            cap_ns=spec.cap_ms * _MS,
            budget_per_mille=spec.budget_per_mille,
            budget_burst=spec.budget_burst,
        )


class Retry:
    """The retries of one server."""

    __slots__ = ("_attempts", "_base_ns", "_budget", "_cap_ns", "_fill", "_full", "_rng")

    def __init__(self, config: RetryConfig, seed: int) -> None:
        self._attempts = config.attempts
        self._base_ns = config.base_ns
        self._cap_ns = min(config.cap_ns, _LONGEST_NS)
        self._fill = config.budget_per_mille
        self._full = self._budget = config.budget_burst * _TOKEN
        self._rng = SplitMix64(seed)

    def request(self) -> None:
        """A request came in (once per request, not per attempt): the budget grows."""
        budget = self._budget + self._fill
        self._budget = budget if budget < self._full else self._full

    def next(self, made: int) -> int:
        """How many nanoseconds to wait before one more attempt after ``made`` of them, or -1: no more."""
        if made >= self._attempts or self._budget < _TOKEN:
            return -1
        self._budget -= _TOKEN
        doublings = min(max(made, 1) - 1, 62)
        base_ns, bound_ns = self._base_ns, self._cap_ns
        if base_ns <= bound_ns >> doublings:
            bound_ns = base_ns << doublings
        return self._rng.below(bound_ns + 1)

    def forget(self) -> None:
        """The attempt that ``next`` allowed is not made (no time or no instance is left): its token is given back."""
        self._budget = min(self._budget + _TOKEN, self._full)

    def budget_milli(self) -> int:
        """What is left of the budget, in thousandths of a retry."""
        return self._budget
