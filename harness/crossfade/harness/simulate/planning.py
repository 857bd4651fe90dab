"""How many nodes hold an objective: calibrate a node from a stored sweep, try numbers of nodes, say what each gives.

Calibration takes two things from a variant's measured open-loop rates: processor time per request, which is what a
core is busy for, and the distribution of latency at the lowest rate, which is what passes where nobody waits.
The rule: nothing is planned from a variant that was not measured, and no answer hides that it is a model's.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from crossfade.harness.hdr import Histogram, highest_of
from crossfade.harness.problems import UsageError
from crossfade.harness.samples import LoadPoint, Results
from crossfade.harness.simulate.events import Floats, node

REQUESTS = 200_000
WARM = 20_000
MOST_NODES = 4096
QUANTILES = 1024


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One node: processor time of a request, its spread, and what passes outside the processor. Seconds."""

    variant: str
    scenario: str
    rate_per_s: float
    service_s: tuple[float, ...]
    wait_s: tuple[float, ...]

    @property
    def capacity_per_s(self) -> float:
        """Requests that one core can serve at most."""
        return len(self.service_s) / math.fsum(self.service_s)


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """What a number of nodes gives, by the model."""

    nodes: int
    utilisation: float
    p50_ms: float | None
    p99_ms: float | None
    holds: bool


def calibrate(results: Results, variant: str) -> Node:
    """A node of ``variant``, from its sweep. Raises UsageError if there is none in these results."""
    found = [
        (point, block.scenario)
        for record in results.scenarios
        if record.kind == "sweep"
        for block in results.of(record.name, variant)
        for point in block.points
        if point.rate_per_s and point.cpu_us_per_request and point.latency and point.completed
    ]
    if not found:
        raise UsageError(f"no open-loop sweep of {variant!r} is stored there; run `crossfade run rate-sweep` first")
    lowest = min(point.rate_per_s or 0.0 for point, _ in found)
    points = [point for point, _ in found if point.rate_per_s == lowest]
    busy = [point.cpu_us_per_request or 0.0 for point, _ in found]
    # Of all rates the median: at low ones idle turns of the loop are billed to few requests.
    cpu_s = sorted(busy)[len(busy) // 2] / 1e6
    latencies = _latencies(points)
    wait = np.maximum(latencies - cpu_s, 0.0)
    return Node(
        variant=variant,
        scenario=found[0][1],
        rate_per_s=lowest,
        service_s=(cpu_s,),
        wait_s=tuple(float(w) for w in wait),
    )


def _latencies(points: list[LoadPoint]) -> Floats:
    """Equally likely latencies, seconds, out of the merged histograms."""
    merged = Histogram.merged(point.latency for point in points)
    wanted = (np.arange(QUANTILES) + 0.5) / QUANTILES * merged.total_count
    indexes = sorted(merged.counts)
    seen = np.cumsum([merged.counts[i] for i in indexes])
    values = np.array([highest_of(i) / 1e9 for i in indexes])
    return np.asarray(values[np.searchsorted(seen, wanted)], dtype=np.float64)


def try_nodes(
    one: Node, nodes: int, *, rate_per_s: float, slo_p99_s: float, cores: int, seed: int = 1, requests: int = REQUESTS
) -> Planned:
    """What ``nodes`` nodes of ``cores`` cores give. Overloaded ones have no percentiles: their queue only grows."""
    each = rate_per_s / nodes
    utilisation = each / (one.capacity_per_s * cores)
    if utilisation >= 1:
        return Planned(nodes=nodes, utilisation=utilisation, p50_ms=None, p99_ms=None, holds=False)
    service, wait = np.array(one.service_s), np.array(one.wait_s)
    latencies = node(seed, WARM + requests, cores, each, service, wait)[WARM:]
    p50, p99 = np.percentile(latencies, [50, 99])
    return Planned(
        nodes=nodes,
        utilisation=utilisation,
        p50_ms=float(p50) * 1000,
        p99_ms=float(p99) * 1000,
        holds=bool(p99 <= slo_p99_s),
    )


def plan(one: Node, *, rate_per_s: float, slo_p99_s: float, cores: int, seed: int = 1) -> list[Planned]:
    """From the fewest nodes that are not overloaded to the first number that holds. Raises UsageError if none does."""
    fewest = max(1, math.ceil(rate_per_s / (one.capacity_per_s * cores)))
    tried: dict[int, Planned] = {}

    def held(nodes: int) -> bool:
        tried[nodes] = try_nodes(one, nodes, rate_per_s=rate_per_s, slo_p99_s=slo_p99_s, cores=cores, seed=seed)
        return tried[nodes].holds

    step, nodes = 1, fewest
    while not held(nodes):
        if nodes >= MOST_NODES:
            alone = np.percentile(np.array(one.wait_s), 99) * 1000
            raise UsageError(
                f"not even {MOST_NODES} nodes hold a p99 of {slo_p99_s * 1000:g} ms at {rate_per_s:g}/s by the model "
                f"(without any waiting it is {alone:.3g} ms); ask for less"
            )
        nodes, step = min(MOST_NODES, nodes + step), step * 2
    low, high = max((n for n, p in tried.items() if not p.holds), default=fewest - 1), nodes
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if held(middle) else (middle, high)
    return [tried[n] for n in sorted(tried) if n <= high]
