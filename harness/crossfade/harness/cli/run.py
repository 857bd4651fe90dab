"""Measuring commands: ``run``, ``selftest``, ``parity``.

:func:`run` is the data flow of crossfade: scenario -> runner -> variant -> samples -> statistics -> verdict -> report.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from crossfade.harness import environment, plan
from crossfade.harness import parity as parity_
from crossfade.harness import selftest as selftest_
from crossfade.harness.affinity import available, place
from crossfade.harness.cli import output
from crossfade.harness.executor import LocalExecutor, Task
from crossfade.harness.measure.bench import TWIN
from crossfade.harness.problems import EX_INTERRUPTED, EX_OK, EX_SOFTWARE, BlockFailed, HarnessError, UsageError
from crossfade.harness.progress import Progress, duration
from crossfade.harness.runner import Interrupted, draw, execute, start
from crossfade.harness.samples import Attachment, Kind, Results, ScenarioRecord, Slot, VariantRecord
from crossfade.harness.stats import analyse
from crossfade.harness.store import Store, load, new_id
from crossfade.impls import VARIANTS, missing
from crossfade.impls.errors import VariantUnavailable
from crossfade.scenarios import LIMITS, Profile, Scenario, select


def run(options: argparse.Namespace) -> int:
    """``crossfade run``."""
    scenarios = select(options.selectors)
    executor = LocalExecutor(placement=place(available()), generator=generator())
    results, store = resumed(options, scenarios) if options.resume else planned(options, scenarios, executor)
    records = results.scenarios
    estimate = plan.estimate_s(scenarios, records, options.profile)
    output.note(f"{len(results.order)} blocks, about {duration(estimate)}; results in {store.folder}")
    progress = Progress(len(results.order), estimate)
    try:
        results = execute(results, scenarios, executor, store.save, progress)
    except Interrupted as stop:
        return interrupted(stop.results, store)
    if options.memray:
        results = explain(results, scenarios, executor, store)
    analysis = analyse(results)
    page = None if options.no_report else write_report(results, store.folder)
    if options.json:
        output.dump({"results": str(store.path), "report": page and str(page), "analysis": analysis})
    else:
        output.say("\n" + output.verdicts(results, analysis))
        if limits := output.limits(analysis, results):
            output.say("\n" + limits)
        for lost in analysis.lost:
            output.say(f"{lost.status}: {lost.scenario} round {lost.round + 1} {lost.variant}: {lost.error}")
        output.say(f"\nresults: {store.path}")
        if page is not None:
            output.say(f"report:  {page}")
    return conclude(results)


def planned(options: argparse.Namespace, scenarios: list[Scenario], executor: LocalExecutor) -> tuple[Results, Store]:
    """A new run: variants, limits, environment, order. Raises VariantUnavailable, Unavailable or UsageError."""
    variants = choose_variants(options.impl)
    limits = choose_limits(options.limits)
    described = environment.collect(pinning=executor.placement.describe(), root=environment.checkout())
    for warning in described.warnings:
        output.note(f"warning: {warning}")
    number = options.seed if options.seed is not None else int(time.time()) % (1 << 32)
    store = Store(options.out, new_id(number))
    records = [lay_out(s, options.profile, variants, limits, rounds=options.rounds) for s in scenarios]
    results = start(
        run_id=store.folder.name,
        command=command(options.argv, number),
        profile=options.profile,
        seed=number,
        baseline=variants[0],
        candidates=variants[1:],
        environment=described,
        scenarios=records,
        variants=[*map(describe, variants), *map(plan.describe_limit, limits)],
        selftest=selftest_.last(options.out),
        notes=[f"load and fleet: {executor.generator} generator"],
    )
    return results, store


def resumed(options: argparse.Namespace, scenarios: list[Scenario]) -> tuple[Results, Store]:
    """An interrupted run, to be gone on with. Raises UsageError if it is not the same work or not the same machine."""
    results = load(options.resume)
    folder = options.resume if options.resume.is_dir() else options.resume.parent
    folder = folder.resolve()
    if results.complete:
        raise UsageError(f"{folder}: that run is complete; start a new one")
    by_name = {s.name: s for s in scenarios}
    options.profile = results.profile
    for record in results.scenarios:
        scenario = by_name.get(record.name)
        if scenario is None or scenario.sha256(options.profile) != record.sha256:
            raise UsageError(f"{folder}: scenario {record.name!r} is not selected or has changed; start a new run")
    if changed := environment.differences(results.environment, environment.collect()):
        raise UsageError(f"{folder}: this machine differs ({'; '.join(changed)}); start a new run")
    for variant in (results.baseline, *results.candidates):
        if (why := missing(variant)) is not None:
            raise VariantUnavailable(why)
    scenarios[:] = [by_name[r.name] for r in results.scenarios]
    return results, Store(folder.parent, folder.name)


def choose_variants(asked: Sequence[str] | None) -> list[str]:
    """Variants to measure, baseline first. Asked for and missing is an error; otherwise missing is said loudly."""
    for name in asked or ():
        if (why := missing(name)) is not None:
            raise VariantUnavailable(why)
    if asked:
        return list(dict.fromkeys(asked))
    found = []
    for name in VARIANTS:
        if (why := missing(name)) is None:
            found.append(name)
        else:
            output.note(f"LEFT OUT: {why}")
    if not found:
        raise UsageError("no variant is installed; install one (`crossfade list impls` says how)")
    return found


def choose_limits(text: str) -> list[str]:
    """Limit rows. nginx is left out, loudly, where it is not installed."""
    asked = [] if text in ("none", "") else [t.strip() for t in text.split(",")]
    for name in asked:
        if name not in LIMITS:
            raise UsageError(f"--limits: {name!r} is unknown; choose from {', '.join(LIMITS)}, or none")
    if "nginx" in asked and environment.nginx_path() is None:
        output.note("LEFT OUT: nginx is not installed, so the practical limit is not measured; install nginx")
        asked.remove("nginx")
    return asked


def lay_out(
    scenario: Scenario, profile: Profile, variants: Sequence[str], limits: Sequence[str], *, rounds: int | None
) -> ScenarioRecord:
    """Which rows a scenario gets, and why others are left out."""
    left_out = {
        v: f"lacks {', '.join(sorted(lacking))}"
        for v in variants
        if (lacking := set(scenario.needs) - VARIANTS[v.partition(TWIN)[0]].capabilities)
    }
    rows = [v for v in variants if v not in left_out] + [x for x in limits if x in scenario.limits]
    return plan.record(scenario, profile, variants=rows, left_out=left_out, rounds=rounds)


def describe(name: str) -> VariantRecord:
    """The record of a variant or of its twin."""
    kind: Kind = "variant"
    return VariantRecord(name=name, kind=kind, description=VARIANTS[name.partition(TWIN)[0]].description)


def generator() -> str:
    """``rust`` where the native module is installed, else ``python``, said loudly."""
    if missing("rust") is None:
        return "rust"
    output.note("the Python load generator is used: it is slower than some of what it measures, trust no ceiling")
    return "python"


def command(argv: Sequence[str], seed: int) -> tuple[str, ...]:
    """What reproduces the run: its arguments, and the seed if it was not among them."""
    given = any(a == "--seed" or a.startswith("--seed=") for a in argv)
    return tuple(argv) if given else (*argv, "--seed", str(seed))


def interrupted(results: Results, store: Store) -> int:
    """Say what is kept and how to go on."""
    names = " ".join(shlex.quote(s.name) for s in results.scenarios)
    output.note(
        f"interrupted: {len(results.blocks)} of {len(results.order)} blocks are kept in {store.path}\n"
        f"  go on:  crossfade run {names} --resume {shlex.quote(str(store.folder))}\n"
        f"  look:   crossfade report {shlex.quote(str(store.folder))}"
    )
    return EX_INTERRUPTED


def conclude(results: Results) -> int:
    """0, or an error code if every block of a row failed. Void blocks are a noisy machine's doing, and no error."""
    broken = False
    for scenario in results.scenarios:
        for variant in scenario.variants:
            if not results.of(scenario.name, variant):
                output.note(f"{scenario.name}: nothing counts for {variant}; see the reasons above")
                every = results.of(scenario.name, variant, only_ok=False)
                broken |= all(b.status == "failed" for b in every)
    return EX_SOFTWARE if broken else EX_OK


def write_report(results: Results, out: Path) -> Path:
    """The page. Imported late: measuring must not need matplotlib."""
    from crossfade.reports import render  # noqa: PLC0415

    return render(results, out)


def explain(results: Results, scenarios: list[Scenario], executor: LocalExecutor, store: Store) -> Results:
    """One extra block of the python variant under memray, not timed, and its flamegraph as an attachment."""
    scenario = next((s for s in scenarios if s.kind == "throughput"), None)
    if scenario is None or "python" not in (results.baseline, *results.candidates):
        raise UsageError("--memray needs a throughput scenario and the python variant; select gateway-echo")
    trace, page = store.folder / "memray.bin", store.folder / f"memray-{scenario.name}-python.html"
    trace.unlink(missing_ok=True)
    profile: Profile = msgspec.convert(results.profile, Profile)
    slot = Slot(scenario=scenario.name, round=0, position=0, variant="python")
    task = Task(scenario=scenario, profile=profile, slot=slot, seed=draw(results.seed, "memray"), hash_seed=1)
    output.note(f"one more block of {scenario.name} under memray, which is not timed")
    from crossfade.harness.measure import measure  # noqa: PLC0415 - only here

    measure(executor.bench(task, memray=trace))
    drawn = subprocess.run(
        [sys.executable, "-m", "memray", "flamegraph", "--force", "-o", str(page), str(trace)],
        capture_output=True,
        text=True,
        check=False,
    )
    trace.unlink(missing_ok=True)
    if drawn.returncode:
        raise BlockFailed(f"memray drew no flamegraph: {drawn.stderr.strip()[-300:]}; pip install 'crossfade[memray]'")
    added = Attachment(path=page.name, what="memray flamegraph", scenario=scenario.name, variant="python")
    results = msgspec.structs.replace(results, attachments=(*results.attachments, added))
    store.save(results)
    return results


def selftest(options: argparse.Namespace) -> int:
    """``crossfade selftest``: a variant against itself."""
    if (why := missing(options.impl)) is not None:
        raise VariantUnavailable(why)
    scenario = select([options.scenario])[0]
    twin = f"{options.impl}{TWIN}twin"
    options.impl, options.limits, options.profile = options.impl, "none", "quick"
    executor = LocalExecutor(placement=place(available()), generator=generator())
    number = options.seed if options.seed is not None else int(time.time()) % (1 << 32)
    store = Store(options.out, f"{new_id(number)}-selftest")
    pair = (options.impl, twin)
    record = lay_out(scenario, "quick", pair, (), rounds=options.rounds)
    results = start(
        run_id=store.folder.name,
        command=command(options.argv, number),
        profile="quick",
        seed=number,
        baseline=options.impl,
        candidates=[twin],
        environment=environment.collect(pinning=executor.placement.describe(), root=environment.checkout()),
        scenarios=[record],
        variants=[describe(v) for v in pair],
        notes=["A/A: both names are one variant"],
    )
    estimate = plan.estimate_s([scenario], [record], "quick")
    output.note(f"{len(results.order)} blocks, about {duration(estimate)}")
    try:
        results = execute(results, [scenario], executor, store.save, Progress(len(results.order), estimate))
    except Interrupted as stop:
        return interrupted(stop.results, store)
    found = selftest_.conclude(results, rounds_per_verdict=scenario.rounds("quick").rounds)
    selftest_.save(found, options.out)
    if options.json:
        output.dump(found)
        return EX_OK
    for metric, rate in found.false_alarms.items():
        logs = found.log_ratios[metric]
        spread = max(abs(v) for v in logs)
        output.say(
            f"{metric}: false alarms {rate:.2%} at a threshold of {found.threshold:.0%}; widest pair {spread:.2%}"
        )
    return EX_OK


def parity(options: argparse.Namespace) -> int:
    """``crossfade parity``: same answers? 0 yes, 1 no."""
    variants = choose_variants(options.impl)
    if len(variants) < 2:
        raise UsageError(f"parity needs two variants and only {variants[0]!r} is here; name another with --impl")
    scenario = select(["gateway-echo"])[0]
    # Both eras upstream cover all four pairings, since every question is asked by a modern and by a legacy client.
    differences: list[str] = []
    asked = 0
    for era in ("modern", "legacy"):
        upstream = msgspec.structs.replace(scenario.upstream, era=era)
        behind = msgspec.structs.replace(scenario, upstream=upstream)
        count, found = parity_.compare_variants(
            behind, variants, placement=place(available()), generator=generator_quietly()
        )
        asked += count
        differences += [f"{era} upstream: {text}" for text in found]
    if options.json:
        output.dump({"variants": variants, "questions": asked, "same": not differences, "differences": differences})
    elif differences:
        output.say(f"{len(differences)} of {asked} answers differ; the first:\n  {differences[0]}")
        for text in differences[1:]:
            output.say(f"  {text}")
    else:
        output.say(f"{', '.join(variants)}: {asked} questions, the same answers")
    return 1 if differences else EX_OK


def generator_quietly() -> str:
    """The generator's name without a notice: nothing is timed."""
    return "rust" if missing("rust") is None else "python"


__all__ = ["HarnessError", "parity", "run", "selftest"]
