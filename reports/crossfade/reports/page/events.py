"""What happened over time: the way through a fault, and the series inside blocks."""

from __future__ import annotations

from dataclasses import dataclass

from crossfade.reports.page.base import Series


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
    title: str = ""
    update_ms: float | None = None
    """How long an update took; None for a fault."""


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
