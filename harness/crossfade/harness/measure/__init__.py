"""Measuring one block: a function per kind of scenario, all of the form ``Bench -> Measured``."""

from __future__ import annotations

from collections.abc import Callable

from crossfade.harness.measure import faults, ladders, ops, sweep, throughput
from crossfade.harness.measure.bench import Bench, Measured

__all__ = ["Bench", "Measured", "measure"]


def measure(bench: Bench) -> Measured:
    """Run one block. Raises BlockFailed, and nothing else on purpose."""
    kind = bench.scenario.kind
    if kind == "throughput" and bench.scenario.upstream.transport == "stdio":
        return throughput.over_stdio(bench)
    return _BY_KIND[kind](bench)


_BY_KIND: dict[str, Callable[[Bench], Measured]] = {
    "throughput": throughput.through_target,
    "calls": throughput.in_process,
    "sweep": sweep.run,
    "memory_clients": ladders.clients,
    "memory_upstreams": ladders.upstreams,
    "ops": ops.run,
    "faults": faults.run,
}
