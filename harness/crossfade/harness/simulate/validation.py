"""The simulator against measured runs of several nodes on this machine.

The model of such a run: all nodes share one core, client and fleet another; requests take the connection that was
idle longest, connections are spread over the nodes in turn; a node has so many connections to its upstream; both cores
stall. It is calibrated from one node at the lowest rate, and has to predict p99 at every other rate and number of
nodes.

The rule: the point of calibration is shown and never counted, and a prediction stands beside the interval of what it
predicts: a p99 that rounds do not agree about cannot be predicted better than they agree. Where a round has many phases
at a point, its p99 is that of their calm half, and that of all of them is kept beside it. Of the points to be predicted
nothing is known but processor time.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import numpy as np

from crossfade.harness.hdr import Histogram
from crossfade.harness.problems import UsageError
from crossfade.harness.samples import LoadPoint, Predicted, Results, ScenarioRecord, Validation
from crossfade.harness.simulate.calibration import (
    REQUESTS,
    WAKES,
    asked,
    costs,
    fitted,
    latencies,
    lowest,
    node_s,
    pool,
    stalls,
    typical,
)
from crossfade.harness.simulate.cluster import Beside, Cluster, run, speed
from crossfade.harness.stats import interval
from crossfade.harness.stats.latency import NEEDED

TARGET = 0.2
SEED = 1
FUTURE_S = 60.0
SWITCH_ROUNDS = 5


def validate(results: Results) -> Validation:
    """Every open-loop scenario of several nodes, each variant by itself. Raises UsageError if there is none."""
    rows = tuple(
        row
        for record in results.scenarios
        if record.kind == "nodes" and (record.spec.get("load") or {}).get("mode") == "open"
        for variant in record.variants
        for row in compare(results, record, variant)
    )
    if not rows:
        raise UsageError(
            "no open-loop run of several nodes is stored there; run `crossfade run nodes-rates nodes-pool`"
        )
    if not results.environment.pinning.startswith("variant on CPU"):
        raise UsageError(
            "these nodes were not pinned to one core, which the model of the run needs; use two processors"
        )
    created = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return Validation(created=created, results=results.id, target=TARGET, rows=rows, events_per_s=speed())


def possible(results: Results) -> bool:
    """Whether there is anything to validate with."""
    return any(
        record.kind == "nodes"
        and (record.spec.get("load") or {}).get("mode") == "open"
        and any(results.of(record.name, variant) for variant in record.variants)
        for record in results.scenarios
    ) and results.environment.pinning.startswith("variant on CPU")


def compare(results: Results, record: ScenarioRecord, variant: str) -> Iterator[Predicted]:
    """Each measured point of a variant with its prediction, by number of nodes and rate."""
    found = lowest(results, record, variant)
    if not found:
        return
    one = model(results, record, variant, found)
    groups: dict[tuple[int, float], list[list[LoadPoint]]] = {}
    for block in results.of(record.name, variant):
        for key, phases in asked(block.points).items():
            groups.setdefault(key, []).append(phases)
    one = msgspec.structs.replace(one, switch_s=switching(one, groups))
    for (nodes, rate), rounds in sorted(groups.items()):
        connections = rounds[0][0].connections
        cluster = msgspec.structs.replace(one, nodes=nodes, shared=nodes, rate_per_s=rate, connections=connections)
        calibration = (nodes, rate) == (1, found[0].rate_per_s)
        yield predicted(record.name, variant, cluster, rounds, calibration=calibration)


def model(results: Results, record: ScenarioRecord, variant: str, found: list[LoadPoint]) -> Cluster:
    """One node at the lowest rate, with client and fleet beside it, so that its percentiles are the measured ones."""
    cheap, idle = costs(results, record, variant, found)
    bare = Cluster(
        nodes=1,
        rate_per_s=found[0].rate_per_s or 0.0,
        service_s=(cheap,),
        wake_s=(idle - cheap) / WAKES,
        front="connections",
        connections=found[0].connections,
        arrivals=(record.spec.get("load") or {}).get("arrivals", "poisson"),
        pool=pool(record),
        beside=beside(results, record, variant, found),
        stalls=stalls(found),
    )
    return fitted(bare, latencies(found))


def switching(one: Cluster, groups: dict[tuple[int, float], list[list[LoadPoint]]]) -> float:
    """What it costs a node that others had its core, so that most nodes at the rate of ``one`` spend what they did."""
    nodes = max((nodes for nodes, rate in groups if rate == one.rate_per_s), default=1)
    if nodes == 1:
        return 0.0
    points = [point for phases in groups[nodes, one.rate_per_s] for point in typical(phases)]
    measured_s = statistics.median(spent for point in points if (spent := node_s(point)))
    cluster = msgspec.structs.replace(one, nodes=nodes, shared=nodes, connections=points[0].connections)
    switch_s = 0.0
    for _ in range(SWITCH_ROUNDS):
        spent_s = run(msgspec.structs.replace(cluster, switch_s=switch_s), REQUESTS, SEED).spent_s / REQUESTS
        # Hardly more than one switch for each time that a request wakes its node: no step goes too far.
        switch_s = max(switch_s + (measured_s - spent_s) / WAKES, 0.0)
    return switch_s


def beside(results: Results, record: ScenarioRecord, variant: str, found: list[LoadPoint]) -> Beside:
    """Client and fleet. An upstream that answers later wakes its fleet a second time, by a timer."""
    later = bool((record.spec.get("upstream") or {}).get("latency_ms"))
    client_s, client_idle_s = costs(results, record, variant, found, _client_s)
    fleet_s, fleet_idle_s = costs(results, record, variant, found, _fleet_s)
    return Beside(
        send_s=client_s / 2,
        receive_s=client_s / 2,
        client_wake_s=(client_idle_s - client_s) / 2,
        accept_s=fleet_s / (1 + later),
        answer_s=fleet_s / 2 if later else 0.0,
        fleet_wake_s=(fleet_idle_s - fleet_s) / (1 + later),
    )


def _client_s(point: LoadPoint) -> float | None:
    return None if point.generator_cpu_s is None else point.generator_cpu_s / point.completed


def _fleet_s(point: LoadPoint) -> float | None:
    return None if point.fleet_cpu_us_per_request is None else point.fleet_cpu_us_per_request / 1e6


def predicted(
    scenario: str, variant: str, cluster: Cluster, rounds: list[list[LoadPoint]], *, calibration: bool
) -> Predicted:
    """The model's percentiles beside those of the typical phases of all rounds together."""
    # Long enough for hundreds of stalls, and for the queue to be as long as it will be.
    many = max(REQUESTS, int(cluster.rate_per_s * FUTURE_S))
    latency_s = run(cluster, many, SEED).latency_s[many // 10 :]
    # A queue that only grows has no percentiles: the second half waits longer than the first ever did.
    halves = np.array_split(latency_s, 2)
    grows = bool(np.median(halves[1]) > np.percentile(halves[0], 99))
    p50, p99 = np.percentile(latency_s, [50, 99]) * 1000
    by_round = [Histogram.merged(point.latency for point in typical(phases)) for phases in rounds]
    whole = Histogram.merged(point.latency for phases in rounds for point in typical(phases))
    measured_p50, measured_p99 = (whole.value_at_percentile(at) / 1e6 for at in (50.0, 99.0))
    # A round too short for a p99 has no part in the interval, but in the percentiles of all rounds together.
    logs = [math.log(one.value_at_percentile(99.0) / 1e6) for one in by_round if one.total_count >= NEEDED[99.0]]
    over = interval(logs) if logs else None
    every = Histogram.merged(point.latency for phases in rounds for point in phases)
    return Predicted(
        scenario=scenario,
        variant=variant,
        nodes=cluster.nodes,
        rate_per_s=cluster.rate_per_s,
        calibration=calibration,
        rounds=len(rounds),
        phases=sum(map(len, rounds)),
        samples=whole.total_count,
        measured_p50_ms=measured_p50,
        measured_p99_ms=measured_p99,
        low_p99_ms=None if over is None or over.low is None else math.exp(over.low),
        high_p99_ms=None if over is None or over.high is None else math.exp(over.high),
        all_p99_ms=every.value_at_percentile(99.0) / 1e6,
        predicted_p50_ms=None if grows else float(p50),
        predicted_p99_ms=None if grows else float(p99),
        error=None if grows or not measured_p99 else float(p99) / measured_p99 - 1,
    )
