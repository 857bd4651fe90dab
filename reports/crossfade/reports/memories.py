"""From results to the blocks of the page that show memory: ladders with what stands beside them, and soaks. Pure."""

from __future__ import annotations

from crossfade.harness.samples import Results, ScenarioKind, ScenarioRecord
from crossfade.harness.stats import Analysis
from crossfade.harness.stats.soaks import Soaked, soaks
from crossfade.reports.measured import Cast, summary, title
from crossfade.reports.page import Beside, Estimate, Fit, Ladder, Soak, SoakCurve
from crossfade.reports.page.costs import What
from crossfade.reports.targets import memory_target
from crossfade.reports.words import plain

PER: dict[ScenarioKind, str] = {
    "memory_clients": "connection",
    "memory_upstreams": "upstream connection",
    "memory_stdio": "stdio child",
    "memory_sessions": "session",
}
"""What is counted on a ladder's rungs."""
_BESIDE: tuple[tuple[What, str], ...] = (
    ("kernel", "kernel_kib"),
    ("machine", "machine_kernel_kib"),
    ("child", "child_kib"),
)


def ladders(results: Results, analysis: Analysis, cast: Cast) -> tuple[Ladder, ...]:
    """Memory against what is counted: the rungs of all rounds and the line through them."""
    found = []
    for record in results.scenarios:
        fits = tuple(
            Fit(
                who=cast[ladder.variant],
                state=ladder.state,
                points=tuple((float(n), kib) for n, kib in ladder.points),
                slope=Estimate(ladder.line.slope, ladder.line.low, ladder.line.high),
                intercept_mib=ladder.line.intercept / 1024,
                r2=ladder.line.r_squared,
                target=memory_target(record.name, ladder.variant) if ladder.state == "idle" else None,
            )
            for ladder in analysis.ladders
            if ladder.scenario == record.name
        )
        if fits:
            per = PER.get(record.kind, "connection")
            found.append(Ladder(plain(record.name), title(record), fits, per, _beside(analysis, record, cast)))
    return tuple(found)


def _beside(analysis: Analysis, record: ScenarioRecord, cast: Cast) -> tuple[Beside, ...]:
    told = []
    for what, metric in _BESIDE:
        for variant in record.variants:
            found = summary(analysis, record.name, variant, metric)
            if found is not None:
                told.append(Beside(cast[variant], what, Estimate(found.mean, found.low, found.high)))
    return tuple(told)


def soaked(results: Results, cast: Cast) -> tuple[Soak, ...]:
    """Memory over time, a curve per block, those that failed for their growth included."""
    by_name: dict[str, list[Soaked]] = {}
    for one in soaks(results):
        by_name.setdefault(one.scenario, []).append(one)
    return tuple(
        Soak(plain(record.name), title(record), tuple(_curve(one, cast) for one in by_name[record.name]))
        for record in results.scenarios
        if record.name in by_name
    )


def _curve(one: Soaked, cast: Cast) -> SoakCurve:
    points = tuple((s.t_ms / 60_000, s.line_kib() / 1024) for s in one.samples)
    calls = one.samples[-1].calls
    if one.fits is None:
        return SoakCurve(cast[one.variant], one.round, points, one.course, calls)
    over_calls, minutes = one.fits.per_1000_calls, one.fits.per_minute
    begin, end = (
        (at, (minutes.intercept + minutes.slope * at) / 1024) for at in (points[minutes.cut][0], points[-1][0])
    )
    return SoakCurve(
        who=cast[one.variant],
        round=one.round,
        points=points,
        course=one.course,
        calls=calls,
        cut=minutes.cut,
        line=(begin, end),
        per_1000_calls=Estimate(over_calls.slope, over_calls.low, over_calls.high),
        per_minute=Estimate(minutes.slope, minutes.low, minutes.high),
    )
