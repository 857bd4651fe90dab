"""Closed-loop saturation, through a target or in process.

Labelled so, and never the ground of a latency claim beyond this load (method rule 10).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crossfade.harness.measure import loadrun
from crossfade.harness.measure.bench import SERVER, Bench, Measured
from crossfade.harness.measure.target import Target
from crossfade.harness.problems import BlockFailed
from crossfade.harness.samples import LoadPoint
from crossfade.harness.stats.shape import classify


def through_target(bench: Bench) -> Measured:
    """Load against a gateway, nginx or the fleet; over stdio the upstream is a child of the manager."""
    with bench.front() as target:
        return measured(loadrun.run(bench, target, loadrun.plan(bench, target)))


def in_process(bench: Bench) -> Measured:
    """``call_tool`` in the variant's own process; the ceiling is the load generator straight at the fleet."""
    if bench.variant == "ceiling":
        return through_target(bench)
    with bench.fleet() as (_, ports), bench.worker(ports, serve=False) as (child, _ready):
        target = Target(0, f"{SERVER}__echo", (child.pid,))
        body = loadrun.plan(bench, target)
        child.send(order(body))
        return measured(loadrun.collect(child, target, body, during=None))


def measured(found: LoadPoint, rates: Sequence[float] | None = None) -> Measured:
    """The block's figures out of its one phase; ``rates`` of its intervals, if the series' own will not do."""
    metrics = {"throughput_per_s": found.throughput_per_s, **loadrun.rates(found), **loadrun.latency_metrics(found)}
    if found.throughput_per_s <= 0:
        raise BlockFailed(loadrun.doubt(found) or "nothing was measured")
    shape = classify([p.completed for p in found.series] if rates is None else rates)
    void = loadrun.doubt(found)
    if void is None and shape == "unstable":
        void = "the rate was unstable over the block, so that no single number describes it; quieten the machine"
    return Measured(
        metrics=metrics,
        points=(found,),
        errors=found.errors,
        notes=() if shape in ("flat", "too short") else (f"series: {shape}",),
        void=void,
    )


def order(body: dict[str, Any]) -> dict[str, Any]:
    """The generator's plan as the worker's order."""
    keys = ("tool", "payload_bytes", "check_every", "timeout_s", "warmup_s", "duration_s")
    return {"op": "calls", "in_flight": body["connections"], **{key: body[key] for key in keys}}
