"""A cluster as a description, and one future of it: nodes, the cores they share, instances, arrivals.

Owns how a description becomes tables. The rule: everything is in seconds and requests per second; what a description
leaves out (a client, a fleet, a breaker, stalls) does not exist in its future.
"""

from __future__ import annotations

import time
from typing import Literal

import msgspec
import numpy as np

from crossfade.harness.simulate import tables as col
from crossfade.harness.simulate.events import loop
from crossfade.harness.simulate.tables import Floats, Ints, Tables

Balancer = Literal["p2c", "round_robin", "least_pending", "random"]
Front = Literal["random", "round_robin", "connections"]
BALANCERS: tuple[Balancer, ...] = ("p2c", "round_robin", "least_pending", "random")
FRONTS: tuple[Front, ...] = ("random", "round_robin", "connections")
SPEED_RUNS, SPEED_REQUESTS = 4, 500_000
SLICE_S = 3e-3
"""How long a process keeps a core while another waits; of no matter until an event loop's turn is that long."""


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """The defaults of a configuration file."""

    window: int = 100
    min_calls: int = 20
    failure_share: float = 0.5
    open_s: float = 5.0
    probes: int = 3


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """Client and fleet on a core of their own, as in a measured run: processor time of their steps, and of waking.

    ``answer_s`` is zero where the fleet answers at once; ``receive_s`` is what the client does with the answer.
    """

    send_s: float
    accept_s: float
    answer_s: float
    receive_s: float
    client_wake_s: float = 0.0
    fleet_wake_s: float = 0.0


class Stalls(msgspec.Struct, frozen=True, kw_only=True):
    """Each group of cores stands still so often, for one of these times."""

    per_s: float
    for_s: tuple[float, ...]


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """``nodes`` with ``cores`` each, or ``shared`` of them to one core.

    ``service_s`` and ``wait_s`` are equally likely values: processor time of a request at its node, ``forward_share``
    of it before the call, and how long an instance takes, which holds no core. ``slots`` and ``pool`` 0: no bound.
    A node spends ``wake_s`` on waking, and ``switch_s`` more where another had its core since.
    ``failure`` is the share of calls that fail, a number for each instance or one for all.
    """

    nodes: int
    rate_per_s: float
    service_s: tuple[float, ...]
    wait_s: tuple[float, ...] = (0.0,)
    cores: int = 1
    shared: int = 1
    wake_s: float = 0.0
    switch_s: float = 0.0
    forward_share: float = 0.5
    arrivals: Literal["poisson", "constant"] = "poisson"
    front: Front = "random"
    connections: int = 0
    instances: int = 1
    slots: int = 0
    pool: int = 0
    balancer: Balancer = "p2c"
    failure: tuple[float, ...] = ()
    breaker: Breaker | None = None
    beside: Beside | None = None
    stalls: Stalls | None = None
    slice_s: float = SLICE_S


class Future(msgspec.Struct, frozen=True):
    """What came of it: latency in seconds of each request in order of arrival, how each ended (``tables.ANSWERED``),
    how often breakers opened; ``peak`` is the most calls that were ever at one instance, ``spent_s`` the processor
    time of all nodes."""

    latency_s: Floats
    outcome: Ints
    events: int
    opened: int
    peak: int
    spent_s: float


def run(cluster: Cluster, requests: int, seed: int) -> Future:
    """One future."""
    t = lay_out(cluster, requests)
    latency_s = np.full(requests, np.nan)
    loop(t, seed, latency_s)
    peak = int(t.instances[:, col.PEAK].max())
    return Future(
        latency_s=latency_s,
        outcome=t.tasks[:, col.OUTCOME].copy(),
        events=int(t.numbers[col.EVENTS]),
        opened=int(t.numbers[col.OPENED]),
        peak=peak,
        spent_s=float(t.settings[col.SPENT_S]),
    )


def speed() -> float:
    """Events per second of processor time on this machine: sixteen nodes with two instances, the best of some runs."""
    cluster = Cluster(nodes=16, rate_per_s=480_000.0, service_s=(20e-6,), wait_s=(1e-4, 2e-4), instances=2)
    best = 0.0
    for seed in range(SPEED_RUNS):
        t, latency_s = lay_out(cluster, SPEED_REQUESTS), np.empty(SPEED_REQUESTS)
        begin = time.process_time()
        loop(t, seed, latency_s)
        best = max(best, int(t.numbers[col.EVENTS]) / (time.process_time() - begin))
    return best


def lay_out(c: Cluster, requests: int) -> Tables:
    """The tables at time zero."""
    beside = c.beside
    groups = -(-c.nodes // c.shared) + (beside is not None)
    widths = np.full(groups, c.cores)
    processes = np.zeros((c.nodes + 2, 8), np.int64)
    processes[:, col.GROUP] = np.arange(c.nodes + 2) // c.shared
    processes[:, col.THREADS], processes[:, col.ASLEEP] = c.cores, 1
    wake_s = np.full(c.nodes + 2, c.wake_s)
    if beside is not None:
        processes[c.nodes :, col.GROUP], processes[c.nodes :, col.THREADS], widths[-1] = groups - 1, 1, 1
        wake_s[c.nodes :] = beside.client_wake_s, beside.fleet_wake_s
    table, rings, free = _groups(widths, processes)
    links, window = c.nodes * c.instances, c.breaker.window if c.breaker else 1
    heap = requests + int(widths.sum()) + groups
    t = Tables(
        tasks=np.zeros((requests, 6), np.int64),
        moments=np.zeros((requests, 2)),
        processes=processes,
        wake_s=wake_s,
        groups=table,
        rings=rings,
        free=free,
        servers=np.full((free.size, 3), col.NOBODY),
        serving=np.zeros((free.size, 3)),
        links=np.zeros((links, 11), np.int64),
        trips=np.full((links, 2), -np.inf),
        outcomes=np.zeros((links, window), np.int8),
        instances=np.zeros((c.instances, 6), np.int64),
        failure=np.resize(np.array(c.failure or (0.0,)), c.instances),
        usable=np.zeros(c.instances, np.int64),
        turns=np.zeros(c.nodes, np.int64),
        idle=np.array([0, 0, c.connections, *range(c.connections)]),
        line=np.zeros((1, 3), np.int64),
        ready=np.zeros(requests + 1, np.int64),
        heap_at=np.zeros(heap),
        heap_what=np.zeros(heap, np.int64),
        numbers=np.zeros(18, np.int64),
        settings=np.zeros(8),
        step_s=np.zeros(13),
        service_s=np.array(c.service_s),
        wait_s=np.array(c.wait_s),
        stall_s=np.array(c.stalls.for_s if c.stalls else (0.0,)),
    )
    t.instances[:, col.SLOTS] = c.slots
    _settings(c, t)
    if c.stalls is not None:
        for group in range(groups):
            t.heap_at[group], t.heap_what[group] = 0.0, group * col.KINDS + col.STALLED
        t.numbers[col.HEAP] = groups
    return t


def _groups(widths: Ints, processes: Ints) -> tuple[Ints, Ints, Ints]:
    table = np.zeros((widths.size, 7), np.int64)
    sizes = np.array([processes[processes[:, col.GROUP] == g, col.THREADS].sum() for g in range(widths.size)])
    table[:, col.RING], table[:, col.RING_SIZE] = np.cumsum(sizes) - sizes, sizes
    table[:, col.SERVERS] = np.cumsum(widths) - widths
    table[:, col.FREE_LENGTH] = table[:, col.WIDTH] = widths
    return table, np.zeros(int(sizes.sum()), np.int64), np.arange(int(widths.sum()))


def _settings(c: Cluster, t: Tables) -> None:
    numbers, settings = t.numbers, t.settings
    numbers[col.NODES], numbers[col.INSTANCES], numbers[col.POOL] = c.nodes, c.instances, c.pool
    numbers[col.CLIENT], numbers[col.FLEET] = c.nodes, c.nodes + 1
    numbers[col.ARRIVALS] = col.CONSTANT if c.arrivals == "constant" else col.POISSON
    numbers[col.FRONT], numbers[col.BALANCER] = FRONTS.index(c.front), BALANCERS.index(c.balancer)
    settings[col.RATE], settings[col.SHARE], settings[col.SLICE_S] = c.rate_per_s, c.forward_share, c.slice_s
    settings[col.SWITCH_S] = c.switch_s
    if c.breaker is not None:
        b = c.breaker
        numbers[col.BREAKER], numbers[col.WINDOW] = 1, b.window
        numbers[col.MIN_CALLS], numbers[col.PROBES] = b.min_calls, b.probes
        settings[col.FAILURE_SHARE], settings[col.OPEN_S] = b.failure_share, b.open_s
    if c.beside is not None:
        t.step_s[[col.SEND, col.ACCEPT, col.ANSWER, col.RECEIVE]] = (
            c.beside.send_s, c.beside.accept_s, c.beside.answer_s, c.beside.receive_s,
        )  # fmt: skip
    if c.stalls is not None:
        settings[col.STALLS_PER_S] = c.stalls.per_s
