"""The page as one value, in reading order."""

from __future__ import annotations

from dataclasses import dataclass

from crossfade.reports.page.base import Banner, Goal, KeyFigure, Series
from crossfade.reports.page.costs import Ladder, Operation, Share, Soak, TimingTable
from crossfade.reports.page.events import Crash, Traces
from crossfade.reports.page.load import Fault, Sweep, Tails, Work
from crossfade.reports.page.ruler import Check
from crossfade.reports.page.scale import Drains, MeasureTable, Scaling
from crossfade.reports.page.verdicts import Against, VerdictTable

FOLD = 36
"""Comparisons a page shows at once; with more of them each group is folded under its tally."""


@dataclass(frozen=True, slots=True)
class Page:
    """The whole page, in reading order."""

    title: str
    headline: str
    standfirst: tuple[str, ...]
    kicker: tuple[str, ...]
    banners: tuple[Banner, ...]
    series: tuple[Series, ...]
    keys: tuple[KeyFigure, ...] = ()
    verdicts: tuple[VerdictTable, ...] = ()
    work: tuple[Work, ...] = ()
    against: tuple[Against, ...] = ()
    faults: tuple[Fault, ...] = ()
    sweeps: tuple[Sweep, ...] = ()
    tails: tuple[Tails, ...] = ()
    ladders: tuple[Ladder, ...] = ()
    soaks: tuple[Soak, ...] = ()
    operations: tuple[Operation, ...] = ()
    timings: tuple[TimingTable, ...] = ()
    shares: tuple[Share, ...] = ()
    instructions: tuple[tuple[str, ...], tuple[tuple[str, ...], ...]] = ((), ())
    """Head and rows of callgrind's counts."""
    crashes: tuple[Crash, ...] = ()
    changes: tuple[Crash, ...] = ()
    """Updates under load, drawn as faults are: what is answered, what fails, and when."""
    traces: tuple[Traces, ...] = ()
    measures: tuple[MeasureTable, ...] = ()
    checks: tuple[Check, ...] = ()
    drains: tuple[Drains, ...] = ()
    scalings: tuple[Scaling, ...] = ()
    node_latencies: tuple[tuple[str, ...], ...] = ()
    """(scenario, variant, nodes, offered rate, p50, p99), in words"""
    goals: tuple[Goal, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    scenarios: tuple[tuple[str, str, str], ...] = ()
    """(name, what it does, hash)"""
    method: tuple[str, ...] = ()
    raw: str = "results.json"
    command: str = ""
    attachments: tuple[tuple[str, str], ...] = ()
    """(relative path, what it explains)"""

    @property
    def questions(self) -> int:
        """Comparisons that were asked for a verdict, over all candidates."""
        return sum(len(table.rows) for table in self.verdicts)

    @property
    def folded(self) -> bool:
        """Whether there are more comparisons than a reader takes in at once."""
        return self.questions > FOLD
