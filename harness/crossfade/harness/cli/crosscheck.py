"""``crossfade crosscheck``: the ruler against an independent tool, theory and known truths."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import msgspec

from crossfade.harness import environment
from crossfade.harness.affinity import available, place
from crossfade.harness.cli import large, output
from crossfade.harness.cli.choose import generator
from crossfade.harness.crosscheck import files, generators, judge, ladder, stalls
from crossfade.harness.crosscheck.record import CrossCheck
from crossfade.harness.problems import EX_OK, UsageError
from crossfade.harness.processes import raise_file_limit
from crossfade.harness.progress import duration

PARTS = ("generators", "stalls", "arena", "large")
NOT_MET = 1
_OTHERS_S = {"stalls": 55, "arena": 15, "large": 30}


def crosscheck(options: argparse.Namespace) -> int:
    """Measure the parts, keep them, say what they show. 0 if every figure is within its target, else 1."""
    parts = chosen(options.only)
    described = environment.collect(root=environment.checkout())
    generator("rust")  # Raises VariantUnavailable: every part but the last stands on it.
    if "generators" in parts:
        generators.check(options.connections)
    raise_file_limit()
    in_turn_s = generators.estimate_s(options.rounds, options.turns, options.duration)
    estimate = sum(_OTHERS_S.get(part, in_turn_s) for part in parts)
    output.note(f"cross-check of {', '.join(parts)}: about {duration(estimate)}")
    native = described.native or {}
    found = CrossCheck(
        machine=files.machine(described),
        native=f"{native.get('version', '')} {native.get('profile', 'none')}".strip(),
        commit=described.commit,
    )
    for part in parts:
        found = msgspec.structs.replace(found, **{part: _MEASURE[part](options)})
        # After each part: an interrupt keeps those before it.
        found = files.keep(found, options.out)
    lines = [line for line in judge.checks(found) if line.part in parts]
    if options.json:
        output.dump({"results": str(options.out / files.FILE), "checks": lines})
    else:
        rows = [(line.what, line.said, line.asked, "met" if line.met else "MISSED") for line in lines]
        output.say("\n" + output.table(("check", "measured", "asked", ""), rows))
        output.say(f"\nresults: {options.out / files.FILE}")
    return EX_OK if all(line.met for line in lines) else NOT_MET


def chosen(only: Sequence[str] | None) -> tuple[str, ...]:
    """The parts to measure, in order. Raises UsageError."""
    for name in only or ():
        if name not in PARTS:
            raise UsageError(f"--only: {name!r} is unknown; choose from {', '.join(PARTS)}")
    return tuple(part for part in PARTS if not only or part in only)


def _seed(options: argparse.Namespace) -> int:
    number: int = options.seed if options.seed is not None else int(time.time()) % (1 << 32)
    return number


_MEASURE: dict[str, Callable[[argparse.Namespace], object]] = {
    "generators": lambda options: generators.measure(
        placement=place(available()),
        seed=_seed(options),
        connections=options.connections,
        rounds=options.rounds,
        turns=options.turns,
        duration_s=options.duration,
        say=output.note,
    ),
    "stalls": lambda options: stalls.measure(placement=place(available()), seed=_seed(options), say=output.note),
    "arena": lambda options: ladder.measure(
        placement=place(available()), generator="rust", seed=_seed(options), say=output.note
    ),
    "large": lambda options: large.measure(seed=_seed(options), say=output.note),
}
