"""The future of a cluster, event by event, in order of time. Compiled with numba.

A request falls due, is sent by the client, forwarded by a node, called at an instance, answered through the same node, and
received. Each step that costs processor time waits for a core of its process; what costs none takes no time. The stages
are in ``tables``, cores in ``queues``, and what stands between a node and its instances in ``upstreams``.

The rule: the same tables and seed are the same future, to the last bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numba
import numpy as np

from crossfade.harness.simulate import upstreams
from crossfade.harness.simulate.queues import enter, hand, leave, next_turn, part, pop, push, served, stall
from crossfade.harness.simulate.tables import (
    ADMITTED, ANSWER, ARRIVALS, AT_RANDOM, BACK, BORN, BY_CONNECTION, CALL, CALLED, CHOOSE, CLIENT, CONNECT, CONNECTION,
    CONSTANT, DONE, ENTER, EVENTS, FLEET, FORWARD, FRONT, HEAP, INSTANCE, INSTANCES, KINDS, LENGTH, NOBODY, NODE, NODES,
    OUTCOME, PENDING, RATE, READY, RECEIVE, REFUSED, RELEASE, SEND, SERVED, SHARE, SOURCES, STAGE, STALLS_PER_S, TASK,
    TURN, Floats, Tables,
)  # fmt: skip


@part
def connect(t: Tables, task: int) -> bool:
    """The node for a request, by chance, in turn, or by the connection that was idle longest; none idle: it waits."""
    nodes = t.numbers[NODES]
    how = t.numbers[FRONT]
    if how == AT_RANDOM:
        t.tasks[task, NODE] = np.random.randint(0, nodes)
    elif how != BY_CONNECTION:
        t.tasks[task, NODE] = t.numbers[TURN] % nodes
        t.numbers[TURN] += 1
    elif t.idle[LENGTH] == 0:
        enter(t.tasks, t.line, 0, task)
        return False
    else:
        size = t.idle.size - 3
        connection = t.idle[3 + t.idle[0]]
        t.idle[0] = (t.idle[0] + 1) % size
        t.idle[LENGTH] -= 1
        t.tasks[task, CONNECTION], t.tasks[task, NODE] = connection, connection % nodes
    return True


@part
def disconnect(t: Tables, task: int) -> None:
    """A connection is idle again, or takes the request that waited longest."""
    connection = t.tasks[task, CONNECTION]
    if t.line[0, LENGTH]:
        other = leave(t.tasks, t.line, 0)
        t.tasks[other, CONNECTION], t.tasks[other, NODE] = connection, connection % t.numbers[NODES]
        upstreams.ready(t, other)
    else:
        size = t.idle.size - 3
        t.idle[3 + (t.idle[0] + t.idle[LENGTH]) % size] = connection
        t.idle[LENGTH] += 1


@part
def choose(t: Tables, task: int, now: float) -> bool:
    """The instance and a connection to it; whoever is refused goes straight to the client."""
    node = t.tasks[task, NODE]
    instance = upstreams.choose(t, node, now)
    if instance == NOBODY:
        t.tasks[task, OUTCOME], t.tasks[task, STAGE] = REFUSED, RELEASE
        return True
    link = node * t.numbers[INSTANCES] + instance
    upstreams.admit(t, link, now)
    t.links[link, PENDING] += 1
    t.tasks[task, INSTANCE] = instance
    t.moments[task, ADMITTED] = now
    return upstreams.lease(t, task, link)


@part
def go_on(t: Tables, task: int, now: float, latencies: Floats) -> None:
    """Take a request from the stage that is over to the next one that takes time."""
    row = t.tasks[task]
    while True:
        row[STAGE] += 1
        stage = row[STAGE]
        if stage == FORWARD or (stage == BACK and t.settings[SHARE] < 1.0):
            hand(t, row[NODE], task, now)
            return
        if (stage == CONNECT and not connect(t, task)) or (stage == CHOOSE and not choose(t, task, now)):
            return
        if stage == ENTER and not upstreams.occupy(t, task):
            return
        if stage == CALL:
            wait = t.wait_s[np.random.randint(0, t.wait_s.size)]
            push(t, now + wait, CALLED, task)
            return
        if stage == ANSWER:
            upstreams.vacate(t, task)
        elif stage == RELEASE:
            upstreams.release(t, task, now)
        elif stage == DONE:
            latencies[task] = now - t.moments[task, BORN]
            if t.numbers[FRONT] == BY_CONNECTION:
                disconnect(t, task)
            return
        if t.step_s[stage] > 0.0:
            hand(t, t.numbers[CLIENT] if stage in (SEND, RECEIVE) else t.numbers[FLEET], task, now)
            return


@part
def settle(t: Tables, now: float, latencies: Floats) -> None:
    """Whoever was woken by the event goes on at once."""
    while t.numbers[READY]:
        t.numbers[READY] -= 1
        go_on(t, t.ready[t.numbers[READY]], now, latencies)


def _compiled(digest: int) -> Callable[[Tables, int, Floats], None]:
    """The loop, cached between processes.

    numba's cache goes by the file of the function alone, and by what it closes over: the digest of all files that are
    linked into it makes a changed one count.
    """

    @numba.njit(cache=True, error_model="numpy", _nrt=False)  # type: ignore[untyped-decorator, unused-ignore]
    def loop(t: Tables, seed: int, latencies: Floats) -> None:
        np.random.seed(seed)
        t.numbers[SOURCES] = digest
        many, rate = latencies.size, t.settings[RATE]
        constant = t.numbers[ARRIVALS] == CONSTANT
        due, born, events = 0.0, 0, 0
        while True:
            # The next arrival stands beside the heap, which it would pass through for nothing.
            if t.numbers[HEAP] == 0 or (born < many and due <= t.heap_at[0]):
                if born == many:
                    break
                t.moments[born, BORN] = due
                upstreams.ready(t, born)
                settle(t, due, latencies)
                born += 1
                due += 1.0 / rate if constant else -np.log(1.0 - np.random.random()) / rate
                events += 1
                continue
            now, what = t.heap_at[0], t.heap_what[0]
            pop(t)
            events += 1
            kind, who = what % KINDS, what // KINDS
            if kind == SERVED:
                if served(t, who, now):
                    upstreams.ready(t, t.servers[who, TASK])
                    settle(t, now, latencies)
                    next_turn(t, who, now)
            elif kind == CALLED:
                upstreams.ready(t, who)
                settle(t, now, latencies)
            else:
                stall(t, who, now, t.stall_s[np.random.randint(0, t.stall_s.size)])
                if born < many:
                    push(t, now - np.log(1.0 - np.random.random()) / t.settings[STALLS_PER_S], kind, who)
        t.numbers[EVENTS] = events

    return cast("Callable[[Tables, int, Floats], None]", loop)


def _digest() -> int:
    here = Path(__file__).parent
    text = b"".join((here / f"{name}.py").read_bytes() for name in ("tables", "queues", "upstreams", "events"))
    return int.from_bytes(hashlib.sha256(text).digest()[:6], "big")


loop = _compiled(_digest())
"""``loop(tables, seed, latencies)`` fills in the latency of every request, in seconds, in order of arrival."""
