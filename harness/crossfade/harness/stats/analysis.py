"""From stored samples to what a report says: summaries, comparisons, fitted lines, curves.

A pure function of a :class:`Results`. Pairs are formed within a round; only ``ok`` blocks count, and how many others
there were is part of the analysis.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import msgspec

from crossfade.harness.samples import METRICS, Block, Kind, LoadPoint, Results, ScenarioRecord
from crossfade.harness.stats.failures import Failures, failures
from crossfade.harness.stats.latency import Percentiles, percentiles
from crossfade.harness.stats.lines import Line, fit
from crossfade.harness.stats.pairs import (
    Verdict,
    equivalent,
    holm,
    interval,
    midmean,
    p_beyond,
    rounds_needed,
    verdict,
)


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of one variant over the rounds: geometric mean with t-interval (arithmetic if a value is zero)."""

    scenario: str
    variant: str
    kind: Kind
    metric: str
    mean: float
    low: float | None
    high: float | None
    minimum: float
    maximum: float
    rounds: int


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Candidate over baseline, from pairs within rounds. ``low`` and ``high`` bound the ratio with 95 % confidence.

    ``verdict`` is None where none is due: shown metrics, and ratios to a limit (``against`` is ``limit``).
    ``more_rounds`` is how many rounds would settle an inconclusive comparison.
    """

    scenario: str
    metric: str
    baseline: str
    candidate: str
    against: Kind
    ratio: float
    low: float | None
    high: float | None
    sd_log: float
    rounds: int
    threshold: float
    p: float | None = None
    p_holm: float | None = None
    verdict: Verdict | None = None
    equivalent: bool = False
    more_rounds: int | None = None


class Ladder(msgspec.Struct, frozen=True, kw_only=True):
    """Memory rungs of all rounds of one variant, KiB, and the line fitted through them."""

    scenario: str
    variant: str
    kind: Kind
    state: Literal["idle", "in_flight"]
    points: tuple[tuple[int, float], ...]
    line: Line


class RatePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One offered rate of a sweep, rounds merged. ``held`` counts the rounds that kept the objective."""

    rate_per_s: float
    achieved_per_s: float
    cpu_us_per_request: float | None
    latency: Percentiles
    held: int
    rounds: int


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """Latency against rate for one variant."""

    scenario: str
    variant: str
    kind: Kind
    points: tuple[RatePoint, ...]


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """A block that does not count, and why."""

    scenario: str
    variant: str
    round: int
    status: str
    error: str


class Analysis(msgspec.Struct, frozen=True, kw_only=True):
    """Everything computed. ``verdicts`` are the headline comparisons, corrected together with Holm's method.

    ``failures`` are the pairs of which anybody failed a request, with verdicts of their own.
    """

    verdicts: tuple[Comparison, ...]
    shown: tuple[Comparison, ...]
    limits: tuple[Comparison, ...]
    summaries: tuple[Summary, ...]
    ladders: tuple[Ladder, ...]
    curves: tuple[Curve, ...]
    lost: tuple[Lost, ...]
    failures: tuple[Failures, ...] = ()


def analyse(results: Results) -> Analysis:
    """Compute everything a report shows from one run."""
    headline = [c for s in results.scenarios for c in _pairs(results, s, s.headline)]
    adjusted = holm([c.p if c.p is not None else 1.0 for c in headline])
    return Analysis(
        verdicts=tuple(_judge(c, p) for c, p in zip(headline, adjusted, strict=True)),
        shown=tuple(c for s in results.scenarios for c in _pairs(results, s, s.shown)),
        limits=tuple(c for s in results.scenarios for c in _limits(results, s)),
        summaries=tuple(c for s in results.scenarios for c in _summaries(results, s)),
        ladders=tuple(c for s in results.scenarios for c in _ladders(results, s)),
        curves=tuple(c for s in results.scenarios for c in _curves(results, s)),
        lost=tuple(
            Lost(scenario=b.scenario, variant=b.variant, round=b.round, status=b.status, error=b.error or "")
            for b in results.blocks
            if b.status != "ok"
        ),
        failures=failures(results),
    )


def log_ratios(results: Results, scenario: str, metric: str, baseline: str, candidate: str) -> list[float]:
    """ln(candidate / baseline) for every round in which both blocks are ok and both values are positive.

    Where the two took turns, a round's value is the mean of the middle half of its turns' (``midmean``).
    """
    base = {b.round: b for b in results.of(scenario, baseline)}
    mine = {b.round: b for b in results.of(scenario, candidate)}
    found = (_log_ratio(base[r], mine[r], metric) for r in sorted(base.keys() & mine.keys()))
    return [value for value in found if value is not None]


def _log_ratio(base: Block, mine: Block, metric: str) -> float | None:
    one, two = base.metrics.get(metric, 0.0), mine.metrics.get(metric, 0.0)
    if one <= 0 or two <= 0:
        return None
    turns = base.turns.get(metric, ()), mine.turns.get(metric, ())
    if len(turns[0]) == len(turns[1]) > 1:
        return midmean([math.log(b / a) for a, b in zip(*turns, strict=True)])
    return math.log(two / one)


def _compare(
    results: Results, scenario: ScenarioRecord, metric: str, pair: tuple[str, str], against: Kind
) -> Comparison | None:
    logs = log_ratios(results, scenario.name, metric, *pair)
    if not logs:
        return None
    found = interval(logs)
    return Comparison(
        scenario=scenario.name,
        metric=metric,
        baseline=pair[0],
        candidate=pair[1],
        against=against,
        ratio=math.exp(found.mean),
        low=None if found.low is None else math.exp(found.low),
        high=None if found.high is None else math.exp(found.high),
        sd_log=found.sd,
        rounds=found.n,
        threshold=scenario.threshold,
        p=p_beyond(logs, math.log1p(scenario.threshold)) if against == "variant" else None,
        equivalent=equivalent(logs, math.log1p(scenario.threshold)),
    )


def _pairs(results: Results, scenario: ScenarioRecord, metrics: tuple[str, ...]) -> Iterator[Comparison]:
    for candidate in results.candidates:
        for metric in metrics:
            found = _compare(results, scenario, metric, (results.baseline, candidate), "variant")
            if found is not None:
                yield found


def _limits(results: Results, scenario: ScenarioRecord) -> Iterator[Comparison]:
    limits = [v.name for v in results.variants if v.kind == "limit" and v.name in scenario.variants]
    for limit in limits:
        for variant in (results.baseline, *results.candidates):
            for metric in (*scenario.headline, *scenario.shown):
                found = _compare(results, scenario, metric, (limit, variant), "limit")
                if found is not None:
                    yield found


def _judge(comparison: Comparison, p_holm: float) -> Comparison:
    found = verdict(math.log(comparison.ratio), p_holm, METRICS[comparison.metric].better)
    more_rounds = None
    if found == "inconclusive" and not comparison.equivalent and comparison.rounds > 1:
        needed = rounds_needed(comparison.sd_log, comparison.threshold, math.log(comparison.ratio))
        # The formula knows of one question. Where it is content with the rounds there are, it has nothing to say.
        more_rounds = needed if needed > comparison.rounds else None
    return msgspec.structs.replace(comparison, p_holm=p_holm, verdict=found, more_rounds=more_rounds)


def _summaries(results: Results, scenario: ScenarioRecord) -> Iterator[Summary]:
    for variant in scenario.variants:
        blocks = results.of(scenario.name, variant)
        for metric in METRICS:
            values = [b.metrics[metric] for b in blocks if metric in b.metrics]
            if values:
                yield summarise(values, scenario=scenario.name, variant=variant, kind=blocks[0].kind, metric=metric)


def summarise(values: list[float], *, scenario: str, variant: str, kind: Kind, metric: str) -> Summary:
    """The summary of a metric's per-round values."""
    logs = all(v > 0 for v in values)
    found = interval([math.log(v) for v in values] if logs else values)
    back = math.exp if logs else float
    return Summary(
        scenario=scenario,
        variant=variant,
        kind=kind,
        metric=metric,
        mean=back(found.mean),
        low=None if found.low is None else back(found.low),
        high=None if found.high is None else back(found.high),
        minimum=min(values),
        maximum=max(values),
        rounds=len(values),
    )


def _ladders(results: Results, scenario: ScenarioRecord) -> Iterator[Ladder]:
    states: tuple[Literal["idle", "in_flight"], ...] = ("idle", "in_flight")
    for variant in scenario.variants:
        blocks = results.of(scenario.name, variant)
        for state in states:
            rungs = [(b.round, r.connections, r.line_kib()) for b in blocks for r in b.ladder if r.state == state]
            if len({(r, x) for r, x, _ in rungs}) > len({r for r, *_ in rungs}):  # some round has two rungs
                yield Ladder(
                    scenario=scenario.name,
                    variant=variant,
                    kind=blocks[0].kind,
                    state=state,
                    points=tuple((x, y) for _, x, y in rungs),
                    line=fit([x for _, x, _ in rungs], [y for *_, y in rungs], [r for r, *_ in rungs]),
                )


def _curves(results: Results, scenario: ScenarioRecord) -> Iterator[Curve]:
    if scenario.kind != "sweep":
        return
    for variant in scenario.variants:
        blocks = results.of(scenario.name, variant)
        rates = sorted({p.rate_per_s for b in blocks for p in b.points if p.rate_per_s is not None})
        if rates:
            yield Curve(
                scenario=scenario.name,
                variant=variant,
                kind=blocks[0].kind,
                points=tuple(_rate_point(blocks, rate) for rate in rates),
            )


def _rate_point(blocks: list[Block], rate: float) -> RatePoint:
    points = [p for b in blocks for p in b.points if p.rate_per_s == rate]
    return RatePoint(
        rate_per_s=rate,
        achieved_per_s=math.fsum(p.throughput_per_s for p in points) / len(points),
        cpu_us_per_request=_cpu_us(points),
        latency=percentiles([p.latency for p in points]),
        held=sum(1 for p in points if p.held),
        rounds=len(points),
    )


def _cpu_us(points: list[LoadPoint]) -> float | None:
    """Of all requests together; None unless every phase was clocked."""
    completed = sum(p.completed for p in points)
    spent_us = [p.cpu_us_per_request * p.completed for p in points if p.cpu_us_per_request is not None]
    return math.fsum(spent_us) / completed if completed and len(spent_us) == len(points) else None
