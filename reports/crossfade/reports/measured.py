"""From results to the blocks of the page that show measurements. Pure; every number is a stored or an analysed one."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from crossfade.harness.samples import METRICS, Block, LoadPoint, Results, ScenarioRecord
from crossfade.harness.stats import Analysis, Curve, Summary, classify, distribution
from crossfade.reports.page import (
    Bar,
    Crash,
    CrashBlock,
    Estimate,
    Fault,
    Fit,
    Ladder,
    Operation,
    RateCurve,
    RatePoint,
    Series,
    Sweep,
    Tail,
    Tails,
    Trace,
    Traces,
    Work,
)
from crossfade.reports.targets import memory_target
from crossfade.reports.words import brief, joined, plain, rate

LABELLED = (50.0, 90.0, 99.0, 99.9)
_KNOWN = {"python": ("v0", "o"), "rust": ("v1", "D"), "numba": ("v2", "^"), "rust-core": ("v3", "v")}
_SPARE = (("v4", "s"), ("v5", "P"))
_MARKS = {"crash": "server dies", "recover": "server is back"}
_NS = {"ns": 1.0, "us": 1e3, "ms": 1e6}


class Cast:
    """Who is drawn how: a known variant looks the same in every report, whatever else was measured with it."""

    def __init__(self, results: Results) -> None:
        self._all: dict[str, Series] = {}
        spare = 0
        for record in results.variants:
            if record.kind == "limit":
                look = ("limit", "s" if record.name == "nginx" else "^")
            elif record.name in _KNOWN:
                look = _KNOWN[record.name]
            else:
                look = _SPARE[spare % len(_SPARE)]
                spare += 1
            self._all[record.name] = Series(plain(record.name), *look, limit=record.kind == "limit")
        self.variants = tuple(name for name in (results.baseline, *results.candidates) if name in self._all)

    def __getitem__(self, name: str) -> Series:
        return self._all[name]

    def __iter__(self) -> Iterator[Series]:
        return iter(self._all.values())


def summary(analysis: Analysis, scenario: str, variant: str, metric: str) -> Summary | None:
    """The summary of one metric, or None if no block carried it."""
    return next(
        (s for s in analysis.summaries if (s.scenario, s.variant, s.metric) == (scenario, variant, metric)), None
    )


def title(record: ScenarioRecord) -> str:
    """The scenario's title for a drawing, where code marks cannot be set."""
    return plain(record.title.replace("`", ""))


def works(results: Results, analysis: Analysis, cast: Cast) -> tuple[Work, ...]:
    """Saturation throughput and CPU per request of every scenario that measures them."""
    found = (
        Work(
            scenario=plain(record.name),
            title=title(record),
            throughput=_bars(results, analysis, cast, record, "throughput_per_s"),
            cpu_us=_bars(results, analysis, cast, record, "cpu_us_per_request"),
            ratios=_ratios(analysis, record.name),
            absent=_absent(results, record),
        )
        for record in results.scenarios
        if record.kind in ("throughput", "calls")
    )
    return tuple(work for work in found if work.throughput or work.cpu_us)


def _ratios(analysis: Analysis, scenario: str) -> tuple[tuple[str, str, Estimate], ...]:
    """Candidates against the baseline, and everyone against nginx."""
    pairs = (*analysis.verdicts, *analysis.shown, *(c for c in analysis.limits if c.baseline == "nginx"))
    return tuple(
        (plain(c.candidate), plain(c.baseline), Estimate(c.ratio, c.low, c.high))
        for c in pairs
        if (c.scenario, c.metric) == (scenario, "throughput_per_s")
    )


def _absent(results: Results, record: ScenarioRecord) -> tuple[str, ...]:
    return tuple(plain(v) for v in record.variants if not results.of(record.name, v))


def _bars(results: Results, analysis: Analysis, cast: Cast, record: ScenarioRecord, metric: str) -> tuple[Bar, ...]:
    bars = []
    for variant in record.variants:
        found = summary(analysis, record.name, variant, metric)
        if found is not None:
            values = tuple(b.metrics[metric] for b in results.of(record.name, variant) if metric in b.metrics)
            bars.append(Bar(cast[variant], found.mean, values))
    return tuple(bars)


def faults(results: Results, cast: Cast) -> tuple[Fault, ...]:
    """One row per variant and scenario that sent requests, counting failed and void blocks too."""
    rows = []
    for record in results.scenarios:
        for variant in record.variants:
            blocks = results.of(record.name, variant, only_ok=False)
            if blocks:
                rows.append(_fault(record, cast[variant], blocks))
    return tuple(rows)


def _fault(record: ScenarioRecord, who: Series, blocks: list[Block]) -> Fault:
    points = [point for block in blocks for point in block.points]
    errors: dict[str, int] = {}
    for source in (*(p.errors for p in points), *(b.errors for b in blocks if not b.points)):
        for kind, count in source.items():
            if count:
                errors[plain(kind)] = errors.get(plain(kind), 0) + count
    return Fault(
        scenario=plain(record.name),
        who=who,
        provoked=record.kind == "faults",
        blocks=len(blocks),
        sent=sum(p.sent for p in points),
        completed=sum(p.completed for p in points),
        errors=tuple(sorted(errors.items(), key=lambda item: (-item[1], item[0]))),
        mismatches=sum(p.mismatches for p in points),
        missed_sends=sum(p.missed_sends for p in points),
        voided=_reasons(blocks),
        lost=sum(b.status != "ok" for b in blocks),
    )


def _reasons(blocks: list[Block]) -> tuple[str, ...]:
    """Why blocks do not count, each reason once with its rounds."""
    rounds: dict[str, list[str]] = {}
    for b in blocks:
        if b.status != "ok":
            rounds.setdefault(f"{b.status}: {brief(b.error or 'no reason given')}", []).append(str(b.round))
    return tuple(f"{'round' if len(n) == 1 else 'rounds'} {joined(n)} {reason}" for reason, n in rounds.items())


def sweeps(results: Results, analysis: Analysis, cast: Cast) -> tuple[Sweep, ...]:
    """Latency against rate; the knee is the blocks' own, averaged over rounds."""
    found = []
    for record in results.scenarios:
        curves = [curve for curve in analysis.curves if curve.scenario == record.name]
        if record.kind == "sweep" and curves:
            drawn = tuple(_rate_curve(analysis, curve, cast[curve.variant]) for curve in curves)
            objective = record.objective_p99_ms or 10.0
            found.append(Sweep(plain(record.name), objective, drawn, _absent(results, record)))
    return tuple(found)


def _rate_curve(analysis: Analysis, curve: Curve, who: Series) -> RateCurve:
    points = tuple(
        RatePoint(
            rate=point.rate_per_s,
            achieved=point.achieved_per_s,
            p50_ms=_ms(point.latency.p50_us),
            p99_ms=_ms(point.latency.p99_us),
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
    )


def ladders(results: Results, analysis: Analysis, cast: Cast) -> tuple[Ladder, ...]:
    """Memory against connections: the rungs of all rounds and the line through them."""
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
            found.append(Ladder(plain(record.name), title(record), fits))
    return tuple(found)


def operations(results: Results, analysis: Analysis, cast: Cast) -> tuple[Operation, ...]:
    """Cost of each policy operation in ns, dearest baseline first as METRICS orders them."""
    found = []
    for record in results.scenarios:
        if record.kind != "ops":
            continue
        for metric in METRICS.values():
            scale = _NS.get(metric.unit)
            costs = []
            for variant in record.variants:
                cost = summary(analysis, record.name, variant, metric.name)
                if cost is not None and scale is not None:
                    ends = (None if end is None else end * scale for end in (cost.low, cost.high))
                    costs.append((cast[variant], Estimate(cost.mean * scale, *ends)))
            if costs:
                found.append(Operation(metric.title, tuple(costs)))
    return tuple(found)


def crashes(results: Results, cast: Cast) -> tuple[Crash, ...]:
    """The way of every variant through the fault; clocks start at the first mark of each block."""
    found = []
    for record in results.scenarios:
        if record.kind != "faults":
            continue
        for variant in record.variants:
            blocks = results.of(record.name, variant)
            everything = results.of(record.name, variant, only_ok=False)  # who never recovers is void, and must be seen
            drawn = tuple(b for block in everything for b in _crash_blocks(block))
            if drawn:
                middle = {
                    metric: statistics.median(values)
                    for metric in ("first_success_ms", "restored_ms", "failed_requests", "hung_requests")
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
