"""What things cost at rest: memory per connection, single operations, and the shares of a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from crossfade.harness.stats.growth import Course
from crossfade.reports.page.base import Estimate, Series

What = Literal["kernel", "machine", "child"]


@dataclass(frozen=True, slots=True)
class Fit:
    who: Series
    state: str
    points: tuple[tuple[float, float], ...]
    """(connections, KiB)"""
    slope: Estimate
    """KiB per connection"""
    intercept_mib: float
    r2: float
    target: float | None


@dataclass(frozen=True, slots=True)
class Beside:
    """What is told beside a slope and is no part of it, in KiB each: the kernel's memory (``machine``: of the whole
    machine, both ends of every connection), or a child's own."""

    who: Series
    what: What
    kib: Estimate


@dataclass(frozen=True, slots=True)
class Ladder:
    """``per`` is what is counted on the rungs: a connection, a session, a child."""

    scenario: str
    title: str
    fits: tuple[Fit, ...]
    per: str = "connection"
    beside: tuple[Beside, ...] = ()


@dataclass(frozen=True, slots=True)
class SoakCurve:
    """Memory of one block over time: (minutes, MiB). ``cut`` points are warm-up; ``line`` is its two ends."""

    who: Series
    round: int
    points: tuple[tuple[float, float], ...]
    course: Course
    calls: int
    cut: int = 0
    line: tuple[tuple[float, float], tuple[float, float]] | None = None
    per_1000_calls: Estimate | None = None
    per_minute: Estimate | None = None


@dataclass(frozen=True, slots=True)
class Soak:
    scenario: str
    title: str
    curves: tuple[SoakCurve, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    name: str
    costs: tuple[tuple[Series, Estimate], ...]
    """ns per operation"""


@dataclass(frozen=True, slots=True)
class Timing:
    """Nanoseconds of one operation: the smallest, median and 99th percentile batch, each the median over blocks."""

    min_ns: float
    p50_ns: float
    p99_ns: float


@dataclass(frozen=True, slots=True)
class TimingRow:
    """One operation at one size; ``cells`` are in the order of the table's columns, None where there is none."""

    name: str
    size: str
    cells: tuple[Timing | None, ...]


@dataclass(frozen=True, slots=True)
class TimingTable:
    """Operations side by side. ``what`` says what the columns have in common."""

    what: str
    columns: tuple[str, ...]
    rows: tuple[TimingRow, ...]


@dataclass(frozen=True, slots=True)
class Share:
    """Where the processor time of one call in process goes, in microseconds; None where it cannot be told apart."""

    who: Series
    whole: float
    policy: float
    crossing: float | None

    @property
    def shell(self) -> float:
        """What is left: the event loop, the connection, the envelope."""
        return max(0.0, self.whole - self.policy - (self.crossing or 0.0))
