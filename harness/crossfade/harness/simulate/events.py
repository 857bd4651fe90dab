"""The future of a cluster, event by event, in order of time. Compiled with numba.

A request falls due, is sent by the client, forwarded by a node, called at an instance, answered through the same node,
and received. Each step that costs processor time waits for a core of its process; what costs none takes no time. The
stages are in ``tables``, cores in ``queues``, and what stands between a node and its instances in ``upstreams``.

The rule: the same tables and seed are the same future, to the last bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from crossfade.harness.simulate import tables as col
from crossfade.harness.simulate import upstreams
from crossfade.harness.simulate.queues import compiled, enter, hand, leave, next_turn, part, pop, push, served, stall
from crossfade.harness.simulate.tables import Floats, Tables


@part
def connect(t: Tables, task: int) -> bool:
    """The node for a request, by chance, in turn, or by the connection that was idle longest; none idle: it waits."""
    nodes = t.numbers[col.NODES]
    how = t.numbers[col.FRONT]
    if how == col.AT_RANDOM:
        t.tasks[task, col.NODE] = np.random.randint(0, nodes)
    elif how != col.BY_CONNECTION:
        t.tasks[task, col.NODE] = t.numbers[col.TURN] % nodes
        t.numbers[col.TURN] += 1
    elif t.idle[col.LENGTH] == 0:
        enter(t.tasks, t.line, 0, task)
        return False
    else:
        size = t.idle.size - 3
        connection = t.idle[3 + t.idle[0]]
        t.idle[0] = (t.idle[0] + 1) % size
        t.idle[col.LENGTH] -= 1
        t.tasks[task, col.CONNECTION], t.tasks[task, col.NODE] = connection, connection % nodes
    return True


@part
def disconnect(t: Tables, task: int) -> None:
    """A connection is idle again, or takes the request that waited longest."""
    connection = t.tasks[task, col.CONNECTION]
    if t.line[0, col.LENGTH]:
        other = leave(t.tasks, t.line, 0)
        t.tasks[other, col.CONNECTION], t.tasks[other, col.NODE] = connection, connection % t.numbers[col.NODES]
        upstreams.ready(t, other)
    else:
        size = t.idle.size - 3
        t.idle[3 + (t.idle[0] + t.idle[col.LENGTH]) % size] = connection
        t.idle[col.LENGTH] += 1


@part
def choose(t: Tables, task: int, now: float) -> bool:
    """The instance and a connection to it; whoever is refused goes straight to the client."""
    node = t.tasks[task, col.NODE]
    instance = upstreams.choose(t, node, now)
    if instance == col.NOBODY:
        t.tasks[task, col.OUTCOME], t.tasks[task, col.STAGE] = col.REFUSED, col.RELEASE
        return True
    link = node * t.numbers[col.INSTANCES] + instance
    upstreams.admit(t, link, now)
    t.links[link, col.PENDING] += 1
    t.tasks[task, col.INSTANCE] = instance
    t.moments[task, col.ADMITTED] = now
    return upstreams.lease(t, task, link)


@part
def go_on(t: Tables, task: int, now: float, latencies: Floats) -> None:
    """Take a request from the stage that is over to the next one that takes time."""
    row = t.tasks[task]
    while True:
        row[col.STAGE] += 1
        stage = row[col.STAGE]
        if stage == col.FORWARD or (stage == col.BACK and t.settings[col.SHARE] < 1.0):
            hand(t, row[col.NODE], task, now)
            return
        if (stage == col.CONNECT and not connect(t, task)) or (stage == col.CHOOSE and not choose(t, task, now)):
            return
        if stage == col.ENTER and not upstreams.occupy(t, task):
            return
        if stage == col.CALL:
            wait = t.wait_s[np.random.randint(0, t.wait_s.size)]
            push(t, now + wait, col.CALLED, task)
            return
        if stage == col.ANSWER:
            upstreams.vacate(t, task)
        elif stage == col.RELEASE:
            upstreams.release(t, task, now)
        elif stage == col.DONE:
            latencies[task] = now - t.moments[task, col.BORN]
            if t.numbers[col.FRONT] == col.BY_CONNECTION:
                disconnect(t, task)
            return
        if t.step_s[stage] > 0.0:
            hand(t, t.numbers[col.CLIENT] if stage in (col.SEND, col.RECEIVE) else t.numbers[col.FLEET], task, now)
            return


@part
def settle(t: Tables, now: float, latencies: Floats) -> None:
    """Whoever was woken by the event goes on at once."""
    while t.numbers[col.READY]:
        t.numbers[col.READY] -= 1
        go_on(t, t.ready[t.numbers[col.READY]], now, latencies)


def _linked(digest: int) -> Callable[[Tables, int, Floats], None]:
    """The loop, cached between processes.

    numba's cache goes by the file of the function alone, and by what it closes over: the digest of all files that are
    linked into it makes a changed one count.
    """

    def loop(t: Tables, seed: int, latencies: Floats) -> None:
        np.random.seed(seed)
        t.numbers[col.SOURCES] = digest
        many, rate = latencies.size, t.settings[col.RATE]
        constant = t.numbers[col.ARRIVALS] == col.CONSTANT
        due, born, events = 0.0, 0, 0
        while True:
            # The next arrival stands beside the heap, which it would pass through for nothing.
            if t.numbers[col.HEAP] == 0 or (born < many and due <= t.heap_at[0]):
                if born == many:
                    break
                t.moments[born, col.BORN] = due
                upstreams.ready(t, born)
                settle(t, due, latencies)
                born += 1
                due += 1.0 / rate if constant else -np.log(1.0 - np.random.random()) / rate
                events += 1
                continue
            now, what = t.heap_at[0], t.heap_what[0]
            pop(t)
            events += 1
            kind, who = what % col.KINDS, what // col.KINDS
            if kind == col.SERVED:
                if served(t, who, now):
                    upstreams.ready(t, t.servers[who, col.TASK])
                    settle(t, now, latencies)
                    next_turn(t, who, now)
            elif kind == col.CALLED:
                upstreams.ready(t, who)
                settle(t, now, latencies)
            else:
                stall(t, who, now, t.stall_s[np.random.randint(0, t.stall_s.size)])
                if born < many:
                    push(t, now - np.log(1.0 - np.random.random()) / t.settings[col.STALLS_PER_S], kind, who)
        t.numbers[col.EVENTS] = events

    return compiled(loop, cache=True)


def _digest() -> int:
    here = Path(__file__).parent
    text = b"".join((here / f"{name}.py").read_bytes() for name in ("tables", "queues", "upstreams", "events"))
    return int.from_bytes(hashlib.sha256(text).digest()[:6], "big")


loop = _linked(_digest())
"""``loop(tables, seed, latencies)`` fills in the latency of every request, in seconds, in order of arrival."""
