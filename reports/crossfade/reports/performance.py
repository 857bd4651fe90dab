"""``docs/performance-report.md``: the headline operations of the report this project set out to check, measured.

The rule: a figure here is one of a stored result; a claim that nothing stored bears on is said to be open.
"""

from __future__ import annotations

from crossfade.harness.samples import METRICS, Results
from crossfade.harness.stats import Analysis, analyse
from crossfade.reports import trusted
from crossfade.reports.markdown import escaped
from crossfade.reports.measured import summary
from crossfade.reports.page import Page, Share, TimingTable
from crossfade.reports.render import quantity, timing
from crossfade.reports.timings import CORES_ALONE, against_python
from crossfade.reports.view import view
from crossfade.reports.words import nanoseconds, plain, times

NONE_SAID = "\u2013"
COMPILING = "numba"
_CLAIMS = (
    ("2,847 requests/s", "gateway-echo", "rust", "throughput_per_s"),
    ("5.7 times the requests of Python", "gateway-echo", "", "throughput_per_s"),
    ("48 KB per connection", "memory-clients", "rust", "slope_kib"),
    ("Python needs 2.5 MB per connection", "memory-clients", "python", "slope_kib"),
)


def performance(results: Results) -> str:
    """The document; ends with a newline."""
    analysis, page = analyse(results), view(results)
    lines = [
        "# Performance report",
        "",
        "Written by `crossfade report reports/baselines/quick --performance`; every figure is of "
        "[the stored result](../reports/baselines/quick/results.json), and `tests/test_docs.py` compares.",
        "",
        f"{plain(results.environment.cpu.model)}, {results.environment.cpu.count} processors, "
        f"Python {plain(results.environment.python)}, {plain(results.profile)} profile. Absolute times belong to that "
        "machine; read ratios.",
        "",
        "## What was claimed, and what is so here",
        "",
        *_claims(analysis),
        "",
    ]
    if page.shares:
        lines += ["## Policy, crossing or shell", "", *_shares(page.shares), ""]
    for table in page.timings:
        lines += [f"## {escaped(table.what)}", "", *_table(table), "", *_said(table)]
    if page.timings:
        lines += [
            "*Median to 99th percentile. Of a core, over batches of a thousand operations or more, in its own language "
            "without the lock that a shell keeps it behind; through the interface, over single operations. Each figure "
            "is the median over blocks.*",
            "",
        ]
    lines += [line for told in trusted.compiled(analysis) for line in (escaped(told), "")]
    lines += ["## The ruler", "", *(escaped(line) for line in trusted.sentences(results)), ""]
    lines += _goals(page)
    return "\n".join(lines).rstrip() + "\n"


def _claims(analysis: Analysis) -> list[str]:
    rows = ["| claim | measured | |", "| --- | ---: | --- |"]
    for claim, scenario, variant, metric in _CLAIMS:
        told, note = NONE_SAID, ""
        if variant:
            found = summary(analysis, scenario, variant, metric)
            if found is not None:
                told, note = quantity(found.mean, METRICS[metric].unit), f"{variant}, {scenario}"
        else:
            pair = next(
                (c for c in analysis.verdicts if (c.scenario, c.metric, c.candidate) == (scenario, metric, "rust")),
                None,
            )
            if pair is not None:
                low_high = f"{times(pair.low)} to {times(pair.high)}" if pair.low and pair.high else "no interval"
                told, note = (
                    f"{times(pair.ratio)}",
                    f"rust over {plain(pair.baseline)}, 95 % interval {low_high}, {scenario}",
                )
        rows.append(f"| {claim} | {told} | {escaped(note)} |")
    sweep = [
        (variant, found.mean)
        for variant in ("python", "rust")
        if (found := summary(analysis, "gateway-echo", variant, "p99_us")) is not None
    ]
    p99 = ", ".join(f"{variant} {nanoseconds(value * 1000)}" for variant, value in sweep) or NONE_SAID
    rows.append(f"| p99 below 1 ms for all operations | {p99} | at saturation, gateway-echo; single operations below |")
    rows.append(f"| linear scaling to 16 nodes | {NONE_SAID} | not measured |")
    return rows


def _shares(shares: tuple[Share, ...]) -> list[str]:
    rows = [
        "Processor time of one call in process. Policy is pool, balancer and breaker in the core's own language, the "
        "crossing what calling them from Python adds, the shell everything else.",
        "",
        "| variant | one call | policy | crossing | shell |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for one in shares:
        cells = (one.whole, one.policy, one.crossing, one.shell)
        told = (NONE_SAID if value is None else nanoseconds(value * 1000) if value else "0" for value in cells)
        rows.append(f"| {escaped(one.who.name)} | {' | '.join(told)} |")
    return rows


def _table(table: TimingTable) -> list[str]:
    rows = [
        f"| operation | over | {' | '.join(escaped(column) for column in table.columns)} |",
        f"| --- | --- |{' ---: |' * len(table.columns)}",
    ]
    for row in table.rows:
        rows.append(f"| {escaped(row.name)} | {row.size} | {' | '.join(timing(cell) for cell in row.cells)} |")
    return rows


def _said(table: TimingTable) -> list[str]:
    """What a table shows, or leaves out, in words."""
    if table.what != CORES_ALONE:
        told = (
            "Registering a server and calling several at once are no decisions of a core: a shell does them, with its "
            "registry, its pools and the network. So they have no row among the cores, and each variant has its figure "
            "here."
        )
        return [told, ""]
    compared = against_python(table, COMPILING)
    return [] if compared is None else [escaped(compared), ""]


def _goals(page: Page) -> list[str]:
    asked = [goal for goal in page.goals if "policy-ops" in goal.text]
    if not asked:
        return []
    said = {True: "met", False: "**missed**", None: "open"}
    return [
        "## What was asked",
        "",
        "| goal | measured | asked | |",
        "| --- | ---: | ---: | --- |",
        *(f"| {escaped(g.text)} | {g.measured or NONE_SAID} | {g.asked} | {said[g.met]} |" for g in asked),
    ]
