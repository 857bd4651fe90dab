"""From results to the blocks of the page that show measurements. Pure; every number is a stored or an analysed one."""

from __future__ import annotations

from collections.abc import Iterator

from crossfade.harness.samples import METRICS, Block, LoadPoint, Results, ScenarioKind, ScenarioRecord
from crossfade.harness.stats import Analysis, Summary
from crossfade.reports.groups import PROVOKED
from crossfade.reports.page import (
    Bar,
    Estimate,
    Fault,
    Operation,
    Series,
    Work,
)
from crossfade.reports.words import brief, joined, plain

_KNOWN = {"python": ("v0", "o"), "rust": ("v1", "D"), "numba": ("v2", "^"), "rust-core": ("v3", "v")}
_SPARE = (("v4", "s"), ("v5", "P"))
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


def answered(results: Results, kind: ScenarioKind) -> Iterator[tuple[ScenarioRecord, dict[str, list[LoadPoint]]]]:
    """Scenarios of a kind with, by variant, the phases of all rounds that have latencies; none without any."""
    for record in results.scenarios:
        if record.kind == kind:
            phases = {
                v: [p for b in results.of(record.name, v) for p in b.points if p.latency] for v in record.variants
            }
            if found := {variant: points for variant, points in phases.items() if points}:
                yield record, found


def works(results: Results, analysis: Analysis, cast: Cast) -> tuple[Work, ...]:
    """Saturation throughput and CPU per request of every scenario that measures them."""
    found = (
        Work(
            scenario=plain(record.name),
            title=title(record),
            throughput=_bars(results, analysis, cast, record, "throughput_per_s"),
            cpu_us=_bars(results, analysis, cast, record, "cpu_us_per_request"),
            ratios=_ratios(analysis, record.name),
            absent=absent(results, record),
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


def absent(results: Results, record: ScenarioRecord) -> tuple[str, ...]:
    """Who was measured and has no block that counts."""
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
        provoked=record.kind in PROVOKED,
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
