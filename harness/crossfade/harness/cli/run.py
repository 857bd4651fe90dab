"""``crossfade run``.

:func:`run` is the data flow of crossfade: scenario -> runner -> variant -> samples -> statistics -> verdict -> report.
"""

from __future__ import annotations

import argparse
import shlex
import time
from pathlib import Path

import msgspec

from crossfade.harness import environment, overhead, plan
from crossfade.harness import selftest as selftest_
from crossfade.harness.affinity import available, place
from crossfade.harness.cli import flamegraph, output, tables
from crossfade.harness.cli.choose import (
    check_scenario,
    choose_gateways,
    choose_limits,
    choose_variants,
    command,
    describe,
    generator,
    lay_out,
    measurable,
)
from crossfade.harness.cli.planning import validated
from crossfade.harness.cli.ruler import ROUNDS, SCENARIO, twins
from crossfade.harness.crosscheck import files as crosscheck_
from crossfade.harness.executor import LocalExecutor
from crossfade.harness.measure import loadrun
from crossfade.harness.overhead import Booked, Ledger
from crossfade.harness.problems import EX_INTERRUPTED, EX_OK, EX_SOFTWARE, HarnessError, UsageError
from crossfade.harness.progress import Progress, duration
from crossfade.harness.runner import Interrupted, execute, start
from crossfade.harness.samples import Block, Results, ScenarioKind
from crossfade.harness.stats import analyse
from crossfade.harness.store import Store, load, new_id
from crossfade.impls import missing
from crossfade.impls.errors import VariantUnavailable
from crossfade.scenarios import Scenario, changed, select


def run(options: argparse.Namespace) -> int:
    """``crossfade run``."""
    ledger = Ledger()
    # What a run is gone on with says its own profile, and is among all there are.
    chosen = select(options.selectors, None if options.resume else options.profile)
    scenarios = [changed(s, options.set) for s in chosen]
    gateways = choose_gateways(options)
    executor = LocalExecutor(
        placement=place(available()),
        generator=generator(options.generator),
        gateways=gateways,
        start_s=options.start_timeout,
    )
    results, store = resumed(options, scenarios, executor) if options.resume else planned(options, scenarios, executor)
    if options.memray:
        flamegraph.explainable(results, scenarios)
    records = results.scenarios
    estimate = plan.estimate_s(scenarios, records, options.profile)
    output.note(f"{len(results.order)} blocks, about {duration(estimate)}; results in {store.folder}")
    progress = Progress(len(results.order), estimate)
    try:
        save = ledger.clocked("writing", store.save)
        results = execute(results, scenarios, Booked(executor, ledger), save, progress)
    except Interrupted as stop:
        return interrupted(stop.results, store, options)
    if options.memray:
        with ledger.measuring():
            results = flamegraph.explain(results, scenarios, executor, store)
    if results.selftest is None and not (results.ruler and results.ruler.alarms) and not options.no_selftest:
        with ledger.measuring():
            results = measure_ruler(results, executor, store)
    results = ledger.clocked("simulation", validated)(results, store)
    analysis = ledger.clocked("statistics", analyse)(results)
    # The page cannot tell how long it took itself; the file and the last line do.
    results = msgspec.structs.replace(results, overhead=ledger.close())
    page = None if options.no_report else ledger.clocked("drawing", write_report)(results, store.folder)
    results = msgspec.structs.replace(results, overhead=ledger.close())
    store.save(results)
    if options.json:
        output.dump({"results": str(store.path), "report": page and str(page), "analysis": analysis})
    else:
        output.say("\n" + tables.verdicts(results, analysis))
        if limits := tables.limits(analysis, results):
            output.say("\n" + limits)
        for line in tables.losses(analysis):
            output.say(line)
        for lost in analysis.lost:
            output.say(f"{lost.status}: {lost.scenario} round {lost.round + 1} {lost.variant}: {lost.error}")
        output.say(f"\n{overhead.describe(ledger.close())}")
        output.say(f"results: {store.path}")
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
    for scenario in scenarios:
        check_scenario(scenario)
    gateways = list(executor.gateways.values())
    records = [
        lay_out(
            s, options.profile, variants, limits, rounds=options.rounds, asked=bool(options.impl), gateways=gateways
        )
        for s in scenarios
    ]
    records = measurable(records, selected=bool(options.selectors))
    results = start(
        run_id=store.folder.name,
        command=command(options.argv, number),
        profile=options.profile,
        seed=number,
        baseline=variants[0],
        candidates=[*variants[1:], *executor.gateways],
        environment=described,
        scenarios=records,
        variants=[*map(describe, variants), *map(describe, gateways), *map(plan.describe_limit, limits)],
        selftest=selftest_.last(options.out),
        ruler=selftest_.in_brief(selftest_.ruler(options.out, described)),
        notes=[f"load and fleet: {executor.generator} generator"],
    )
    return msgspec.structs.replace(results, crosscheck=crosscheck_.of(options.out, described)), store


def resumed(options: argparse.Namespace, scenarios: list[Scenario], executor: LocalExecutor) -> tuple[Results, Store]:
    """An interrupted run, to be gone on with; failed blocks have their turn again, void ones were measured and stay.

    Raises UsageError if it is not the same work or not the same machine.
    """
    results = load(options.resume)
    folder = options.resume if options.resume.is_dir() else options.resume.parent
    folder = folder.resolve()
    failed = sum(block.status == "failed" for block in results.blocks)
    if results.complete and not failed:
        raise UsageError(f"{folder}: that run is complete; start a new one")
    if failed:
        kept = tuple(block for block in results.blocks if block.status != "failed")
        note = f"{failed} failed blocks were measured again after the run"
        results = msgspec.structs.replace(results, blocks=kept, complete=False, notes=(*results.notes, note))
    by_name = {s.name: s for s in scenarios}
    options.profile = results.profile
    for record in results.scenarios:
        scenario = by_name.get(record.name)
        if scenario is None or scenario.sha256(options.profile) != record.sha256:
            raise UsageError(f"{folder}: scenario {record.name!r} is not selected or has changed; start a new run")
    if changed := environment.differences(results.environment, environment.collect()):
        raise UsageError(f"{folder}: this machine differs ({'; '.join(changed)}); start a new run")
    told = {v.name: v.description for v in results.variants}
    for gateway in executor.gateways.values():
        if told.get(gateway.name) != gateway.describe():
            raise UsageError(f"{folder}: {gateway.name!r} is not as it was in that run; give the same option")
    for variant in (results.baseline, *results.candidates):
        if variant in executor.gateways:
            continue
        if (why := missing(variant)) is not None:
            raise VariantUnavailable(why)
    scenarios[:] = [by_name[r.name] for r in results.scenarios]
    return results, Store(folder.parent, folder.name)


def interrupted(results: Results, store: Store, options: argparse.Namespace) -> int:
    """Say what is kept and how to go on."""
    brought = [f"--command={c}" for c in options.command] + [f"--url={u}" for u in options.url]
    brought += [f"--set={s}" for s in options.set] + ([f"--fleet-port={options.fleet_port}"] if options.url else [])
    # Selectors, not names: a scenario of the user's own is known by its path alone.
    names = shlex.join([*(options.selectors or [s.name for s in results.scenarios]), *brought])
    output.note(
        f"interrupted: {len(results.blocks)} of {len(results.order)} blocks are kept in {store.path}\n"
        f"  go on:  crossfade run {names} --resume {shlex.quote(str(store.folder))}\n"
        f"  look:   crossfade report {shlex.quote(str(store.folder))}"
    )
    return EX_INTERRUPTED


def conclude(results: Results) -> int:
    """0, or an error code if anybody answered wrongly in any block, or if none of somebody's blocks on a scenario
    counts and each is its own fault. Other void blocks are a noisy machine's doing, and no error."""
    broken = False
    for scenario in results.scenarios:
        for variant in scenario.variants:
            every = results.of(scenario.name, variant, only_ok=False)
            if wrong := [n for b in every if (n := sum(p.mismatches for p in b.points))]:
                where = f"{len(wrong)} of {len(every)} blocks"
                told = f"{variant} gave {sum(wrong)} wrong answers in {where}; run `crossfade parity`"
                output.note(f"{scenario.name}: {told}")
                broken = True
            if not results.of(scenario.name, variant):
                output.note(f"{scenario.name}: nothing counts for {variant}; see the reasons above")
                broken |= all(own_fault(block, scenario.kind) for block in every)
    return EX_SOFTWARE if broken else EX_OK


def own_fault(block: Block, kind: ScenarioKind) -> bool:
    """Whether a block does not count for what its target did: it failed, or too many of its requests did."""
    if block.status == "failed":
        return True
    if kind == "faults":
        # Errors are what it measures, but every request has to end: in an answer or in an error.
        return block.metrics.get("hung_requests", 0.0) > 0
    losing = [loadrun.loses(point) for point in block.points]
    # Beyond its knee a sweep loses requests; who loses them at every rate has none.
    return bool(losing) and (all(losing) if kind == "sweep" else any(losing))


def write_report(results: Results, out: Path) -> Path:
    """The page. Imported late: measuring must not need matplotlib."""
    from crossfade.reports import render  # noqa: PLC0415

    return render(results, out)


def measure_ruler(results: Results, executor: LocalExecutor, store: Store) -> Results:
    """The first run under a folder of results also measures the ruler, for every report prints its false alarms."""
    try:
        found = twins(
            results.baseline,
            SCENARIO,
            rounds=ROUNDS,
            seed=results.seed,
            out=store.root,
            executor=executor,
            argv=results.command,
        )
    except (Interrupted, HarnessError) as error:
        output.note(f"no self-test: {error}; `crossfade selftest` measures one")
        return results
    results = msgspec.structs.replace(results, selftest=found)
    store.save(results)
    return results
