"""``crossfade selftest``: false alarms between twins, and with ``--power`` planted flaws that have to be found."""

from __future__ import annotations

import argparse
import itertools
import math
import shlex
import time
from collections.abc import Sequence

import msgspec

from crossfade.harness import environment, series
from crossfade.harness import selftest as selftest_
from crossfade.harness.affinity import available, place
from crossfade.harness.cli import output
from crossfade.harness.cli.choose import check_scenario, command, describe, generator, lay_out
from crossfade.harness.cli.ruler import ROUNDS, SCENARIO, twins
from crossfade.harness.executor import LocalExecutor
from crossfade.harness.measure.bench import TWIN
from crossfade.harness.plan import estimate_s
from crossfade.harness.planted import HONEST, PLANTS, gateways
from crossfade.harness.problems import EX_INTERRUPTED, EX_OK, EX_REGRESSED, UsageError
from crossfade.harness.progress import duration
from crossfade.harness.runner import Interrupted, draw, start
from crossfade.harness.samples import METRICS, Environment, Results, ScenarioRecord
from crossfade.harness.series import Part, Series
from crossfade.harness.stats.effects import effects
from crossfade.harness.store import new_id
from crossfade.harness.trust import FalseAlarms, Power, Share
from crossfade.impls import missing
from crossfade.impls.errors import VariantUnavailable
from crossfade.scenarios import Scenario, select

COMPARISONS = 40
"""So many refute a rate far above 5 %, and take about twenty minutes."""
TWINS = ("python", "rust")


def selftest(options: argparse.Namespace) -> int:
    """0; 1 if significantly more than 5 % of verdicts between twins were given, all of which are false."""
    if options.quick_check:
        return quick(options)
    number = options.seed if options.seed is not None else int(time.time()) % (1 << 32)
    if options.resume:
        folder, planned = options.resume, series.read(options.resume)
    else:
        planned = power_series(options, number) if options.power else alarm_series(options, number)
        folder = options.out / "selftests" / new_id(number)
        series.write(planned, folder)
    brought = gateways() if planned.kind == "power" else []
    executor = LocalExecutor(placement=place(available()), generator=generator(), gateways=brought)
    described = environment.collect(pinning=executor.placement.describe(), root=environment.checkout())
    for warning in described.warnings:
        output.note(f"warning: {warning}")

    def build(part: Part, run_id: str) -> tuple[Results, Sequence[Scenario]]:
        return blank(planned, part, run_id, described, command(options.argv, planned.seed))

    estimate = sum(estimate_s(*laid_out(planned, part), planned.profile) for part in planned.parts)
    output.note(f"{len(planned.parts)} runs, about {duration(estimate)}; they are kept in {folder}")
    try:
        done = list(series.measure(planned, folder, build, executor, output.note))
    except Interrupted:
        output.note(f"interrupted; go on:  crossfade selftest --resume {shlex.quote(str(folder))}")
        return EX_INTERRUPTED
    found = selftest_.power(done, planned.seed) if planned.kind == "power" else selftest_.alarms(done, planned.seed)
    path = selftest_.save(found, options.out)
    if options.json:
        output.dump(found)
    else:
        output.say("\n".join((*told(found), f"\nkept: {path}")))
    return EX_REGRESSED if isinstance(found, FalseAlarms) and selftest_.refuted(found) else EX_OK


def alarm_series(options: argparse.Namespace, seed: int) -> Series:
    """Each variant against its twin, in turn, until there are comparisons enough. Raises VariantUnavailable."""
    for name in options.impl or ():
        if (why := missing(name)) is not None:
            raise VariantUnavailable(why)
    variants = options.impl or [name for name in TWINS if missing(name) is None]
    plan = Series(
        kind="alarms", profile="quick", seed=seed, selectors=tuple(options.selectors), rounds=options.rounds, parts=()
    )
    parts: list[Part] = []
    comparisons = 0
    for number, name in enumerate(itertools.cycle(variants), start=1):
        if number > options.repeat * len(variants) if options.repeat else comparisons >= COMPARISONS:
            break
        twin = f"{name}{TWIN}twin"
        parts.append(Part(number=number, seed=draw(seed, "self-test", number), baseline=name, candidates=(twin,)))
        comparisons += sum(len(record.headline) for record in laid_out(plan, parts[-1])[1])
        if not comparisons:
            break
    if not comparisons:
        raise UsageError("no variant can do what was chosen; see `crossfade list scenarios`")
    return msgspec.structs.replace(plan, parts=tuple(parts))


def power_series(options: argparse.Namespace, seed: int) -> Series:
    """Runs of the standard profile with planted flaws. Raises UsageError for options that mean nothing here."""
    if options.impl or options.selectors or options.repeat:
        raise UsageError(
            "--power measures its own planted gateways and scenarios; leave out --impl, --repeat and names"
        )
    candidates = tuple(dict.fromkeys(plant.name for plant in PLANTS))
    parts = tuple(
        Part(number=number, seed=draw(seed, "power", number), baseline=HONEST, candidates=candidates)
        for number in range(1, options.runs + 1)
    )
    selectors = tuple(dict.fromkeys(plant.scenario for plant in PLANTS))
    return Series(kind="power", profile="standard", seed=seed, selectors=selectors, rounds=options.rounds, parts=parts)


def laid_out(planned: Series, part: Part) -> tuple[list[Scenario], list[ScenarioRecord]]:
    """The scenarios of a run that somebody in it can do, and their records."""
    scenarios = select(planned.selectors, planned.profile)
    for scenario in scenarios:
        check_scenario(scenario)
    if planned.kind == "alarms":
        pair = (part.baseline, *part.candidates)
        records = [lay_out(s, planned.profile, pair, (), rounds=planned.rounds) for s in scenarios]
    else:
        # Each plant runs where it has to be found, and the honest ones everywhere.
        records = [
            lay_out(s, planned.profile, (), (), rounds=planned.rounds, gateways=gateways(s.name)) for s in scenarios
        ]
    records = [record for record in records if record.variants]
    kept = {record.name for record in records}
    return [s for s in scenarios if s.name in kept], records


def blank(
    planned: Series, part: Part, run_id: str, described: Environment, argv: tuple[str, ...]
) -> tuple[Results, Sequence[Scenario]]:
    """A run of the series with its plan and no blocks."""
    scenarios, records = laid_out(planned, part)
    names = gateways() if planned.kind == "power" else (part.baseline, *part.candidates)
    results = start(
        run_id=run_id,
        command=argv,
        profile=planned.profile,
        seed=part.seed,
        baseline=part.baseline,
        candidates=part.candidates,
        environment=described,
        scenarios=records,
        variants=[describe(name) for name in names],
        notes=["self-test: what differs is known beforehand"],
    )
    return results, scenarios


def told(found: FalseAlarms | Power) -> list[str]:
    """What was found, in lines."""
    lines = [f"not compared: {text}" for text in found.lost]
    if isinstance(found, Power):
        for p in found.plants:
            lines.append(f"{p.name} on {p.scenario} ({p.what}): found in {_share(p.found)}")
            lines += [
                f"  {METRICS[metric].title}: {math.exp(by.mean):.3f} of the honest one's, mean of {by.n}"
                for metric, by in effects(found.trials, p).items()
            ]
        return lines
    for t in found.trials:
        if t.verdict != "inconclusive":
            bounds = f" [{t.low:.3f}, {t.high:.3f}]" if t.low is not None and t.high is not None else ""
            lines.append(
                f"false alarm: {t.candidate} {t.verdict} on {t.scenario}, {METRICS[t.metric].title}: "
                f"{t.ratio:.3f}{bounds}, threshold {t.threshold:.0%}"
            )
    lines.append(f"A/A comparisons with a verdict, all of them false: {_share(found.alone)}")
    lines.append(f"after Holm's correction within each run: {_share(found.corrected)}")
    if selftest_.refuted(found):
        lines.append("that is significantly more than 5 %: trust no verdict of this machine, see `crossfade doctor`")
    return lines


def _share(found: Share) -> str:
    return f"{found.hits} of {found.of} ({found.share:.1%}, 95 % interval {found.low:.1%} to {found.high:.1%})"


def quick(options: argparse.Namespace) -> int:
    """The check that a first run adds, by itself."""
    impl = options.impl[0] if options.impl else "python"
    if (why := missing(impl)) is not None:
        raise VariantUnavailable(why)
    executor = LocalExecutor(placement=place(available()), generator=generator())
    scenario = options.selectors[0] if options.selectors else SCENARIO
    seed = options.seed if options.seed is not None else int(time.time()) % (1 << 32)
    rounds = options.rounds or ROUNDS
    try:
        found = twins(impl, scenario, rounds=rounds, seed=seed, out=options.out, executor=executor, argv=options.argv)
    except Interrupted as stop:
        output.note(
            f"interrupted after {len(stop.results.blocks)} blocks; a quick check needs all of them, run it again"
        )
        return EX_INTERRUPTED
    if options.json:
        output.dump(found)
        return EX_OK
    for metric, rate in found.false_alarms.items():
        spread = max(abs(v) for v in found.log_ratios[metric])
        output.say(
            f"{metric}: {rate:.2%} false alarms at a threshold of {found.threshold:.0%} and "
            f"{found.rounds_per_verdict} rounds; widest pair {spread:.2%}"
        )
    return EX_OK
