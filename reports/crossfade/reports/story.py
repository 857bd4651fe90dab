"""The headline, the opening paragraph and the key figures: what was found, in sentences that the verdicts carry.

The rule: a sentence claims a difference only where the verdict says better or worse. Anything else is called what it
is.
"""

from __future__ import annotations

from crossfade.harness.samples import METRICS, Results
from crossfade.harness.stats import Analysis, Comparison
from crossfade.reports.groups import KINDS, PROVOKED
from crossfade.reports.measured import Cast, summary
from crossfade.reports.memories import PER
from crossfade.reports.page import KeyFigure, Word
from crossfade.reports.words import THIN, digits, joined, lowered, percent, plain, plural, rate, times

LOOSE = 1.5
"""A ratio to nginx whose interval is wider than this factor is left to the tables."""


def headline(results: Results, analysis: Analysis, cast: Cast) -> str:
    """One honest sentence."""
    lead = lead_comparison(results, analysis)
    if results.candidates and results.candidates[0].partition("~")[0] == results.baseline:
        return _twins(results, analysis)
    if lead is None:
        return _alone(results, analysis, cast)
    if METRICS[lead.metric].name != "throughput_per_s":
        return _any_metric(lead)
    who, other = plain(lead.candidate), plain(lead.baseline)
    cpu = _verdict(analysis, lead, "cpu_us_per_request")
    nginx = _told(_against(analysis, lead.scenario, lead.candidate, "nginx"))
    reach = f", and reaches {percent(nginx.ratio)} of nginx" if nginx else ""
    if lead.verdict in ("better", "worse"):
        first = f"{who} serves {_amount(lead.ratio, 'requests', other)}"
        price = f" at {_share(cpu.ratio)} of the CPU per request" if cpu else ""
        unsure = f"; on CPU per request the two {_undecided(cpu)}" if cpu else ""
    else:
        first = f"On {plain(lead.scenario)}, {who} and {other} {_undecided(lead)} in throughput"
        price = f", but {who} spends {_share(cpu.ratio)} of the CPU on each request" if cpu else ""
        unsure = ""
        reach = f"; {who} reaches {percent(nginx.ratio)} of nginx" if nginx else ""
    decided = cpu is not None and cpu.verdict in ("better", "worse")
    return f"{first}{price if decided else unsure}{reach}."


def lead_comparison(results: Results, analysis: Analysis) -> Comparison | None:
    """The comparison the page opens with: throughput before all else, scenarios in the order of the run."""
    kinds = {s.name: KINDS.index(s.kind) for s in results.scenarios}
    places = {s.name: i for i, s in enumerate(results.scenarios)}
    ranked = sorted(
        enumerate(analysis.verdicts),
        key=lambda pair: (kinds[pair[1].scenario], places[pair[1].scenario], pair[0]),
    )
    return ranked[0][1] if ranked else None


def standfirst(results: Results, analysis: Analysis) -> tuple[str, ...]:
    """What the headline rests on, and how the whole suite came out."""
    lines = []
    lead = lead_comparison(results, analysis)
    if lead is not None:
        record = results.scenario(lead.scenario)
        ends = (
            f"95{THIN}% interval {times(lead.low)} to {times(lead.high)}" if lead.low and lead.high else "no interval"
        )
        lines.append(
            f"That is {plain(lead.scenario)} (\u201c{plain(record.title.replace('`', ''))}\u201d): "
            f"{lowered(METRICS[lead.metric].title)} ratio {times(lead.ratio)}, {ends}, "
            f"from {plural(lead.rounds, 'paired round')}."
        )
    for candidate in results.candidates:
        found = [word(c) for c in analysis.verdicts if c.candidate == candidate]
        if found:
            lines.append(_tally(found, plain(candidate)))
    lines.append(_errors(results, analysis))
    return tuple(line for line in lines if line)


def _tally(found: list[Word], who: str) -> str:
    """How all comparisons came out: Of 15 comparisons, rust is better in 13 and worse in 1; 1 is undecided."""
    counts = {name: found.count(name) for name in found}
    if len(counts) == 1:
        every = "the one comparison" if len(found) == 1 else f"all {len(found)} comparisons"
        only = {
            "better": f"In {every} {who} is better.",
            "worse": f"In {every} {who} is worse.",
            "equal": f"In {every} of {who} any difference is below the threshold.",
            "inconclusive": f"The run leaves {every} of {who} undecided.",
        }
        return only[found[0]]
    decided = [f"{name} in {counts[name]}" for name in ("better", "worse") if name in counts]
    level = [
        f"{counts[name]} {one if counts[name] == 1 else more}"
        for name, one, more in (
            ("equal", "differs by less than the threshold", "differ by less than the threshold"),
            ("inconclusive", "is undecided", "are undecided"),
        )
        if name in counts
    ]
    parts = [*([f"{who} is {joined(decided)}"] if decided else []), *([joined(level)] if level else [])]
    whose = "" if decided else f" of {who}"
    return f"Of {len(found)} comparisons{whose}, {'; '.join(parts)}."


def _errors(results: Results, analysis: Analysis) -> str:
    """Errors outside the scenarios that cause them on purpose, and lost blocks, in one sentence."""
    calm = {s.name for s in results.scenarios if s.kind not in PROVOKED}
    points = [p for b in results.blocks if b.scenario in calm for p in b.points]
    if not points:
        return ""
    # A sweep goes on until a rate is not held: what fails there was asked for, and is told apart.
    failed = sum(sum(p.errors.values()) + p.mismatches for p in points if p.held is not False)
    beyond = sum(sum(p.errors.values()) + p.mismatches for p in points if p.held is False)
    told = f"Of {sum(p.sent for p in points):,} requests "
    told += "none failed" if not failed else f"{failed:,} failed or got a wrong answer"
    if beyond:
        told += f", {beyond:,} past the knee of a sweep apart"
    lost = len(analysis.lost)
    blocks = "no block was lost" if not lost else f"{plural(lost, 'block')} of {len(results.blocks)} did not count"
    return f"{told}; {blocks}."


def keys(results: Results, analysis: Analysis, cast: Cast) -> tuple[KeyFigure, ...]:
    """Up to four figures worth remembering. Undecided ones are left to the table."""
    found: list[KeyFigure] = []
    lead = lead_comparison(results, analysis)
    if lead is not None and lead.metric == "throughput_per_s" and lead.verdict in ("better", "worse"):
        interval = f"95{THIN}% interval {times(lead.low)} to {times(lead.high)}" if lead.low and lead.high else ""
        found.append(KeyFigure(f"{times(lead.ratio)}\u00d7", f"the requests of {plain(lead.baseline)}", interval))
    if lead is not None and (nginx := _against(analysis, lead.scenario, lead.candidate, "nginx")):
        detail = f"95{THIN}% interval {percent(nginx.low)} to {percent(nginx.high)}" if nginx.low and nginx.high else ""
        found.append(KeyFigure(percent(nginx.ratio), "of nginx\u2019s throughput", detail))
    if lead is not None and (cpu := _verdict(analysis, lead, "cpu_us_per_request")):
        mine = summary(analysis, lead.scenario, lead.candidate, "cpu_us_per_request")
        base = summary(analysis, lead.scenario, lead.baseline, "cpu_us_per_request")
        detail = f"{digits(mine.mean)} against {digits(base.mean)} \u00b5s" if mine and base else ""
        if cpu.verdict in ("better", "worse"):
            found.append(KeyFigure(_share(cpu.ratio), f"of {plain(lead.baseline)}\u2019s CPU per request", detail))
    who = (results.candidates or (results.baseline,))[0]
    slopes = [a for a in analysis.ladders if a.state == "idle" and a.kind == "variant"]
    mine_slope = next((a for a in slopes if a.variant == who), None)
    if mine_slope is not None:
        others = [a for a in slopes if a.scenario == mine_slope.scenario and a.variant != who]
        kind = results.scenario(mine_slope.scenario).kind
        what = "client" if kind == "memory_clients" else PER.get(kind, "connection")
        found.append(
            KeyFigure(
                f"{digits(mine_slope.line.slope)} KiB",
                f"for each idle {what} of {plain(who)}",
                ", ".join(f"{plain(a.variant)} {digits(a.line.slope)} KiB" for a in others),
            )
        )
    return tuple(found)


def _twins(results: Results, analysis: Analysis) -> str:
    """A variant against itself: here every verdict is a false alarm."""
    alarms = sum(c.verdict in ("better", "worse") for c in analysis.verdicts)
    told = f"a difference in {alarms} of {plural(len(analysis.verdicts), 'comparison')}, and must not"
    return f"{plain(results.baseline)} measured against itself shows {told if alarms else 'no difference, as it must'}."


def _alone(results: Results, analysis: Analysis, cast: Cast) -> str:
    """Nothing was paired: say what stands alone, or that nothing does."""
    for record in results.scenarios:
        for variant in cast.variants:
            found = summary(analysis, record.name, variant, "throughput_per_s")
            if found is not None:
                nginx = _told(_against(analysis, record.name, variant, "nginx"))
                reach = f", {percent(nginx.ratio)} of nginx" if nginx else ""
                return (
                    f"{plain(variant)} serves {rate(found.mean)} requests per second on {plain(record.name)}{reach}; "
                    "there is nothing to compare it with."
                )
    if analysis.summaries:
        return "Something was measured, but no two variants can be compared."
    return "No block counts: nothing can be said yet."


def _any_metric(lead: Comparison) -> str:
    metric = METRICS[lead.metric]
    name = lowered(metric.title)
    who, other = plain(lead.candidate), plain(lead.baseline)
    if lead.verdict in ("better", "worse"):
        gain = lead.ratio if metric.better == "higher" else 1 / lead.ratio
        ahead, behind = (who, other) if lead.verdict == "better" else (other, who)
        return f"{ahead} is {times(max(gain, 1 / gain))} times better than {behind} in {name} ({plain(lead.scenario)})."
    return f"On {plain(lead.scenario)}, {who} and {other} {_undecided(lead)} in {name}."


def _amount(ratio: float, noun: str, other: str) -> str:
    """2.21 -> 2.2 times the requests of python; 1.12 -> 12 % more requests than python; 0.8 -> 20 % fewer ..."""
    if ratio >= 1.5:
        return f"{times(ratio)} times the {noun} of {other}"
    return f"{percent(abs(ratio - 1))} {'more' if ratio > 1 else 'fewer'} {noun} than {other}"


def _share(ratio: float) -> str:
    return percent(ratio) if ratio < 1.5 else f"{times(ratio)} times"


def _undecided(comparison: Comparison) -> str:
    if comparison.equivalent:
        return f"differ by less than {percent(comparison.threshold)}"
    return "cannot be told apart yet"


def word(comparison: Comparison) -> Word:
    """The verdict as the page says it: an undecided comparison that is shown to be within the threshold is
    ``equal``."""
    if comparison.verdict in (None, "inconclusive"):
        return "equal" if comparison.equivalent else "inconclusive"
    return comparison.verdict


def _verdict(analysis: Analysis, like: Comparison, metric: str) -> Comparison | None:
    wanted = (like.scenario, metric, like.baseline, like.candidate)
    return next((c for c in analysis.verdicts if (c.scenario, c.metric, c.baseline, c.candidate) == wanted), None)


def _against(analysis: Analysis, scenario: str, variant: str, limit: str) -> Comparison | None:
    """The variant's throughput against a limit's, from pairs."""
    wanted = (scenario, "throughput_per_s", limit, variant)
    return next((c for c in analysis.limits if (c.scenario, c.metric, c.baseline, c.candidate) == wanted), None)


def _told(ratio: Comparison | None) -> Comparison | None:
    """The ratio if it is known well enough for a headline."""
    if ratio is None or ratio.low is None or ratio.high is None or ratio.high > ratio.low * LOOSE:
        return None
    return ratio
