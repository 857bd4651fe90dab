"""The view model: from stored results to the plain data of a page. Pure: no clock, no file, no drawing.

The rule: nothing is computed here that :mod:`crossfade.harness.stats` computes; this module orders, turns and names.
"""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime

from crossfade.harness.samples import METRICS, Results
from crossfade.harness.stats import ALPHA, Analysis, Comparison, analyse
from crossfade.reports import facts, measured, measures, memories, phases, ruler, story, timings
from crossfade.reports.groups import GROUPS, titles
from crossfade.reports.measured import Cast, summary
from crossfade.reports.page import Against, Estimate, Page, Tally, Verdict, VerdictTable
from crossfade.reports.targets import goals
from crossfade.reports.words import joined, plain, plural

_STEPS = (
    1,
    10,
    0.1,
    2,
    0.5,
    5,
    0.2,
    3,
    1 / 3,
    20,
    0.05,
    50,
    0.02,
    100,
    0.01,
    1000,
    0.001,
    1.5,
    0.67,
    1.2,
    0.8,
    1.1,
    0.9,
)
"""Ticks of the forest's axis, the most welcome first."""
_GAP = 0.12


def view(results: Results, *, raw: str = "results.json") -> Page:
    """Everything the page shows. ``raw`` is the link to the results, relative to the page."""
    analysis = analyse(results)
    cast = Cast(results)
    return Page(
        title=_title(results),
        headline=story.headline(results, analysis, cast),
        standfirst=story.standfirst(results, analysis),
        kicker=_kicker(results),
        banners=facts.banners(results, analysis, cast),
        series=tuple(cast),
        keys=story.keys(results, analysis, cast),
        verdicts=_verdicts(results, analysis, cast),
        work=measured.works(results, analysis, cast),
        against=tuple(
            Against(
                scenario=plain(c.scenario),
                quantity=METRICS[c.metric].title,
                limit=plain(c.baseline),
                who=plain(c.candidate),
                ratio=Estimate(c.ratio, c.low, c.high),
            )
            for c in analysis.limits
        ),
        faults=measured.faults(results, cast),
        sweeps=phases.sweeps(results, analysis, cast),
        tails=(*phases.tails(results, analysis, cast), *phases.fixed(results, cast)),
        ladders=memories.ladders(results, analysis, cast),
        soaks=memories.soaked(results, cast),
        operations=measured.operations(results, analysis, cast),
        timings=timings.tables(results),
        instructions=timings.instructions(results),
        shares=timings.shares(results, analysis, cast),
        crashes=phases.crashes(results, cast),
        changes=phases.crashes(results, cast, "deploy"),
        measures=measures.tables(results, analysis, cast),
        checks=ruler.checks(results),
        drains=measures.drains(results, cast),
        scalings=measures.scalings(results, cast),
        node_latencies=measures.node_latencies(results),
        traces=phases.traces(results, cast),
        goals=goals(analysis),
        environment=facts.environment(results),
        scenarios=facts.scenarios(results),
        method=facts.method(results, analysis, cast),
        raw=raw,
        command=facts.command(results),
        attachments=tuple(
            (plain(a.path), plain(f"{a.what}: {a.variant} on {a.scenario}")) for a in results.attachments
        ),
    )


def verdict(comparison: Comparison, analysis: Analysis, *, group: str = "", judged: bool = True) -> Verdict:
    """One comparison, its ratio turned so that above 1 the candidate is better; ``judged`` ones have a word."""
    metric = METRICS[comparison.metric]
    higher = metric.better == "higher"
    means = [
        found.mean if (found := summary(analysis, comparison.scenario, name, comparison.metric)) else math.nan
        for name in (comparison.baseline, comparison.candidate)
    ]
    low, high = comparison.low, comparison.high
    turned = Estimate(comparison.ratio, low, high)
    if not higher:
        turned = Estimate(1 / comparison.ratio, 1 / high if high else None, 1 / low if low else None)
    return Verdict(
        scenario=plain(comparison.scenario),
        quantity=metric.title,
        unit=metric.unit,
        baseline=means[0],
        candidate=means[1],
        gain=turned,
        word=story.word(comparison) if judged else None,
        higher_is_better=higher,
        threshold=comparison.threshold,
        pairs=comparison.rounds,
        pairs_needed=comparison.more_rounds,
        group=group,
        corrected=judged and comparison.verdict == "inconclusive" and comparison.p is not None and comparison.p < ALPHA,
    )


def _verdicts(results: Results, analysis: Analysis, cast: Cast) -> tuple[VerdictTable, ...]:
    """A table per candidate; whoever was compared most often comes first, as the headline does."""
    found = (_table(results, analysis, cast, candidate) for candidate in results.candidates)
    return tuple(sorted((table for table in found if table is not None), key=lambda table: -len(table.rows)))


def _table(results: Results, analysis: Analysis, cast: Cast, candidate: str) -> VerdictTable | None:
    group = titles(results)
    rows = [verdict(c, analysis, group=group[c.scenario]) for c in analysis.verdicts if c.candidate == candidate]
    if not rows:
        return None
    places = [found.title for found in GROUPS]
    rows.sort(key=lambda row: places.index(row.group))
    shown = tuple(
        verdict(c, analysis, group=group[c.scenario], judged=False) for c in analysis.shown if c.candidate == candidate
    )
    ends = [math.inf if not math.isfinite(v) else v for row in rows for v in _extent(row)]
    low, high, ticks = scale([end for end in ends if 0 < end < math.inf])
    return VerdictTable(
        cast[results.baseline], cast[candidate], tuple(rows), (low, high), ticks, shown, tallies=_tallies(rows)
    )


def _tallies(rows: list[Verdict]) -> tuple[Tally, ...]:
    words: dict[str, Counter[str]] = {}
    for row in rows:
        words.setdefault(row.group, Counter())[row.word or "inconclusive"] += 1
    return tuple(Tally(group, n["better"], n["worse"], n["equal"], n["inconclusive"]) for group, n in words.items())


def _extent(row: Verdict) -> tuple[float, ...]:
    """What the axis must hold; an interval wider than a hundredfold is cut at the edge rather than flattening the
    rest."""
    gain = row.gain
    ends = (gain.low or gain.value, gain.value, gain.high or gain.value, 1 + row.threshold, 1 / (1 + row.threshold))
    return tuple(min(max(end, gain.value / 10), gain.value * 10) for end in ends)


def scale(values: list[float]) -> tuple[float, float, tuple[float, ...]]:
    """A logarithmic axis around 1 that holds all values, and its labelled ticks."""
    low, high = min([*values, 1 / 1.25]) / 1.06, max([*values, 1.25]) * 1.06
    span = math.log(high / low)
    ticks: list[float] = []
    for step in _STEPS:
        if low <= step <= high and all(abs(math.log(step / tick)) >= _GAP * span for tick in ticks):
            ticks.append(step)
    return low, high, tuple(sorted(ticks))


def _title(results: Results) -> str:
    names = [plain(name) for name in (*results.candidates, results.baseline)]
    return f"{' against '.join([joined(names[:-1]), names[-1]]) if len(names) > 1 else names[0]}: crossfade report"


def _kicker(results: Results) -> tuple[str, ...]:
    return (
        _day(results.created),
        f"{plain(results.profile)} profile",
        plural(len(results.scenarios), "scenario"),
        plural(len(results.blocks), "block"),
        f"seed {results.seed}",
    )


def _day(stamp: str) -> str:
    """2026-11-22T11:24:00Z -> 22 November 2026; anything else as it stands."""
    try:
        when = datetime.fromisoformat(stamp)
    except ValueError:
        return plain(stamp)
    return f"{when.day} {when:%B %Y}"
