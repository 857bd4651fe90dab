"""What the page shows, as plain data: one frozen class per block of the page, nothing measured and nothing drawn here.

:mod:`view` fills these from results, :mod:`figures` draws them, the templates print them. A quantity that could not
be had is None or an empty tuple, never a made-up number; each block says in ``note`` or ``why`` what is missing.
"""

from crossfade.reports.page.base import Banner, Estimate, Goal, KeyFigure, Series, Word
from crossfade.reports.page.costs import (
    Beside,
    Fit,
    Ladder,
    Operation,
    Share,
    Soak,
    SoakCurve,
    Timing,
    TimingRow,
    TimingTable,
)
from crossfade.reports.page.events import Crash, CrashBlock, Trace, Traces
from crossfade.reports.page.load import Bar, Fault, Quantiles, RateCurve, RatePoint, Sweep, Tail, Tails, Work
from crossfade.reports.page.ruler import Check
from crossfade.reports.page.scale import Cell, Drain, Drains, MeasureRow, MeasureTable, NodeCurve, NodePoint, Scaling
from crossfade.reports.page.verdicts import Against, Tally, Verdict, VerdictTable
from crossfade.reports.page.whole import Page

__all__ = [
    "Against",
    "Banner",
    "Bar",
    "Beside",
    "Cell",
    "Check",
    "Crash",
    "CrashBlock",
    "Drain",
    "Drains",
    "Estimate",
    "Fault",
    "Fit",
    "Goal",
    "KeyFigure",
    "Ladder",
    "MeasureRow",
    "MeasureTable",
    "NodeCurve",
    "NodePoint",
    "Operation",
    "Page",
    "Quantiles",
    "RateCurve",
    "RatePoint",
    "Scaling",
    "Series",
    "Share",
    "Soak",
    "SoakCurve",
    "Sweep",
    "Tail",
    "Tails",
    "Tally",
    "Timing",
    "TimingRow",
    "TimingTable",
    "Trace",
    "Traces",
    "Verdict",
    "VerdictTable",
    "Word",
    "Work",
]
