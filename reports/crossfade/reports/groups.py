"""Which part of the page a scenario belongs to: one table, in which every kind has its place."""

from __future__ import annotations

from dataclasses import dataclass

from crossfade.harness.samples import Results, ScenarioKind


@dataclass(frozen=True, slots=True)
class Group:
    """``key`` is the section's id on the page; ``kinds`` in the order in which their verdicts lead."""

    key: str
    title: str
    kinds: tuple[ScenarioKind, ...]


GROUPS: tuple[Group, ...] = (
    Group("throughput", "Throughput and CPU", ("throughput", "calls")),
    Group("latency", "Latency, bursts and storms", ("sweep", "latency", "burst", "connect")),
    Group("memory", "Memory", ("memory_clients", "memory_upstreams", "memory_stdio", "memory_sessions", "soak")),
    Group("operations", "Policy operations", ("ops",)),
    Group("faults", "Faults", ("faults",)),
    Group("life", "Beginning, end and change", ("lifecycle", "deploy")),
    Group("scale", "Scale", ("nodes",)),
)
KINDS: tuple[ScenarioKind, ...] = tuple(kind for group in GROUPS for kind in group.kinds)
"""Every kind, the one that a page would open with first."""
PROVOKED: tuple[ScenarioKind, ...] = ("faults", "lifecycle")
"""Kinds that break things on purpose: their failed requests are measurements."""
_OF = {kind: group for group in GROUPS for kind in group.kinds}


def group_of(kind: ScenarioKind) -> Group:
    """The group of a kind."""
    return _OF[kind]


def titles(results: Results) -> dict[str, str]:
    """Scenario -> the title of its group."""
    return {record.name: group_of(record.kind).title for record in results.scenarios}
