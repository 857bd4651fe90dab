"""How good the ruler is: what was found out about it on this machine, part by part, and what was not.

The rule: a part that this machine has not measured is named with the command that measures it, never left out.
"""

from __future__ import annotations

import math

from crossfade.harness import foretold, overhead
from crossfade.harness.crosscheck import judge
from crossfade.harness.samples import Results
from crossfade.harness.stats.effects import effects
from crossfade.harness.trust import Plant, Power, Trial
from crossfade.reports.page import Check
from crossfade.reports.plate import NONE
from crossfade.reports.trusted import quantity, quick, share
from crossfade.reports.words import lowered, milliseconds, plain, plural, rate, times

PLANTED = ("planted", "what it is", "scenario", "times the honest one", "convicted", "share")


def checks(results: Results) -> tuple[Check, ...]:
    """Every part, in the order in which a doubter asks."""
    return (_alarms(results), _power(results), *_crosschecks(results), _overhead(results), *_validation(results))


def _alarms(results: Results) -> Check:
    title = "False alarms"
    found = results.ruler.alarms if results.ruler is not None else None
    if found is None:
        checked = f"{plain(quick(results.selftest))} " if results.selftest is not None else ""
        return Check(
            title,
            f"{checked}No comparison of twins over many scenarios was made on this machine; `crossfade selftest` makes "
            "one.",
            known=False,
        )
    said = (
        f"{plural(found.alone.of, 'A/A comparison')} over {plural(len(found.scenarios), 'scenario')}, "
        f"{plural(found.alone.hits, 'false alarm')}: {share(found.alone)}; {found.corrected.hits or 'none'} left "
        "after Holm\u2019s correction."
    )
    wrong = [trial for trial in found.trials if trial.verdict != "inconclusive"]
    head = ("scenario", "quantity", "times", "interval", "rounds", "after correction")
    return Check(title, said, head=head, rows=tuple(_trial(trial) for trial in wrong))


def _trial(trial: Trial) -> tuple[str, ...]:
    ends = f"{times(trial.low)} to {times(trial.high)}" if trial.low and trial.high else NONE
    return (
        plain(trial.scenario), quantity(trial.metric), times(trial.ratio), ends, str(trial.rounds),
        "called off" if trial.verdict_holm == "inconclusive" else trial.verdict_holm,
    )  # fmt: skip


def _power(results: Results) -> Check:
    title = "Planted flaws"
    found = results.ruler.power if results.ruler is not None else None
    if found is None:
        return Check(
            title,
            "No flaws were planted on this machine; `crossfade selftest --power` plants them and counts convictions.",
            known=False,
        )
    said = f"{plural(found.runs, 'run')} of the {plain(found.profile)} profile, with gateways known beforehand."
    rows = tuple(
        (
            plain(p.name),
            plain(p.what),
            plain(p.scenario),
            _effects(found, p),
            f"{p.found.hits} of {p.found.of}",
            share(p.found),
        )
        for p in found.plants
    )
    return Check(title, said, head=PLANTED, rows=rows)


def _effects(found: Power, plant: Plant) -> str:
    """By how much the planted gateway differed in all."""
    told = []
    for metric, by in effects(found.trials, plant).items():
        told.append(f"{quantity(metric)} {math.exp(by.mean):.3f}")
        if by.low is not None and by.high is not None:
            told[-1] += f" ({math.exp(by.low):.3f} to {math.exp(by.high):.3f})"
    return "; ".join(told) or NONE


PARTS = {
    "generators": "The load generator beside wrk",
    "stalls": "A server that stalls, against theory",
    "arena": "The memory ladder on a manager whose cost is known",
    "large": "The largest results file",
}


def _crosschecks(results: Results) -> tuple[Check, ...]:
    """All in one sentence, a block per part that was cross-checked, and one that names what was not."""
    found = results.crosscheck
    if found is None:
        told = "There is no cross-check of this machine; `crossfade crosscheck` makes one."
        return (Check("Cross-check", told, known=False),)
    lines = judge.checks(found)
    blocks, missing = [_in_all(lines)] if lines else [], []
    for part, title in PARTS.items():
        mine = [line for line in lines if line.part == part]
        if not mine:
            missing.append(lowered(title))
            continue
        met = sum(line.met for line in mine)
        said = f"{met} of {plural(len(mine), 'figure')} within what was asked."
        rows = tuple((line.what, line.said, line.asked, "met" if line.met else "missed") for line in mine)
        blocks.append(Check(title, plain(said), head=("", "measured", "asked", ""), rows=rows))
    if missing:
        told = f"Not cross-checked on this machine: {'; '.join(missing)}. `crossfade crosscheck` does it."
        blocks.append(Check("Cross-check, the rest", told, known=False))
    return tuple(blocks)


def _in_all(lines: tuple[judge.Check, ...]) -> Check:
    missed = [f"{line.what}: {line.said}, asked {line.asked}" for line in lines if not line.met]
    told = f"{len(lines) - len(missed)} of {len(lines)} checks are met"
    return Check(
        "The ruler against what is known without it",
        plain(f"{told}; not met: {'; '.join(missed)}." if missed else f"{told}."),
    )


def _overhead(results: Results) -> Check:
    title = "What the harness itself takes"
    found = results.overhead
    if found is None:
        return Check(title, "These results do not say how long the harness took besides measuring.", known=False)
    return Check(title, plain(f"Of this run, {overhead.describe(found)}."))


def _validation(results: Results) -> tuple[Check, ...]:
    """The simulator beside measured nodes; only a run that measured nodes could have any."""
    title = "The simulator against measured nodes"
    found = results.validation
    if found is None:
        told = (
            "This run has no open loop over several nodes that the simulator behind `crossfade plan` could be compared "
            "with; `crossfade run nodes-rates nodes-pool` has."
        )
        return (Check(title, told, known=False),)
    rows = tuple(
        (
            plain(row.scenario), plain(row.variant), str(row.nodes), rate(row.rate_per_s),
            milliseconds(row.measured_p99_ms) + _between(row.low_p99_ms, row.high_p99_ms),
            NONE if row.all_p99_ms is None else milliseconds(row.all_p99_ms),
            NONE if row.predicted_p99_ms is None else milliseconds(row.predicted_p99_ms),
            foretold.missed(row, found.target),
        )
        for row in found.rows
    )  # fmt: skip
    head = ("scenario", "", "nodes", "requests/s", "p99 measured", "of all phases", "p99 predicted", "error")
    return (Check(title, plain(f"The model is {foretold.words(found)}."), head=head, rows=rows),)


def _between(low: float | None, high: float | None) -> str:
    return f" ({milliseconds(low)} to {milliseconds(high)})" if low is not None and high is not None else ""
