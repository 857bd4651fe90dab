"""The seam between the runner and where blocks run: local subprocesses by default, a mock in tests, machines later.

An executor runs one block and returns its :class:`Block`; whatever goes wrong with the block is *in* the block. Only an
interrupt leaves it as an exception.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from crossfade.harness.affinity import Placement
from crossfade.harness.gateways import Gateway
from crossfade.harness.measure import Bench, Measured, measure, turns
from crossfade.harness.measure.bench import START_S
from crossfade.harness.parity import check_scenario, question
from crossfade.harness.problems import HarnessError
from crossfade.harness.processes import raise_file_limit
from crossfade.harness.samples import Block, Kind, Parity, Slot
from crossfade.scenarios import LIMITS, Profile, Scenario


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One block to run."""

    scenario: Scenario
    profile: Profile
    slot: Slot
    seed: int
    hash_seed: int


class Executor(Protocol):
    """Where blocks run."""

    def block(self, task: Task) -> Block:
        """Run one block; never raises for a block that fails."""
        ...

    def in_turns(self, tasks: Sequence[Task]) -> list[Block]:
        """Run the blocks of one round side by side, each loaded in its turns. The same otherwise."""
        ...

    def parity(self, scenario: Scenario, variants: tuple[str, ...]) -> Parity:
        """Ask every variant once and compare the answers."""
        ...


class LocalExecutor:
    """Fresh local processes per block, pinned by ``placement``; ``generator`` is ``rust`` or ``python``.

    ``gateways`` are those that the user brought.
    """

    def __init__(
        self, *, placement: Placement, generator: str, gateways: Sequence[Gateway] = (), start_s: float = START_S
    ) -> None:
        self.placement = placement
        self.generator = generator
        self.gateways = {gateway.name: gateway for gateway in gateways}
        self.start_s = start_s
        self._parity: dict[bytes, Parity] = {}
        raise_file_limit()

    def bench(self, task: Task, *, memray: Path | None = None) -> Bench:
        """The bench of a task."""
        return Bench(
            scenario=task.scenario,
            profile=task.profile,
            variant=task.slot.variant,
            placement=self.placement,
            seed=task.seed,
            hash_seed=task.hash_seed,
            generator=self.generator,
            memray=memray,
            gateway=self.gateways.get(task.slot.variant),
            start_s=self.start_s,
            first=task.slot.round == 0,
        )

    def block(self, task: Task) -> Block:
        """Run it here and now."""
        started = datetime.now(UTC)
        begin = time.monotonic()
        try:
            found = measure(self.bench(task))
        except (HarnessError, ProcessLookupError) as error:
            return build(task, Measured(), started=started, wall_s=time.monotonic() - begin, failed=str(error))
        return build(task, found, started=started, wall_s=time.monotonic() - begin)

    def in_turns(self, tasks: Sequence[Task]) -> list[Block]:
        """Run them here, one under load at a time."""
        started = datetime.now(UTC)
        begin = time.monotonic()
        found = turns.take([self.bench(task) for task in tasks])
        wall_s = (time.monotonic() - begin) / len(tasks)
        return [
            build(task, one, started=started, wall_s=wall_s)
            if isinstance(one, Measured)
            else build(task, Measured(), started=started, wall_s=wall_s, failed=str(one))
            for task, one in zip(tasks, found, strict=True)
        ]

    def parity(self, scenario: Scenario, variants: tuple[str, ...]) -> Parity:
        """Compare answers; scenarios that differ in load alone share one comparison."""
        key = msgspec.json.encode((scenario.upstream, question(scenario), variants))
        if key not in self._parity:
            self._parity[key] = check_scenario(
                scenario,
                variants,
                placement=self.placement,
                generator=self.generator,
                gateways=self.gateways,
                start_s=self.start_s,
            )
        return msgspec.structs.replace(self._parity[key], scenario=scenario.name)


def build(task: Task, found: Measured, *, started: datetime, wall_s: float, failed: str | None = None) -> Block:
    """The record of a block, whatever became of it."""
    kind: Kind = "limit" if task.slot.variant in LIMITS else "variant"
    return Block(
        scenario=task.slot.scenario,
        variant=task.slot.variant,
        kind=kind,
        round=task.slot.round,
        position=task.slot.position,
        status="failed" if failed or found.failed else "void" if found.void else "ok",
        started=started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        wall_s=round(wall_s, 3),
        hash_seed=task.hash_seed,
        error=failed or found.failed or found.void,
        metrics=found.metrics,
        points=found.points,
        ladder=found.ladder,
        soak=found.soak,
        operations=found.operations,
        turns=found.turns,
        marks=found.marks,
        errors=found.errors,
        notes=found.notes,
    )
