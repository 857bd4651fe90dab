"""The ruler before it measures: the quick check against a twin, and ``parity``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec

from crossfade.harness import environment, plan
from crossfade.harness import parity as parity_
from crossfade.harness import selftest as selftest_
from crossfade.harness.affinity import available, place
from crossfade.harness.cli import output
from crossfade.harness.cli.choose import choose_variants, command, describe, lay_out
from crossfade.harness.executor import LocalExecutor
from crossfade.harness.measure.bench import TWIN
from crossfade.harness.problems import EX_OK, UsageError
from crossfade.harness.progress import Progress, duration
from crossfade.harness.runner import execute, start
from crossfade.harness.samples import SelfTest
from crossfade.harness.store import Store, new_id
from crossfade.impls import missing
from crossfade.scenarios import select

SCENARIO = "gateway-echo"
ROUNDS = 6
"""Of the quick check that a first run on a machine adds; ``crossfade selftest`` takes more."""


def twins(
    impl: str, scenario_name: str, *, rounds: int, seed: int, out: Path, executor: LocalExecutor, argv: Sequence[str]
) -> SelfTest:
    """Measure a variant against itself and keep the outcome under ``out``. Raises Interrupted."""
    scenario = select([scenario_name])[0]
    pair = (impl, f"{impl}{TWIN}twin")
    record = lay_out(scenario, "quick", pair, (), rounds=rounds)
    store = Store(out / "selftests", new_id(seed))
    results = start(
        run_id=store.folder.name,
        command=command(argv, seed),
        profile="quick",
        seed=seed,
        baseline=pair[0],
        candidates=pair[1:],
        environment=environment.collect(pinning=executor.placement.describe(), root=environment.checkout()),
        scenarios=[record],
        variants=[describe(v) for v in pair],
        notes=["A/A: both names are one variant"],
    )
    estimate = plan.estimate_s([scenario], [record], "quick")
    output.note(f"quick check of {impl} against itself: {len(results.order)} blocks, about {duration(estimate)}")
    results = execute(results, [scenario], executor, store.save, Progress(len(results.order), estimate))
    found = selftest_.conclude(results, rounds_per_verdict=scenario.rounds("quick").rounds)
    selftest_.save(found, out)
    return found


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
            behind, variants, placement=place(available()), generator="rust" if missing("rust") is None else "python"
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
