"""What a node costs and how long its calls take, from stored results of a variant.

1. Processor time: what a request costs where work is never short (the cheapest of all rates that were kept), and the
   rest of what it costs at the lowest rate, which is waking up. A request wakes its node twice: to be forwarded, and to
   be answered.
2. Time outside the node: the latencies of the lowest rate, less what the model itself says passes at that rate. It is
   corrected until the model's percentiles there are the measured ones.
3. Stalls: this machine takes a core away now and then; what is late at the lowest rate says how often and how long.

The rule: nothing is taken from a point that is to be predicted, save processor time.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np

from crossfade.harness.hdr import Histogram, highest_of
from crossfade.harness.problems import UsageError
from crossfade.harness.samples import LoadPoint, Results, ScenarioRecord
from crossfade.harness.simulate.cluster import Cluster, Stalls, run
from crossfade.harness.simulate.tables import Floats

QUANTILES = 2048
RANKS = (np.arange(QUANTILES) + 0.5) / QUANTILES
WAKES = 2
CORRECTIONS = 3
REQUESTS = 200_000
NEAR = 0.05
"""How near p99 has to come at the point of calibration; it is not known better than that."""
KEPT = 0.95
"""Of the offered rate; random arrivals miss their mean by less."""
STALL_S = 0.5e-3
"""A generator that is later than this stood still: ordinary wake-ups take a tenth of it."""
RARE = 0.05
"""A share of late requests above this is the upstream's doing, and no longer that of stalls."""
FEW = 4
"""Phases of a round of which none is left out."""
POOL = 64
"""``pool.maxConnections`` where a configuration does not say."""


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One node: processor time of a request that need not wake it, of a wake-up, and what passes outside. Seconds.

    ``most_per_s`` is the highest rate that it kept when it was measured alone on one core, if that was looked for.
    """

    variant: str
    scenario: str
    rate_per_s: float
    service_s: tuple[float, ...]
    wait_s: tuple[float, ...]
    wake_s: float = 0.0
    pool: int = POOL
    most_per_s: float | None = None

    @property
    def capacity_per_s(self) -> float:
        """Requests that one core can serve at most."""
        return len(self.service_s) / sum(self.service_s)

    @property
    def idle_s(self) -> float:
        """Processor time of a request that finds its node asleep each time."""
        return 1.0 / self.capacity_per_s + WAKES * self.wake_s


def calibrate(results: Results, variant: str) -> Node:
    """A node of ``variant``, from its sweep, else from a run of nodes. Raises UsageError if there is neither."""
    for record in sorted(results.scenarios, key=lambda record: record.kind != "sweep"):
        found = lowest(results, record, variant)
        if found:
            cheap, idle = costs(results, record, variant, found)
            wake_s = (idle - cheap) / WAKES
            rate = found[0].rate_per_s or 0.0
            bare = Cluster(nodes=1, rate_per_s=rate, service_s=(cheap,), wake_s=wake_s)
            wait_s = outside(bare, latencies(found))
            return Node(
                variant=variant,
                scenario=record.name,
                rate_per_s=rate,
                service_s=(cheap,),
                wait_s=wait_s,
                wake_s=wake_s,
                pool=pool(record),
                most_per_s=most(results, record, variant),
            )
    raise UsageError(f"no open-loop sweep of {variant!r} is stored there; run `crossfade run rate-sweep` first")


def lowest(results: Results, record: ScenarioRecord, variant: str) -> list[LoadPoint]:
    """The points of all rounds at the lowest rate of one node; empty if the scenario has none."""
    if record.kind not in ("sweep", "nodes"):
        return []
    points = [p for p in points_of(results, record.name, variant) if p.nodes in (None, 1)]
    rate = min((p.rate_per_s for p in points if p.rate_per_s), default=None)
    return [p for p in points if p.rate_per_s == rate and rate is not None]


def most(results: Results, record: ScenarioRecord, variant: str) -> float | None:
    """The highest rate that was kept (median over rounds), where rates rose until one was not."""
    kept = [[p.rate_per_s or 0.0 for p in block.points if not lost(p)] for block in results.of(record.name, variant)]
    found = [max(rates) for rates in kept if rates]
    return statistics.median(found) if found and record.kind == "sweep" else None


def points_of(results: Results, scenario: str, variant: str) -> list[LoadPoint]:
    """Every phase that can be calibrated from or compared with."""
    return [
        point
        for block in results.of(scenario, variant)
        for points in asked(block.points).values()
        for point in typical(points)
    ]


def asked(points: Iterable[LoadPoint]) -> dict[tuple[int, float], list[LoadPoint]]:
    """The phases of a block, by how many nodes were asked for which rate (closed loops: 0)."""
    found: dict[tuple[int, float], list[LoadPoint]] = {}
    for point in points:
        if point.cpu_us_per_request and point.latency and point.completed:
            found.setdefault((point.nodes or 1, point.rate_per_s or 0.0), []).append(point)
    return found


def typical(points: Sequence[LoadPoint]) -> list[LoadPoint]:
    """Of a round's phases of one kind the calm half, by p99.

    A phase in which something else took the machine away for milliseconds says nothing of the nodes, and p99 tells it
    from others as plainly as anything: it is many times theirs. The calm half's p99 is a little low; so it is where the
    model is fitted. Fewer than four phases are all kept, and so are those too short for a p99.
    """
    if len(points) < FEW or any(point.p99_us is None for point in points):
        return list(points)
    return sorted(points, key=lambda point: point.p99_us or 0.0)[: len(points) // 2]


def node_s(point: LoadPoint) -> float | None:
    """Processor seconds of a request at its node."""
    return None if point.cpu_us_per_request is None else point.cpu_us_per_request / 1e6


def costs(
    results: Results,
    record: ScenarioRecord,
    variant: str,
    found: Sequence[LoadPoint],
    cost: Callable[[LoadPoint], float | None] = node_s,
) -> tuple[float, float]:
    """Processor seconds of a request where work is never short, and at the lowest rate (medians over rounds)."""
    names = {record.name, *(s.name for s in results.scenarios if _same_work(s, record))}
    busy: dict[tuple[str, float | None], list[float]] = {}
    for name in names:
        for point in points_of(results, name, variant):
            if point.nodes in (None, 1) and not lost(point) and (spent := cost(point)):
                busy.setdefault((name, point.rate_per_s), []).append(spent)
    idle = statistics.median(spent for point in found if (spent := cost(point)))
    return min(idle, *(statistics.median(values) for values in busy.values())), idle


def lost(point: LoadPoint) -> bool:
    """Whether the rate was too much: what an overloaded node spends on a request it spends on no other, for its turns
    are longer than any that keep an objective."""
    rate = point.rate_per_s
    return point.held is False or (rate is not None and point.throughput_per_s < KEPT * rate)


def _same_work(one: ScenarioRecord, other: ScenarioRecord) -> bool:
    """Closed loops of nodes with the same requests tell what one costs without waking; a sweep tells it itself."""
    if one.kind != "nodes" or other.kind != "nodes" or not (one.spec and other.spec):
        return False
    keys = ("payload_bytes", "era")
    loads = (one.spec.get("load") or {}, other.spec.get("load") or {})
    same = all(loads[0].get(key) == loads[1].get(key) for key in keys)
    upstreams = (one.spec.get("upstream") or {}, other.spec.get("upstream") or {})
    plain = ("transport", "era", "servers", "replicas")
    return same and all(upstreams[0].get(key) == upstreams[1].get(key) for key in plain) and not loads[0].get("mix")


def pool(record: ScenarioRecord) -> int:
    """Connections that a node may have to one instance."""
    told = ((record.spec.get("manager") or {}).get("pool") or {}).get("maxConnections", POOL)
    return int(told)


def latencies(points: Sequence[LoadPoint]) -> Floats:
    """Equally likely latencies, seconds, out of the merged histograms."""
    return equally_likely(Histogram.merged(point.latency for point in points))


def equally_likely(histogram: Histogram) -> Floats:
    """``QUANTILES`` values that stand for the histogram, in seconds."""
    wanted = RANKS * histogram.total_count
    indexes = sorted(histogram.counts)
    seen = np.cumsum([histogram.counts[i] for i in indexes])
    values = np.array([highest_of(i) / 1e9 for i in indexes])
    return np.asarray(values[np.searchsorted(seen, wanted)], dtype=np.float64)


def outside(bare: Cluster, measured: Floats, *, seed: int = 1) -> tuple[float, ...]:
    """What passes outside, so that the model at this point has the measured percentiles."""
    at = RANKS * 100
    spent = run(msgspec.structs.replace(bare, stalls=None), REQUESTS, seed).latency_s
    wait = np.maximum(measured - np.median(spent), 0.0)
    for _ in range(CORRECTIONS):
        now = run(msgspec.structs.replace(bare, wait_s=tuple(wait.tolist())), REQUESTS, seed).latency_s
        # Percentiles are corrected one by one, and stay in order.
        wait = np.sort(np.maximum(wait + measured - np.percentile(now, at), 0.0))
    return tuple(wait.tolist())


def fitted(bare: Cluster, measured: Floats) -> Cluster:
    """The model with the time outside that its percentiles lack, and with no more stalls than its p99 leaves room for.

    The lag of one core is a poor guide to the stalls of both: they come in fits, and neighbours decide when.
    """
    p99 = float(np.percentile(measured, 99))
    told = bare.stalls
    low, high, share = 0.0, 1.0, 1.0 if told is not None else 0.0
    best = None
    while best is None or high - low > NEAR:
        some = None if told is None or not share else Stalls(per_s=told.per_s * share, for_s=told.for_s)
        model = msgspec.structs.replace(bare, stalls=some)
        model = msgspec.structs.replace(model, wait_s=outside(model, measured))
        fits = not share or float(np.percentile(run(model, REQUESTS, 2).latency_s, 99)) <= p99 * (1 + NEAR)
        if fits:
            best, low = model, share
            if share in (0.0, 1.0):
                break
        else:
            high = share
        # None at all always fits; it is tried last, if not even a little does.
        share = (low + high) / 2 if high > 2 * NEAR or best is not None else 0.0
    return best


def stalls(points: Sequence[LoadPoint]) -> Stalls | None:
    """How often and how long the machine takes a core away: both cores alike, for what is not known apart.

    How long the generator's lag tells: who comes in the middle of a stall waits for what is left of it. How often the
    latencies tell, for they meet the stalls of both cores, where hardly any takes that long otherwise; else the lag.
    """
    lag = Histogram.merged(point.lag for point in points if point.lag)
    late = [(highest_of(i) / 1e9, n) for i, n in lag.counts.items() if highest_of(i) / 1e9 > STALL_S]
    count = sum(n for _, n in late)
    if not count:
        return None
    for_s = 2 * sum(late_s * n for late_s, n in late) / count - STALL_S
    share = count / lag.total_count
    found = latencies(points)
    tail = float(np.mean(found > np.median(found) + STALL_S))
    if tail < RARE:
        share = tail / 2
    # A request that comes within STALL_S of a stall's end is not counted as late.
    return Stalls(per_s=share / (for_s - STALL_S), for_s=(for_s,)) if share else None
