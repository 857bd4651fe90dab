"""From load phases to the blocks of the page that show time and latency: sweeps, tails, faults, series. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from crossfade.harness.samples import Block, LoadPoint, Results, ScenarioKind
from crossfade.harness.stats import Analysis, Curve, classify, distribution, percentiles
from crossfade.reports.measured import Cast, absent, answered, summary, title
from crossfade.reports.page import (
    Crash,
    CrashBlock,
    Quantiles,
    RateCurve,
    RatePoint,
    Series,
    Sweep,
    Tail,
    Tails,
    Trace,
    Traces,
)
from crossfade.reports.words import plain, rate

LABELLED = (50.0, 90.0, 99.0, 99.9)
_MARKS = {
    "crash": "server dies",
    "hang": "server hangs",
    "flap": "server flaps",
    "garbage": "garbage for answers",
    "reset": "connections reset",
    "drip": "answers drip",
    "recover": "server is back",
    "update": "update begins",
    "updated": "update is through",
}


def sweeps(results: Results, analysis: Analysis, cast: Cast) -> tuple[Sweep, ...]:
    """Latency against rate; the knee is the blocks' own, averaged over rounds."""
    found = []
    for record in results.scenarios:
        curves = [curve for curve in analysis.curves if curve.scenario == record.name]
        if record.kind == "sweep" and curves:
            drawn = tuple(_rate_curve(analysis, curve, cast[curve.variant]) for curve in curves)
            objective = record.objective_p99_ms or 10.0
            found.append(Sweep(plain(record.name), objective, drawn, absent(results, record)))
    return tuple(found)


def _rate_curve(analysis: Analysis, curve: Curve, who: Series) -> RateCurve:
    points = tuple(
        RatePoint(
            rate=point.rate_per_s,
            achieved=point.achieved_per_s,
            p50_ms=_ms(point.latency.p50_us),
            p99_ms=_ms(point.latency.p99_us),
            cpu_us=point.cpu_us_per_request,
            held=point.held == point.rounds,
        )
        for point in curve.points
    )
    knee = summary(analysis, curve.scenario, curve.variant, "knee_per_s")
    return RateCurve(
        who=who,
        points=points,
        knee=knee.mean if knee is not None and knee.mean > 0 else None,
        beyond=bool(points) and points[-1].held,
    )


def _ms(us: float | None) -> float | None:
    return None if us is None else us / 1000


def tails(results: Results, analysis: Analysis, cast: Cast) -> tuple[Tails, ...]:
    """Percentiles at the highest rate that every variant held in all rounds, else at the lowest that all were
    offered."""
    found = []
    for record in results.scenarios:
        curves = [c for c in analysis.curves if c.scenario == record.name]
        at = _common_rate([c for c in curves if c.kind == "variant"] or curves)
        if at is None:
            continue
        drawn = []
        for curve in curves:
            points = [
                p for b in results.of(record.name, curve.variant) for p in b.points if p.rate_per_s == at and p.latency
            ]
            if points:
                drawn.append(_tail(cast[curve.variant], points))
        if drawn:
            found.append(Tails(plain(record.name), f"{rate(at)} requests/s, open loop", tuple(drawn)))
    return tuple(found)


def fixed(results: Results, cast: Cast) -> tuple[Tails, ...]:
    """Percentiles of the scenarios that have one rate, rounds merged."""
    found = []
    for record, phases in answered(results, "latency"):
        first = next(iter(phases.values()))[0]
        load = f"{rate(first.rate_per_s or first.throughput_per_s)} requests/s, open loop"
        drawn = tuple(_tail(cast[variant], points) for variant, points in phases.items())
        found.append(Tails(plain(record.name), load, drawn))
    return tuple(found)


def _common_rate(curves: list[Curve]) -> float | None:
    if not curves:
        return None
    held = [{p.rate_per_s for p in c.points if p.held == p.rounds} for c in curves]
    offered = [{p.rate_per_s for p in c.points} for c in curves]
    if kept := set.intersection(*held):
        return max(kept)
    return min(set.intersection(*offered), default=None)


def _tail(who: Series, points: list[LoadPoint]) -> Tail:
    drawn = tuple((p, us / 1000) for p, us in distribution([point.latency for point in points]) if p <= LABELLED[-1])
    reached = {p for p, _ in drawn}
    return Tail(
        who=who,
        samples=sum(point.completed for point in points),
        points=drawn,
        too_few=tuple(p for p in LABELLED if p not in reached),
        service_ms=_quantiles([point.service for point in points]),
        lag_ms=_quantiles([point.lag for point in points]),
    )


def _quantiles(blobs: list[str]) -> Quantiles:
    found = percentiles(blobs)
    return _ms(found.p50_us), _ms(found.p99_us)


def crashes(results: Results, cast: Cast, kind: ScenarioKind = "faults") -> tuple[Crash, ...]:
    """The way of every variant through each fault or update; clocks start at the first mark of each block."""
    found = []
    for record in results.scenarios:
        if record.kind != kind:
            continue
        for variant in record.variants:
            blocks = results.of(record.name, variant)
            everything = results.of(record.name, variant, only_ok=False)  # who never recovers is void, and must be seen
            drawn = tuple(b for block in everything for b in _crash_blocks(block))
            if drawn:
                middle = {
                    metric: statistics.median(values)
                    for metric in ("first_success_ms", "restored_ms", "failed_requests", "hung_requests", "update_ms")
                    if (values := [b.metrics[metric] for b in blocks if metric in b.metrics])
                }
                found.append(
                    Crash(
                        scenario=plain(record.name),
                        who=cast[variant],
                        blocks=drawn,
                        first_success_ms=middle.get("first_success_ms"),
                        restored_ms=middle.get("restored_ms"),
                        failed=middle.get("failed_requests"),
                        hung=middle.get("hung_requests"),
                        title=title(record),
                        update_ms=middle.get("update_ms"),
                    )
                )
    return tuple(found)


def _crash_blocks(block: Block) -> Iterator[CrashBlock]:
    for point in block.points:
        if point.series and block.marks:
            zero = block.marks[0].t_ms
            t, completed, errors = _per_second(point)
            yield CrashBlock(
                t_s=tuple(round(at - zero / 1000, 4) for at in t),
                completed_per_s=completed,
                errors_per_s=errors,
                marks=tuple(
                    ((mark.t_ms - zero) / 1000, _MARKS.get(mark.what, plain(mark.what))) for mark in block.marks
                ),
            )


def _per_second(point: LoadPoint) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Middle of each interval in seconds, and completions and errors as rates; intervals need not be equal."""
    ends = _ends(point)
    widths = [end - start for start, end in zip([0.0, *ends], ends, strict=False)]
    middles = tuple(end - width / 2 for end, width in zip(ends, widths, strict=True))
    completed = tuple(p.completed / w if w > 0 else 0.0 for p, w in zip(point.series, widths, strict=True))
    errors = tuple(p.errors / w if w > 0 else 0.0 for p, w in zip(point.series, widths, strict=True))
    return middles, completed, errors


def _ends(point: LoadPoint) -> list[float]:
    """Where each interval ends, in seconds. A series that opens at nought tells where its intervals start instead."""
    told = [p.t_ms / 1000 for p in point.series]
    if told[0] > 0:
        return told
    return [*told[1:], told[-1] + (told[-1] - told[-2]) if len(told) > 1 else point.duration_s]


def traces(results: Results, cast: Cast) -> tuple[Traces, ...]:
    """Every block's series with the shape the segmentation gives it; sweeps have a series per rate and are left out."""
    found = []
    for record in results.scenarios:
        if record.kind not in ("throughput", "calls"):
            continue
        for variant in record.variants:
            blocks = []
            for block in results.of(record.name, variant, only_ok=False):
                for point in block.points:
                    if point.series:
                        t, completed, _ = _per_second(point)
                        blocks.append(Trace(t, completed, classify(completed), block.status != "ok"))
            if blocks:
                found.append(Traces(plain(record.name), cast[variant], tuple(blocks)))
    return tuple(found)
