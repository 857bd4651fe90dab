"""Measuring one block: a function per kind of scenario, all of the form ``Bench -> Measured``."""

from __future__ import annotations

from collections.abc import Callable

from crossfade.harness.measure import (
    burst,
    connect,
    deploy,
    faults,
    ladders,
    latency,
    lifecycle,
    nodes,
    ops,
    soak,
    sweep,
    throughput,
    upstream_ladders,
)
from crossfade.harness.measure.bench import Bench, Measured
from crossfade.scenarios import Kind

__all__ = ["Bench", "Measured", "measure"]


def measure(bench: Bench) -> Measured:
    """Run one block. Raises BlockFailed, and nothing else on purpose."""
    return _BY_KIND[bench.scenario.kind](bench)


_BY_KIND: dict[Kind, Callable[[Bench], Measured]] = {
    "throughput": throughput.through_target,
    "latency": latency.run,
    "burst": burst.run,
    "connect": connect.run,
    "calls": throughput.in_process,
    "sweep": sweep.run,
    "memory_clients": ladders.clients,
    "memory_upstreams": upstream_ladders.over_http,
    "memory_stdio": upstream_ladders.over_stdio,
    "memory_sessions": ladders.sessions,
    "soak": soak.run,
    "ops": ops.run,
    "lifecycle": lifecycle.run,
    "faults": faults.run,
    "deploy": deploy.run,
    "nodes": nodes.run,
}
