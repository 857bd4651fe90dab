"""The runner: plan, parity, blocks in planned order, saved after each, or after a round of those that take turns.

It knows neither processes nor statistics. The rules it keeps: the plan is drawn before the first block and never
changed; a failed block is recorded and the run goes on; an interrupt keeps what was measured; what answers otherwise
than the others is not timed.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from crossfade.harness.executor import Executor, Task
from crossfade.harness.plan import block_seconds, order
from crossfade.harness.progress import Progress
from crossfade.harness.samples import (
    FORMAT,
    VERSION,
    Block,
    Environment,
    Parity,
    Results,
    Ruler,
    ScenarioRecord,
    SelfTest,
    Slot,
    VariantRecord,
)
from crossfade.scenarios import LIMITS, Profile, Scenario

Save = Callable[[Results], None]


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def start(
    *,
    run_id: str,
    command: Sequence[str],
    profile: Profile,
    seed: int,
    baseline: str,
    candidates: Sequence[str],
    environment: Environment,
    scenarios: Sequence[ScenarioRecord],
    variants: Sequence[VariantRecord],
    selftest: SelfTest | None = None,
    ruler: Ruler | None = None,
    notes: Sequence[str] = (),
) -> Results:
    """Results with a plan and no blocks."""
    return Results(
        format=FORMAT,
        version=VERSION,
        id=run_id,
        created=now(),
        finished=None,
        complete=False,
        command=tuple(command),
        profile=profile,
        seed=seed,
        baseline=baseline,
        candidates=tuple(candidates),
        environment=environment,
        scenarios=tuple(scenarios),
        variants=tuple(variants),
        order=order(scenarios, seed),
        selftest=selftest,
        ruler=ruler,
        notes=tuple(notes),
    )


class Interrupted(Exception):
    """The run was stopped; ``results`` hold every finished block."""

    def __init__(self, results: Results) -> None:
        super().__init__("interrupted")
        self.results = results


def execute(
    results: Results, scenarios: Sequence[Scenario], executor: Executor, save: Save, progress: Progress
) -> Results:
    """Run every block of the plan that is not there yet, saving after each batch. Raises :class:`Interrupted`."""
    by_name = {s.name: s for s in scenarios}
    try:
        # The plan is on disk before the first process starts: an interrupt in the middle of parity can be gone on from.
        save(results)
        results = check_parity(results, by_name, executor, progress)
        wrong = {(p.scenario, v): p.detail for p in results.parity if not p.ok for v in p.blamed or (None,)}
        for batch in batches(results, by_name):
            tasks = [task_of(results, by_name[slot.scenario], index, slot) for index, slot in batch]
            first, who = batch[0][1], ", ".join(slot.variant for _, slot in batch)
            progress.starting(f"{first.scenario}  round {first.round + 1}  {who}")
            reasons = [wrong.get((t.slot.scenario, t.slot.variant), wrong.get((t.slot.scenario, None))) for t in tasks]
            timed = [task for task, why in zip(tasks, reasons, strict=True) if why is None]
            measured = iter(executor.in_turns(timed) if len(timed) > 1 else [executor.block(task) for task in timed])
            for task, why in zip(tasks, reasons, strict=True):
                block = next(measured) if why is None else refuse(task, why)
                results = msgspec.structs.replace(results, blocks=(*results.blocks, block))
                progress.finished(block, block_seconds(task.scenario, task.profile), task.scenario.headline)
            save(results)
    except KeyboardInterrupt:
        save(results)
        progress.close()
        raise Interrupted(results) from None
    results = msgspec.structs.replace(results, complete=True, finished=now())
    save(results)
    progress.close()
    return results


def batches(results: Results, scenarios: dict[str, Scenario]) -> Iterator[list[tuple[int, Slot]]]:
    """What runs next, again and again, by its place in the plan: one block, or all of a round that takes turns."""
    done = {(b.scenario, b.round, b.variant) for b in results.blocks}
    left = ((i, s) for i, s in enumerate(results.order) if (s.scenario, s.round, s.variant) not in done)
    for (name, _), slots in itertools.groupby(left, key=lambda item: (item[1].scenario, item[1].round)):
        if scenarios[name].rounds(_profile(results)).turns > 1:
            yield list(slots)
        else:
            yield from ([slot] for slot in slots)


def task_of(results: Results, scenario: Scenario, index: int, slot: Slot) -> Task:
    """The block that the plan has at ``index``."""
    return Task(
        scenario=scenario,
        profile=_profile(results),
        slot=slot,
        # Every variant of a round gets the same arrivals and arguments: pairs differ in the variant alone.
        seed=draw(results.seed, "load", slot.scenario, slot.round),
        hash_seed=draw(results.seed, "hash", str(index), slot.round) % (1 << 32),
    )


def check_parity(results: Results, scenarios: dict[str, Scenario], executor: Executor, progress: Progress) -> Results:
    """Same answers before timing counts (method rule 8). Limits are checked by the warm-up of each block."""
    if results.parity:
        return results
    found: list[Parity] = []
    for record in results.scenarios:
        variants = tuple(v for v in record.variants if v not in LIMITS)
        progress.starting(f"{record.name}  parity")
        parity = executor.parity(scenarios[record.name], variants)
        if not parity.ok:
            who = ", ".join(parity.blamed) or "it"
            progress.say(f"{record.name}: answers were not the same, so {who} is not timed: {parity.detail}")
        found.append(parity)
    return msgspec.structs.replace(results, parity=tuple(found))


def refuse(task: Task, why: str) -> Block:
    """The block of a scenario whose answers differ: recorded, not run."""
    slot: Slot = task.slot
    return Block(
        scenario=slot.scenario,
        variant=slot.variant,
        kind="limit" if slot.variant in LIMITS else "variant",
        round=slot.round,
        position=slot.position,
        status="failed",
        started=now(),
        wall_s=0.0,
        hash_seed=task.hash_seed,
        error=f"not timed, because answers were not the same: {why}",
    )


def draw(seed: int, *parts: str | int) -> int:
    """A 48-bit number that depends on the seed and on what it is for."""
    return random.Random(f"crossfade {seed} {' '.join(map(str, parts))}").getrandbits(48)  # noqa: S311 - reproducible


def _profile(results: Results) -> Profile:
    profile: Profile = msgspec.convert(results.profile, Profile)
    return profile
