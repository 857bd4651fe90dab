"""Verdicts, limits and gate checks as tables. Knows how to print, not what is true."""

from __future__ import annotations

from collections.abc import Sequence

from crossfade.harness.cli.output import table
from crossfade.harness.gate import Check
from crossfade.harness.samples import METRICS, Results
from crossfade.harness.stats import ALPHA, Analysis, Comparison


def number(value: float) -> str:
    """Three significant digits, thousands separated."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def verdicts(results: Results, analysis: Analysis) -> str:
    """The verdict table of a run."""
    means = {(s.scenario, s.variant, s.metric): s.mean for s in analysis.summaries}
    rows = []
    for c in analysis.verdicts:
        base, mine = means[c.scenario, c.baseline, c.metric], means[c.scenario, c.candidate, c.metric]
        unit = METRICS[c.metric].unit
        rows.append(
            (
                c.scenario,
                METRICS[c.metric].title,
                f"{number(base)} {unit}",
                f"{number(mine)} {unit}",
                _ratio(c),
                _word(c),
            )
        )
    if not rows:
        return alone(results, analysis)
    heading = ("scenario", "metric", results.baseline, "candidate", "ratio [95 %]", "verdict")
    if len(results.candidates) == 1:
        heading = (*heading[:3], results.candidates[0], *heading[4:])
    return table(heading, rows)


def alone(results: Results, analysis: Analysis) -> str:
    """Means of a run without a candidate to compare with."""
    headline = {(s.name, m) for s in results.scenarios for m in s.headline}
    rows = [
        (s.scenario, METRICS[s.metric].title, s.variant, f"{number(s.mean)} {METRICS[s.metric].unit}", str(s.rounds))
        for s in analysis.summaries
        if (s.scenario, s.metric) in headline
    ]
    return table(("scenario", "metric", "variant", "mean", "rounds"), rows) if rows else "nothing was measured"


def losses(analysis: Analysis) -> list[str]:
    """Who is convicted of losing requests that the other does not, in lines."""
    lines = []
    for f in analysis.failures:
        if f.verdict != "inconclusive":
            who, failed, sent = f.candidate, f.candidate_failed, f.candidate_sent
            other, theirs, of = f.baseline, f.baseline_failed, f.baseline_sent
            lines.append(
                f"{f.verdict}: on {f.scenario} {who} failed {failed:,} of {sent:,} requests, "
                f"{other} {theirs:,} of {of:,} ({f.more} rounds against {f.fewer}, p = {f.p_holm:.2g})"
            )
    return lines


def limits(analysis: Analysis, results: Results) -> str:
    """How near each variant comes to the limits, for headline metrics."""
    headline = {(s.name, m) for s in results.scenarios for m in s.headline}
    rows = [
        (c.scenario, METRICS[c.metric].title, c.candidate, c.baseline, _ratio(c))
        for c in analysis.limits
        if (c.scenario, c.metric) in headline
    ]
    return table(("scenario", "metric", "variant", "limit", "ratio to limit [95 %]"), rows) if rows else ""


def checks(found: Sequence[Check], *, markdown: bool = False) -> str:
    """The table of ``compare`` and ``gate``."""
    rows = [
        (
            c.scenario,
            METRICS[c.metric].title,
            c.variant,
            _interval(c.ratio, c.low, c.high),
            f"{c.threshold:.0%}",
            c.yardstick or "",
            c.outcome,
        )
        for c in found
    ]
    head = ("scenario", "metric", "variant", "candidate / base [95 %]", "threshold", "relative to", "outcome")
    return table(head, rows, markdown=markdown)


def _ratio(c: Comparison) -> str:
    return _interval(c.ratio, c.low, c.high)


def _interval(ratio: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"{ratio:.2f}"
    upper = f"{high:.2f}" if high < 1000 else "> 999"
    return f"{ratio:.2f} [{low:.2f}, {upper}]"


def _word(c: Comparison) -> str:
    if c.verdict != "inconclusive":
        return c.verdict or ""
    if c.equivalent:
        return "no difference that matters"
    if c.low is None:
        return "inconclusive (one round counts)"
    if c.more_rounds is not None:
        return f"inconclusive (about {c.more_rounds} rounds would tell)"
    return (
        "inconclusive (corrected for the number of comparisons)" if c.p is not None and c.p < ALPHA else "inconclusive"
    )
