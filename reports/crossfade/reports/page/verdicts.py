"""Comparisons: of two variants, which get a word, and with limits, which get none."""

from __future__ import annotations

from dataclasses import dataclass

from crossfade.reports.page.base import Estimate, Series, Word


@dataclass(frozen=True, slots=True)
class Verdict:
    """One comparison. ``gain`` is turned so that above 1 the candidate is better, whatever the quantity."""

    scenario: str
    quantity: str
    unit: str
    baseline: float
    candidate: float
    gain: Estimate
    word: Word | None
    higher_is_better: bool
    threshold: float
    pairs: int
    pairs_needed: int | None = None
    corrected: bool = False
    """It would be a verdict if it were the only question."""
    group: str = ""
    """Title of the part of the page that its scenario belongs to."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many comparisons of one group came out how; ``total`` is their sum."""

    group: str
    better: int
    worse: int
    equal: int
    inconclusive: int

    @property
    def total(self) -> int:
        """All comparisons of the group."""
        return self.better + self.worse + self.equal + self.inconclusive


@dataclass(frozen=True, slots=True)
class VerdictTable:
    """All comparisons of one pair of variants, and the span of the forest plot's logarithmic axis."""

    baseline: Series
    candidate: Series
    rows: tuple[Verdict, ...]
    axis: tuple[float, float]
    ticks: tuple[float, ...]
    shown: tuple[Verdict, ...] = ()
    """Measured with an interval, and by design without a verdict; ``word`` is None."""
    tallies: tuple[Tally, ...] = ()
    """One per group, in the order of the rows."""

    @property
    def worse(self) -> tuple[Verdict, ...]:
        """What must not be folded away."""
        return tuple(row for row in self.rows if row.word == "worse")


@dataclass(frozen=True, slots=True)
class Against:
    """A variant measured by a limit: how often its figure is the limit's, with the interval of the pairs."""

    scenario: str
    quantity: str
    limit: str
    who: str
    ratio: Estimate
