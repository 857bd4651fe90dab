"""The plan of a run: which block comes when, drawn from the seed before anything is measured.

The rule: a round holds one block of every variant, in random order (method rule 2); rounds of different scenarios are
interleaved too, so that a machine that drifts over minutes drifts under all of them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from crossfade.harness.samples import ScenarioRecord, Slot, VariantRecord
from crossfade.scenarios import Profile, Scenario

OVERHEAD_S: dict[str, float] = {
    "throughput": 0.3,
    "latency": 0.3,
    "burst": 0.9,
    "connect": 0.6,
    "calls": 0.6,
    "sweep": 1.0,
    "memory_clients": 0.3,
    "memory_upstreams": 0.5,
    "memory_stdio": 0.5,
    "memory_sessions": 0.3,
    "soak": 1.0,
    "ops": 2.1,
    "lifecycle": 0.2,
    "faults": 1.0,
    "deploy": 0.5,
    "nodes": 1.0,
}
"""Starting and ending a block's processes, in seconds; from the blocks of stored runs, rounded up."""

EACH_S = {"memory_stdio": 0.05, "memory_sessions": 0.0005}
"""What a child or a session adds to its rung."""
NODE_S = 0.15
"""One start and one end of a node among others."""
PHASE_S = 0.05
"""What one of many phases takes besides its load."""
START_STOP_S = 0.25
"""One start and one end of a variant, children and first answer included."""
UNTIL_DONE = frozenset({"burst", "connect", "ops"})
"""Kinds that end when their work is done, long before the time they may take: ``OVERHEAD_S`` is the whole block."""


TURN_S = 0.025
"""What a turn takes besides its load: a plan, connections, a result."""


def record(
    scenario: Scenario,
    profile: Profile,
    *,
    variants: Sequence[str],
    left_out: dict[str, str],
    by_plan: Sequence[str] = (),
    rounds: int | None = None,
) -> ScenarioRecord:
    """The scenario as the results keep it. ``left_out`` adds to the scenario's own reasons."""
    return ScenarioRecord(
        name=scenario.name,
        title=scenario.title,
        summary=" ".join(scenario.summary.split()),
        kind=scenario.kind,
        sha256=scenario.sha256(profile),
        tags=scenario.tags,
        rounds=rounds or scenario.rounds(profile).rounds,
        threshold=scenario.threshold_percent / 100,
        headline=scenario.headline,
        shown=scenario.shown,
        objective_p99_ms=scenario.sweep.objective_p99_ms if scenario.sweep else None,
        variants=tuple(variants),
        left_out={**scenario.left_out, **left_out},
        by_plan=tuple(by_plan),
        spec=scenario.canonical(profile),
    )


def order(records: Sequence[ScenarioRecord], seed: int) -> tuple[Slot, ...]:
    """Every block of the run in the order of running."""
    # The string form seeds through SHA-512, which is stable across Python versions; an int seed is too, a hash is not.
    rng = random.Random(f"crossfade order {seed}")  # noqa: S311 - reproducible, not secret
    slots: list[Slot] = []
    for number in range(max((r.rounds for r in records), default=0)):
        for record_ in records:
            if number < record_.rounds:
                drawn = rng.sample(record_.variants, len(record_.variants))
                slots.extend(
                    Slot(scenario=record_.name, round=number, position=position, variant=variant)
                    for position, variant in enumerate(drawn)
                )
    return tuple(slots)


def block_seconds(scenario: Scenario, profile: Profile) -> float:
    """What one block is expected to take, for the estimate before a run."""
    rounds = scenario.rounds(profile)
    one = rounds.warmup_s + rounds.duration_s
    overhead = OVERHEAD_S[scenario.kind]
    if scenario.sweep is not None:
        # Usually four doublings and the refinement are measured before the objective is lost.
        return overhead + (4 + scenario.sweep.refine) * (one + 0.5)
    if scenario.ladder is not None:
        hold = scenario.ladder.hold_ms / 1000 if scenario.kind in ("memory_upstreams", "memory_stdio") else 0.0
        # Each child or session takes its time to begin.
        each = sum(scenario.ladder.rungs) * EACH_S.get(scenario.kind, 0.0)
        return len(scenario.ladder.rungs) * (overhead + hold + 2 * scenario.ladder.settle_s) + each
    if scenario.lifecycle is not None:
        return overhead + scenario.lifecycle.starts * START_STOP_S
    if scenario.nodes is not None:
        phases = scenario.nodes.passes * sum(len(scenario.nodes.rates(count)) for count in scenario.nodes.counts)
        return overhead + max(scenario.nodes.counts) * NODE_S + phases * (one + PHASE_S)
    if scenario.kind in UNTIL_DONE:
        return overhead
    return overhead + one + (TURN_S * rounds.turns if rounds.turns > 1 else 0.0)


def estimate_s(scenarios: Sequence[Scenario], records: Sequence[ScenarioRecord], profile: Profile) -> float:
    """Seconds that the whole run is expected to take."""
    by_name = {s.name: s for s in scenarios}
    return sum(r.rounds * len(r.variants) * block_seconds(by_name[r.name], profile) for r in records)


def describe_limit(name: str) -> VariantRecord:
    """The record of a limit row."""
    what = {
        "nginx": "nginx as a plain reverse proxy with keep-alive: the practical limit",
        "ceiling": "the fleet without a manager: the ruler's own limit",
    }
    return VariantRecord(name=name, kind="limit", description=what[name])
