"""Which instance serves a call, and whether any may: balancer, circuit breaker, pool, slots. Compiled with numba.

1. A node knows of each instance (a *link*): calls in flight, leases of its pool, and a breaker with a window of the last
   outcomes. Nodes do not know each other's.
2. Usable is whom the breaker would admit: closed, or open for longer than ``OPEN_S``, or half-open with a probe left. The
   balancer chooses among those: two at random and the one with fewer calls in flight (P2C), in turn, the fewest, or
   one at random. Nobody usable: the call is refused.
3. At most ``POOL`` calls of a link are under way, and an instance serves as many at once as it has slots; others wait in
   order of arrival.

The breaker is that of ``crossfade.impls.cores.breaker`` without its bound by age and its slow calls.
"""

from __future__ import annotations

import numpy as np

from crossfade.harness.simulate.queues import enter, leave, part
from crossfade.harness.simulate.tables import (
    ADMITTED, ANSWERED, AT, BALANCER, BREAKER, CLOSED, FAILED, FAILURE_SHARE, FAILURES, HALF_OPEN, IN_SERVICE, INSTANCE,
    INSTANCES, LEASED, LENGTH, MIN_CALLS, NOBODY, NODE, OPEN, OPEN_S, OPENED, OUTCOME, P2C, PEAK, PENDING, POOL, PROBED,
    PROBES, PROBES_LEFT, PROBES_OK, READY, ROUND_ROBIN, SEEN, SLOTS, STATE, TRIPPED, WINDOW, LEAST_PENDING, Tables,
)  # fmt: skip


@part
def ready(t: Tables, task: int) -> None:
    """A task goes on as soon as the event at hand is dealt with."""
    t.ready[t.numbers[READY]] = task
    t.numbers[READY] += 1


@part
def admits(t: Tables, link: int, now: float) -> bool:
    """Whether the breaker would let a call through."""
    state = t.links[link, STATE]
    if state == CLOSED:
        return True
    if state == OPEN:
        return bool(now - t.trips[link, TRIPPED] >= t.settings[OPEN_S])
    return bool(t.links[link, PROBES_LEFT] > 0 or now - t.trips[link, PROBED] >= t.settings[OPEN_S])


@part
def admit(t: Tables, link: int, now: float) -> None:
    """It lets one through."""
    row = t.links[link]
    if row[STATE] == CLOSED:
        return
    if row[STATE] == OPEN:
        row[STATE], row[PROBES_OK] = HALF_OPEN, 0
        row[PROBES_LEFT] = t.numbers[PROBES]
    elif row[PROBES_LEFT] == 0:
        row[PROBES_LEFT] = t.numbers[PROBES]
    row[PROBES_LEFT] -= 1
    t.trips[link, PROBED] = now


@part
def trip(t: Tables, link: int, now: float) -> None:
    """It opens, and forgets."""
    row = t.links[link]
    row[STATE], row[SEEN], row[FAILURES], row[AT] = OPEN, 0, 0, 0
    t.trips[link, TRIPPED] = now
    t.numbers[OPENED] += 1


@part
def record(t: Tables, link: int, failed: int, admitted: float, now: float) -> None:
    """It hears how a call that was admitted at a moment came out; older ones than its last trip say nothing."""
    row = t.links[link]
    if not t.numbers[BREAKER] or admitted < t.trips[link, TRIPPED]:
        return
    if row[STATE] == HALF_OPEN:
        row[PROBES_OK] += 1
        if failed:
            trip(t, link, now)
        elif row[PROBES_OK] == t.numbers[PROBES]:
            row[STATE] = CLOSED
    elif row[STATE] == CLOSED:
        window = t.numbers[WINDOW]
        if row[SEEN] == window:
            row[FAILURES] -= t.outcomes[link, row[AT]]
        else:
            row[SEEN] += 1
        t.outcomes[link, row[AT]] = failed
        row[FAILURES] += failed
        row[AT] = (row[AT] + 1) % window
        if failed and row[SEEN] >= t.numbers[MIN_CALLS] and row[FAILURES] >= t.settings[FAILURE_SHARE] * row[SEEN]:
            trip(t, link, now)


@part
def choose(t: Tables, node: int, now: float) -> int:
    """The instance for a call of a node, or nobody."""
    many = t.numbers[INSTANCES]
    first = node * many
    found = 0
    for instance in range(many):
        if admits(t, first + instance, now):
            t.usable[found] = instance
            found += 1
    if found < 2:
        return int(t.usable[0]) if found else NOBODY
    how = t.numbers[BALANCER]
    if how == ROUND_ROBIN:
        turn = t.turns[node]
        t.turns[node] = turn + 1
        return int(t.usable[turn % found])
    if how == LEAST_PENDING:
        # Ties are broken by turns: otherwise the first instance would get what an idle fleet has to do.
        turn = t.turns[node] % found
        t.turns[node] += 1
        best = t.usable[turn]
        for step in range(1, found):
            other = t.usable[(turn + step) % found]
            if t.links[first + other, PENDING] < t.links[first + best, PENDING]:
                best = other
        return int(best)
    a = np.random.randint(0, found)
    if how == P2C:
        b = np.random.randint(0, found - 1)
        b += b >= a
        if t.links[first + t.usable[b], PENDING] < t.links[first + t.usable[a], PENDING]:
            a = b
    return int(t.usable[a])


@part
def lease(t: Tables, task: int, link: int) -> bool:
    """Whether the pool has a connection; otherwise the task stands in line for one."""
    if t.numbers[POOL] and t.links[link, LEASED] >= t.numbers[POOL]:
        enter(t.tasks, t.links, link, task)
        return False
    t.links[link, LEASED] += 1
    return True


@part
def release(t: Tables, task: int, now: float) -> None:
    """A call has ended: its outcome counts, its connection goes to whoever waits for one."""
    link = t.tasks[task, NODE] * t.numbers[INSTANCES] + t.tasks[task, INSTANCE]
    t.links[link, PENDING] -= 1
    record(t, link, int(t.tasks[task, OUTCOME] == FAILED), t.moments[task, ADMITTED], now)
    if t.links[link, LENGTH]:
        ready(t, leave(t.tasks, t.links, link))
    else:
        t.links[link, LEASED] -= 1


@part
def occupy(t: Tables, task: int) -> bool:
    """Whether the instance has a slot; otherwise the task stands in line."""
    instance = t.tasks[task, INSTANCE]
    row = t.instances[instance]
    row[PEAK] = max(row[PEAK], row[IN_SERVICE] + row[LENGTH] + 1)
    if row[SLOTS] and row[IN_SERVICE] >= row[SLOTS]:
        enter(t.tasks, t.instances, instance, task)
        return False
    row[IN_SERVICE] += 1
    return True


@part
def vacate(t: Tables, task: int) -> None:
    """The instance has served a call, well or not; whoever waits for its slot takes it."""
    instance = t.tasks[task, INSTANCE]
    if t.failure[instance] > 0.0:
        t.tasks[task, OUTCOME] = FAILED if np.random.random() < t.failure[instance] else ANSWERED
    if t.instances[instance, LENGTH]:
        ready(t, leave(t.tasks, t.instances, instance))
    else:
        t.instances[instance, IN_SERVICE] -= 1
