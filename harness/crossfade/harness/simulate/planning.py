"""How many nodes hold an objective: try numbers of nodes in the simulator, say what each gives.

The rule: nothing is planned from a variant that was not measured, and no answer hides that it is a model's.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from crossfade.harness.problems import UsageError
from crossfade.harness.simulate import tables
from crossfade.harness.simulate.calibration import Node, calibrate
from crossfade.harness.simulate.cluster import Balancer, Breaker, Cluster, run

__all__ = ["Node", "Planned", "Upstreams", "calibrate", "plan", "try_nodes"]

REQUESTS = 200_000
EACH = 1000
"""A node sees at least so many, so that its queue has had time to grow as long as it will be."""
WARM = 0.1
MOST_NODES = 1024


class Upstreams(msgspec.Struct, frozen=True, kw_only=True):
    """What stands behind all nodes: so many instances, each serving ``slots`` calls at once (0: no bound)."""

    instances: int = 1
    slots: int = 0
    balancer: Balancer = "p2c"
    failure_rate: float = 0.0


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """What a number of nodes gives, by the model: ``failed`` by an instance, ``refused`` by a breaker, as shares."""

    nodes: int
    utilisation: float
    p50_ms: float | None
    p99_ms: float | None
    holds: bool
    failed: float = 0.0
    refused: float = 0.0


def try_nodes(
    one: Node,
    nodes: int,
    *,
    rate_per_s: float,
    slo_p99_s: float,
    cores: int,
    seed: int = 1,
    requests: int = REQUESTS,
    behind: Upstreams = Upstreams(),  # noqa: B008 - frozen
) -> Planned:
    """What ``nodes`` nodes of ``cores`` cores give. Overloaded ones have no percentiles: their queue only grows.

    Percentiles are of requests that were answered.
    """
    utilisation = rate_per_s / nodes / (one.capacity_per_s * cores)
    served_per_s = behind.instances * behind.slots / (math.fsum(one.wait_s) / len(one.wait_s)) if behind.slots else None
    if utilisation >= 1 or (served_per_s is not None and rate_per_s >= served_per_s):
        return Planned(nodes=nodes, utilisation=utilisation, p50_ms=None, p99_ms=None, holds=False)
    cluster = Cluster(
        nodes=nodes,
        rate_per_s=rate_per_s,
        service_s=one.service_s,
        wait_s=one.wait_s,
        wake_s=one.wake_s,
        cores=cores,
        instances=behind.instances,
        slots=behind.slots,
        pool=one.pool,
        balancer=behind.balancer,
        failure=(behind.failure_rate,),
        breaker=Breaker() if behind.failure_rate else None,
    )
    many = max(requests, EACH * nodes)
    future = run(cluster, many, seed)
    warm = int(WARM * many)
    latency_s, outcome = future.latency_s[warm:], future.outcome[warm:]
    answered = latency_s[outcome == tables.ANSWERED]
    if not answered.size:
        return Planned(nodes=nodes, utilisation=utilisation, p50_ms=None, p99_ms=None, holds=False, refused=1.0)
    p50, p99 = np.percentile(answered, [50, 99])
    return Planned(
        nodes=nodes,
        utilisation=utilisation,
        p50_ms=float(p50) * 1000,
        p99_ms=float(p99) * 1000,
        holds=bool(p99 <= slo_p99_s),
        failed=float(np.mean(outcome == tables.FAILED)),
        refused=float(np.mean(outcome == tables.REFUSED)),
    )


def plan(
    one: Node,
    *,
    rate_per_s: float,
    slo_p99_s: float,
    cores: int,
    seed: int = 1,
    behind: Upstreams = Upstreams(),  # noqa: B008 - frozen
) -> list[Planned]:
    """From the fewest nodes that are not overloaded to the first number that holds. Raises UsageError if none does."""
    # Whatever the model says: no node is given more than it kept when it was measured.
    most_per_s = min(one.capacity_per_s, one.most_per_s or math.inf) * cores
    fewest = max(1, math.ceil(rate_per_s / most_per_s))
    tried: dict[int, Planned] = {}

    def held(nodes: int) -> bool:
        tried[nodes] = try_nodes(
            one, nodes, rate_per_s=rate_per_s, slo_p99_s=slo_p99_s, cores=cores, seed=seed, behind=behind
        )
        return tried[nodes].holds

    step, nodes = 1, fewest
    while not held(nodes):
        if nodes >= MOST_NODES or fewest > MOST_NODES:
            alone = np.percentile(np.array(one.wait_s), 99) * 1000
            raise UsageError(
                f"not even {MOST_NODES} nodes hold a p99 of {slo_p99_s * 1000:g} ms at {rate_per_s:g}/s by the model "
                f"(without any waiting it is {alone:.3g} ms); ask for less, or for more --instances or --slots"
            )
        nodes, step = min(MOST_NODES, nodes + step), step * 2
    low, high = max((n for n, p in tried.items() if not p.holds), default=fewest - 1), nodes
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if held(middle) else (middle, high)
    return [tried[n] for n in sorted(tried) if n <= high]
