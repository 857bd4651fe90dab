"""What the page shows, as plain data: one frozen class per block of the page, nothing measured and nothing drawn here.

:mod:`view` fills these from results, :mod:`figures` draws them, the templates print them. A quantity that could not
be had is None or an empty tuple, never a made-up number; each block says in ``note`` or ``why`` what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Word = Literal["better", "worse", "equal", "inconclusive"]
"""``equal``: settled, and no difference that matters; ``inconclusive``: more rounds would tell."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval; ``low`` and ``high`` are None where one round leaves no interval."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """Who is drawn: a variant or a limit. ``ink`` names its CSS variable, ``marker`` its shape, both fixed per name."""

    name: str
    ink: str
    marker: str
    limit: bool = False


@dataclass(frozen=True, slots=True)
class Banner:
    """Something that must be known before any number is read."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """One large number of the opening strip."""

    value: str
    text: str
    detail: str = ""


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


@dataclass(frozen=True, slots=True)
class Against:
    """A variant measured by a limit: how often its figure is the limit's, with the interval of the pairs."""

    scenario: str
    quantity: str
    limit: str
    who: str
    ratio: Estimate


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


@dataclass(frozen=True, slots=True)
class Tail:
    """Latency by percentile at one rate, cut where the samples no longer carry it."""

    who: Series
    samples: int
    points: tuple[tuple[float, float], ...]
    """(percentile 0..100, milliseconds)"""
    too_few: tuple[float, ...]
    """The percentiles of 50, 90, 99, 99.9 that this many samples cannot give."""


@dataclass(frozen=True, slots=True)
class Tails:
    scenario: str
    load: str
    curves: tuple[Tail, ...]


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
class Ladder:
    scenario: str
    title: str
    fits: tuple[Fit, ...]


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


@dataclass(frozen=True, slots=True)
class CrashBlock:
    """One block around a fault: times relative to the fault, completions and errors per second."""

    t_s: tuple[float, ...]
    completed_per_s: tuple[float, ...]
    errors_per_s: tuple[float, ...]
    marks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Crash:
    """How one variant went through a fault: every block, and the median of what was lost and how long it took."""

    scenario: str
    who: Series
    blocks: tuple[CrashBlock, ...]
    first_success_ms: float | None
    restored_ms: float | None
    failed: float | None
    hung: float | None


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests per second inside one block, interval by interval; ``shape`` is what the segmentation called it."""

    t_s: tuple[float, ...]
    per_s: tuple[float, ...]
    shape: str
    voided: bool


@dataclass(frozen=True, slots=True)
class Traces:
    scenario: str
    who: Series
    blocks: tuple[Trace, ...]


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure the project set itself: what was asked, what was measured (None: not measured), and whether it is
    met."""

    text: str
    asked: str
    measured: str | None
    met: bool | None


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
    operations: tuple[Operation, ...] = ()
    timings: tuple[TimingTable, ...] = ()
    shares: tuple[Share, ...] = ()
    crashes: tuple[Crash, ...] = ()
    traces: tuple[Traces, ...] = ()
    goals: tuple[Goal, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    scenarios: tuple[tuple[str, str, str], ...] = ()
    """(name, what it does, hash)"""
    method: tuple[str, ...] = ()
    raw: str = "results.json"
    command: str = ""
    attachments: tuple[tuple[str, str], ...] = ()
    """(relative path, what it explains)"""
