"""What requests met: throughput and its price, errors, latency by rate and by percentile."""

from __future__ import annotations

from dataclasses import dataclass

from crossfade.reports.page.base import Estimate, Series


@dataclass(frozen=True, slots=True)
class Bar:
    """One variant in one scenario: the mean over blocks, and each block's own value."""

    who: Series
    value: float
    blocks: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """Throughput and its price in one scenario. Limits are drawn as reference lines."""

    scenario: str
    title: str
    throughput: tuple[Bar, ...]
    cpu_us: tuple[Bar, ...]
    ratios: tuple[tuple[str, str, Estimate], ...] = ()
    """(who, against whom, times its throughput), from pairs within rounds; the bars' means give others."""
    absent: tuple[str, ...] = ()
    """Who was measured and has no block that counts."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong for one variant in one scenario; a row of noughts is a finding too."""

    scenario: str
    who: Series
    blocks: int
    sent: int
    completed: int
    errors: tuple[tuple[str, int], ...]
    mismatches: int
    missed_sends: int
    voided: tuple[str, ...]
    lost: int = 0
    """Blocks that failed or are void; ``voided`` holds the reasons."""
    provoked: bool = False
    """The scenario breaks things on purpose: errors are its measurement."""

    @property
    def failed(self) -> int:
        """Requests that failed though nothing was done to them."""
        return 0 if self.provoked else sum(count for _, count in self.errors)

    @property
    def clean(self) -> bool:
        return not (self.failed or self.mismatches or self.voided)


@dataclass(frozen=True, slots=True)
class RatePoint:
    """One rung of the open-loop sweep; a percentile is None where the samples are too few for it."""

    rate: float
    achieved: float
    p50_ms: float | None
    p99_ms: float | None
    cpu_us: float | None
    """Per request, of the variant's processes; None where it is not known."""
    held: bool


@dataclass(frozen=True, slots=True)
class RateCurve:
    """``knee`` is the highest rate that holds the objective; ``beyond``: no higher rate was offered, so it may be
    more."""

    who: Series
    points: tuple[RatePoint, ...]
    knee: float | None
    beyond: bool = False


@dataclass(frozen=True, slots=True)
class Sweep:
    scenario: str
    objective_ms: float
    curves: tuple[RateCurve, ...]
    absent: tuple[str, ...] = ()
    """Who was measured and has no block that counts."""


Quantiles = tuple[float | None, float | None]
"""p50 and p99 in milliseconds; None where the samples are too few."""


@dataclass(frozen=True, slots=True)
class Tail:
    """Latency by percentile at one rate, cut where the samples no longer carry it."""

    who: Series
    samples: int
    points: tuple[tuple[float, float], ...]
    """(percentile 0..100, milliseconds)"""
    too_few: tuple[float, ...]
    """The percentiles of 50, 90, 99, 99.9 that this many samples cannot give."""
    service_ms: Quantiles
    """From when requests were sent in truth to their answers."""
    lag_ms: Quantiles
    """From when requests were due to when the generator sent them."""


@dataclass(frozen=True, slots=True)
class Tails:
    scenario: str
    load: str
    curves: tuple[Tail, ...]
