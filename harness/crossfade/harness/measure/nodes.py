"""Several managers at once share one load, as nodes behind something that spreads connections over them in turn.

1. The counts rise; what is missing is started, all on the variant's processor, before one fleet. Where everything is
   gone through several times, the order is turned round in every second pass, and who is not asked stands by.
2. The load stays the same, its connections too, which are spread over the nodes: a connection costs memory and caches
   wherever it ends, and 16 nodes with 16 each are to be compared with one that has all 256.
3. Processor time is that of all nodes together, per request. The fleet's is read apart: who models the run needs it.

The rule: nodes that share one core show what scaling out costs each request, and never that throughput scales.
"""

from __future__ import annotations

import contextlib

import msgspec

from crossfade.harness.cpuclock import process_cpu_ns
from crossfade.harness.measure import loadrun, turns
from crossfade.harness.measure.bench import Bench, Measured, warm
from crossfade.harness.measure.target import Target
from crossfade.harness.problems import BlockFailed
from crossfade.harness.processes import Child
from crossfade.harness.samples import LoadPoint

WARM_CALLS = 20


def run(bench: Bench) -> Measured:
    """All counts, and all rates of each."""
    table = bench.scenario.nodes
    assert table is not None  # noqa: S101 - the scenario was validated
    if bench.gateway is not None and bench.gateway.url is not None:
        raise BlockFailed(f"{bench.variant}: a gateway that runs already is one node; give its --command instead")
    points: list[LoadPoint] = []
    with bench.fleet() as (fleet, ports), contextlib.ExitStack() as stack:
        targets: list[Target] = []
        order = [(count, rate) for count in table.counts for rate in table.rates(count)]
        for number in range(table.passes):
            for count, rate in order if number % 2 == 0 else reversed(order):
                while len(targets) < count:
                    targets.append(stack.enter_context(bench.target(fleet, ports)))
                    warm(targets[-1], bench.scenario, calls=WARM_CALLS)
                points.append(phase(bench, fleet, targets[:count], rate, len(points)))
    return conclude(points)


def phase(bench: Bench, fleet: Child, targets: list[Target], rate: float | None, number: int) -> LoadPoint:
    """One load over all of ``targets``."""
    pids = tuple(pid for target in targets for pid in target.processes())
    together = msgspec.structs.replace(targets[0], pids=pids, look=None)
    body = loadrun.plan(bench, together, rate_per_s=rate, seed_offset=number)
    if len(targets) > 1:
        del body["host"], body["port"]
        body["targets"] = [{"host": target.host, "port": target.port} for target in targets]
    begun: list[int] = []
    found = loadrun.run(bench, together, body, during=lambda: begun.append(process_cpu_ns(fleet.pid)))
    # Until the last answer: what was due in the window and is answered after it counts as completed, too.
    spent_us = (process_cpu_ns(fleet.pid) - begun[0]) / 1000
    return msgspec.structs.replace(
        found, nodes=len(targets), fleet_cpu_us_per_request=spent_us / found.completed if found.completed else None
    )


def conclude(points: list[LoadPoint]) -> Measured:
    """The block's figures: those of the most nodes at the highest rate, and what the nodes cost more than one."""
    most, rate = max((p.nodes or 1, p.rate_per_s or 0.0) for p in points)
    last, alone = (asked(points, count, rate) for count in (most, 1))
    assert last is not None  # noqa: S101 - it is the most of all
    metrics = {"throughput_per_s": last.throughput_per_s, **loadrun.latency_metrics(last)}
    if last.cpu_us_per_request is not None:
        metrics["cpu_us_per_request"] = last.cpu_us_per_request
        if alone is not None and alone.cpu_us_per_request and most > 1:
            metrics["nodes_cpu_ratio"] = last.cpu_us_per_request / alone.cpu_us_per_request
    doubts = ((found, loadrun.doubt(found)) for found in points)
    void = next((f"{told(found)}: {why}" for found, why in doubts if why), None)
    return Measured(metrics=metrics, points=tuple(points), errors=turns.added([p.errors for p in points]), void=void)


def asked(points: list[LoadPoint], nodes: int, rate: float) -> LoadPoint | None:
    """What so many nodes did at a rate, in all passes together; None if they were not asked for it."""
    mine = [p for p in points if (p.nodes or 1, p.rate_per_s or 0.0) == (nodes, rate)]
    return turns.together(mine) if len(mine) > 1 else mine[0] if mine else None


def told(found: LoadPoint) -> str:
    """A phase in words."""
    rate = "" if found.rate_per_s is None else f" at {found.rate_per_s:g}/s"
    return f"{found.nodes} {'node' if found.nodes == 1 else 'nodes'}{rate}"
