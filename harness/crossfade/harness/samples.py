"""The results model: what a run stores, and nothing computed from it.

Owns the versioned JSON format described in ``docs/results-format.md``. The rule: everything here is immutable and is
written once; a figure that can be computed from a stored one (a mean, an interval, a verdict) is not stored. The one
exception is ``Block.metrics``, which holds the scalars of a single block, the unit of evidence.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from crossfade.harness.crosscheck.record import CrossCheck
from crossfade.harness.memorysamples import KernelMemory, Rung, SoakSample
from crossfade.harness.metrics import METRICS, Metric
from crossfade.harness.points import Instructions, LoadPoint, Mark, Mode, Operation, SeriesPoint
from crossfade.harness.trust import Predicted, Ruler, SelfTest, Validation

FORMAT = "crossfade-results"
VERSION = 1
"""Raised when a reader of the older version would misread a newer file; adding an optional field does not raise it."""

__all__ = [
    "FORMAT", "METRICS", "VERSION", "Attachment", "Block", "Cpu", "CrossCheck", "Environment", "KernelMemory", "Kind",
    "LoadPoint", "Mark", "Metric", "Mode", "Operation", "Overhead", "Parity", "Predicted", "Results", "Ruler", "Rung",
    "ScenarioKind", "ScenarioRecord", "SelfTest", "SeriesPoint", "Slot", "SoakSample", "Status", "Validation",
    "VariantRecord",
]  # fmt: skip

Kind = Literal["variant", "limit"]
Status = Literal["ok", "failed", "void"]
ScenarioKind = Literal[
    "throughput", "latency", "burst", "connect", "calls", "sweep", "memory_clients", "memory_upstreams",
    "memory_stdio", "memory_sessions", "soak", "ops", "lifecycle", "faults", "deploy", "nodes",
]  # fmt: skip


class _Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    pass


class Cpu(_Record, frozen=True):
    """The processor: ``affinity`` is what this run may use, ``quota`` the cgroup's limit in CPUs if there is one."""

    model: str
    count: int
    affinity: tuple[int, ...]
    governor: str | None = None
    boost: bool | None = None
    quota: float | None = None
    mitigations: str | None = None
    virtual: str | None = None


class Environment(_Record, frozen=True):
    """The machine and the software, as far as they move numbers. ``native`` is ``crossfade_native.build_info()``."""

    cpu: Cpu
    memory_mib: int
    memory_limit_mib: int | None
    kernel: str
    os: str
    hostname_hash: str
    python: str
    python_build: str
    packages: dict[str, str] = {}
    native: dict[str, Any] | None = None
    nginx: str | None = None
    commit: str | None = None
    dirty: bool | None = None
    pinning: str = ""
    warnings: tuple[str, ...] = ()


class ScenarioRecord(_Record, frozen=True):
    """The scenario as it ran. ``sha256`` is of the canonical form of ``spec``; results compare only if it agrees.

    ``threshold`` is the relative difference that matters (0.05 is 5 %). ``headline`` metrics enter the verdict table
    and Holm's correction; ``shown`` ones are reported with intervals and no verdict. ``by_plan`` names those of
    ``left_out`` that were never meant to run here, which is no finding; None in files older than the field.
    """

    name: str
    title: str
    summary: str
    kind: ScenarioKind
    sha256: str
    tags: tuple[str, ...]
    rounds: int
    threshold: float
    headline: tuple[str, ...]
    shown: tuple[str, ...] = ()
    objective_p99_ms: float | None = None
    variants: tuple[str, ...] = ()
    left_out: dict[str, str] = {}
    by_plan: tuple[str, ...] | None = None
    spec: dict[str, Any] = {}


class VariantRecord(_Record, frozen=True):
    """One column of the comparison. ``limit`` rows (nginx, ceiling) are yardsticks and get no verdict."""

    name: str
    kind: Kind
    description: str


class Slot(_Record, frozen=True):
    """One planned block: which variant of which scenario, and its place in the round."""

    scenario: str
    round: int
    position: int
    variant: str


class Block(_Record, frozen=True):
    """One run of one variant on one scenario in fresh processes: the unit of evidence.

    A failed block keeps its place with ``status`` and ``error``. A void one ran, but may not count (the generator
    lagged, answers were wrong); ``error`` says why. ``turns`` are a metric's values turn by turn, where the variants of
    the round took turns; those of the same turn make a pair.
    """

    scenario: str
    variant: str
    kind: Kind
    round: int
    position: int
    status: Status
    started: str
    wall_s: float
    hash_seed: int
    error: str | None = None
    metrics: dict[str, float] = {}
    points: tuple[LoadPoint, ...] = ()
    ladder: tuple[Rung, ...] = ()
    soak: tuple[SoakSample, ...] = ()
    marks: tuple[Mark, ...] = ()
    operations: tuple[Operation, ...] = ()
    turns: dict[str, tuple[float, ...]] = {}
    errors: dict[str, int] = {}
    notes: tuple[str, ...] = ()


class Parity(_Record, frozen=True):
    """Whether every variant gave the same answer on a scenario before its timing counted.

    ``blamed`` alone were not timed; with nobody to blame for a difference, none was.
    """

    scenario: str
    variants: tuple[str, ...]
    ok: bool
    detail: str = ""
    blamed: tuple[str, ...] = ()


class Overhead(_Record, frozen=True):
    """What the run cost besides measuring, in seconds. ``measuring_s`` of ``run_s`` were blocks, parity and self-test;
    ``own_cpu_s`` is the harness's own processor time in those. ``parts`` names the largest of what is left."""

    run_s: float
    measuring_s: float
    own_cpu_s: float
    parts: dict[str, float] = {}


class Attachment(_Record, frozen=True):
    """A file beside ``results.json`` that explains (a memray flamegraph); it never supplies a number."""

    path: str
    what: str
    scenario: str
    variant: str


class Results(_Record, frozen=True):
    """A whole run. ``complete`` is false while it runs and after an interruption; ``blocks`` are in running order."""

    format: str
    version: int
    id: str
    created: str
    finished: str | None
    complete: bool
    command: tuple[str, ...]
    profile: str
    seed: int
    baseline: str
    candidates: tuple[str, ...]
    environment: Environment
    scenarios: tuple[ScenarioRecord, ...]
    variants: tuple[VariantRecord, ...]
    order: tuple[Slot, ...]
    blocks: tuple[Block, ...] = ()
    parity: tuple[Parity, ...] = ()
    selftest: SelfTest | None = None
    ruler: Ruler | None = None
    crosscheck: CrossCheck | None = None
    overhead: Overhead | None = None
    attachments: tuple[Attachment, ...] = ()
    notes: tuple[str, ...] = ()
    validation: Validation | None = None
    instructions: Instructions | None = None

    def scenario(self, name: str) -> ScenarioRecord:
        """The record of a scenario. Raises KeyError."""
        for record in self.scenarios:
            if record.name == name:
                return record
        raise KeyError(name)

    def of(self, scenario: str, variant: str | None = None, *, only_ok: bool = True) -> list[Block]:
        """Blocks of a scenario (and variant), by round. Failed and void ones only when ``only_ok`` is false."""
        found = [
            b
            for b in _by_scenario(self.blocks).get(scenario, ())
            if (variant is None or b.variant == variant) and (b.status == "ok" or not only_ok)
        ]
        return sorted(found, key=lambda b: (b.round, b.position))


_last: tuple[tuple[Block, ...], dict[str, list[Block]]] = ((), {})


def _by_scenario(blocks: tuple[Block, ...]) -> dict[str, list[Block]]:
    """Blocks of each scenario. The last answer is kept, for a report asks some thousand times about the same ones."""
    global _last  # noqa: PLW0603 - a memory of one, for a struct that is frozen
    if _last[0] is not blocks:
        found: dict[str, list[Block]] = {}
        for block in blocks:
            found.setdefault(block.scenario, []).append(block)
        _last = (blocks, found)
    return _last[1]
