"""From results to the tables and curves of bursts, storms, faults, beginnings, updates and nodes. Pure.

The rule: a table has the metrics its scenarios name, in the order of METRICS; a metric that nobody measured is no
column, and a variant of which nothing counts keeps its row.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from crossfade.harness.samples import METRICS, LoadPoint, Results, ScenarioKind, ScenarioRecord
from crossfade.harness.stats import Analysis, Summary, summarise
from crossfade.harness.stats.latency import merged, percentiles
from crossfade.reports.groups import group_of
from crossfade.reports.measured import Cast, answered, summary, title
from crossfade.reports.page import (
    Cell,
    Drain,
    Drains,
    Estimate,
    MeasureRow,
    MeasureTable,
    NodeCurve,
    NodePoint,
    Scaling,
    Series,
)
from crossfade.reports.words import milliseconds, plain, rate

TITLES: dict[ScenarioKind, str] = {
    "latency": "Latency at one fixed rate",
    "burst": "Bursts",
    "connect": "Connection storms",
    "soak": "Under steady churn",
    "faults": "What each fault cost, and how long until it was over",
    "lifecycle": "Start, shutdown, and a killed child",
    "deploy": "Updates under load",
}
"""Kinds that have a table, and its title; their order is that of the page."""
MUST_BE_NOUGHT = {("deploy", "failed_requests")} | {(kind, "hung_requests") for kind in TITLES}
_STEPS = tuple(range(0, 100, 2))


def tables(results: Results, analysis: Analysis, cast: Cast) -> tuple[MeasureTable, ...]:
    """One table per kind that ran."""
    found = []
    for kind, words in TITLES.items():
        records = [record for record in results.scenarios if record.kind == kind]
        named = {name for record in records for name in (*record.headline, *record.shown)}
        columns = [m for m in METRICS if m in named and any(s.metric == m for s in _mine(analysis, records))]
        rows = tuple(
            MeasureRow(
                plain(record.name),
                title(record),
                cast[variant],
                tuple(_cell(results, analysis, record, variant, name) for name in columns),
                len(results.of(record.name, variant)),
            )
            for record in records
            for variant in record.variants
        )
        if columns:
            titles = tuple(METRICS[name].title for name in columns)
            found.append(MeasureTable(group_of(kind).key, kind, words, titles, rows))
    return tuple(found)


def _mine(analysis: Analysis, records: Iterable[ScenarioRecord]) -> list[Summary]:
    names = {record.name for record in records}
    return [s for s in analysis.summaries if s.scenario in names]


def _cell(results: Results, analysis: Analysis, record: ScenarioRecord, variant: str, name: str) -> Cell | None:
    found = summary(analysis, record.name, variant, name)
    if found is None:
        return None
    unit = METRICS[name].unit
    if unit != "requests":
        return Cell(found.mean, unit, found.low, found.high)
    values = [b.metrics[name] for b in results.of(record.name, variant) if name in b.metrics]
    bad = (record.kind, name) in MUST_BE_NOUGHT and found.maximum > 0
    return Cell(statistics.median(values), unit, most=found.maximum, bad=bad)


def drains(results: Results, cast: Cast) -> tuple[Drains, ...]:
    """Bursts: all requests are due at one instant, so that the latencies are the times of the answers."""
    found = []
    for record, phases in answered(results, "burst"):
        first = next(iter(phases.values()))[0]
        load = f"{first.sent:,} requests at once over {first.connections:,} connections"
        curves = tuple(_drain(cast[variant], points) for variant, points in phases.items())
        found.append(Drains(plain(record.name), title(record), load, curves))
    return tuple(found)


def _drain(who: Series, points: list[LoadPoint]) -> Drain:
    histogram = merged([point.latency for point in points])
    curve = [(histogram.value_at_percentile(p) / 1e6, float(p)) for p in _STEPS if histogram.total_count]
    curve.append((histogram.max_value / 1e6, 100.0))
    return Drain(who, tuple(curve), histogram.total_count)


def scalings(results: Results, cast: Cast) -> tuple[Scaling, ...]:
    """CPU per request over the number of nodes, from saturated load points that say how many there were."""
    found = []
    for record in results.scenarios:
        if record.kind == "nodes":
            curves = tuple(curve for v in record.variants if (curve := _curve(results, cast, record, v)).points)
            if curves:
                cores = len(results.environment.cpu.affinity)
                found.append(Scaling(plain(record.name), title(record), cores, curves))
    return tuple(found)


def _curve(results: Results, cast: Cast, record: ScenarioRecord, variant: str) -> NodeCurve:
    costs: dict[int, list[LoadPoint]] = {}
    for block in results.of(record.name, variant):
        for point in block.points:
            if point.nodes is not None and point.rate_per_s is None and point.cpu_us_per_request:
                costs.setdefault(point.nodes, []).append(point)
    points = []
    for nodes, group in sorted(costs.items()):
        values = [p.cpu_us_per_request or 0.0 for p in group]
        spent = summarise(values, scenario="", variant="", kind="variant", metric="cpu_us_per_request")
        served = statistics.fmean(p.throughput_per_s for p in group)
        points.append(NodePoint(nodes, Estimate(spent.mean, spent.low, spent.high), served))
    return NodeCurve(cast[variant], tuple(points))


def node_latencies(results: Results) -> tuple[tuple[str, ...], ...]:
    """(scenario, variant, nodes, offered rate, p50, p99) of open loops over several nodes, rounds merged."""
    found: dict[tuple[str, str, int, float], list[str]] = {}
    for record in results.scenarios:
        if record.kind == "nodes":
            for block in results.of(record.name):
                for point in block.points:
                    if point.nodes is not None and point.rate_per_s is not None:
                        key = (record.name, block.variant, point.nodes, point.rate_per_s)
                        found.setdefault(key, []).append(point.latency)
    rows = []
    for (scenario, variant, nodes, offered), blobs in sorted(found.items()):
        at = percentiles(blobs)
        told = ("too few" if us is None else milliseconds(us / 1000) for us in (at.p50_us, at.p99_us))
        rows.append((plain(scenario), plain(variant), str(nodes), rate(offered), *told))
    return tuple(rows)
