"""Which instance serves a call, and whether any may: balancer, circuit breaker, pool, slots. Compiled with numba.

1. A node knows of each instance (a *link*): calls in flight, leases of its pool, and a breaker with a window of the
   last outcomes. Nodes do not know each other's.
2. Usable is whom the breaker would admit: closed, or open for longer than ``OPEN_S``, or half-open with a probe left.
   The balancer chooses among those: two at random and the one with fewer calls in flight (P2C), in turn, the fewest, or
   one at random. Nobody usable: the call is refused.
3. At most ``POOL`` calls of a link are under way, and an instance serves as many at once as it has slots; others wait
   in order of arrival.

The breaker is that of ``crossfade.impls.cores.breaker`` without its bound by age and its slow calls.
"""

from __future__ import annotations

import numpy as np

from crossfade.harness.simulate import tables as col
from crossfade.harness.simulate.queues import enter, leave, part
from crossfade.harness.simulate.tables import Tables


@part
def ready(t: Tables, task: int) -> None:
    """A task goes on as soon as the event at hand is dealt with."""
    t.ready[t.numbers[col.READY]] = task
    t.numbers[col.READY] += 1


@part
def admits(t: Tables, link: int, now: float) -> bool:
    """Whether the breaker would let a call through."""
    state = t.links[link, col.STATE]
    if state == col.CLOSED:
        return True
    if state == col.OPEN:
        return bool(now - t.trips[link, col.TRIPPED] >= t.settings[col.OPEN_S])
    return bool(t.links[link, col.PROBES_LEFT] > 0 or now - t.trips[link, col.PROBED] >= t.settings[col.OPEN_S])


@part
def admit(t: Tables, link: int, now: float) -> None:
    """It lets one through."""
    row = t.links[link]
    if row[col.STATE] == col.CLOSED:
        return
    if row[col.STATE] == col.OPEN:
        row[col.STATE], row[col.PROBES_OK] = col.HALF_OPEN, 0
        row[col.PROBES_LEFT] = t.numbers[col.PROBES]
    elif row[col.PROBES_LEFT] == 0:
        row[col.PROBES_LEFT] = t.numbers[col.PROBES]
    row[col.PROBES_LEFT] -= 1
    t.trips[link, col.PROBED] = now


@part
def trip(t: Tables, link: int, now: float) -> None:
    """It opens, and forgets."""
    row = t.links[link]
    row[col.STATE], row[col.SEEN], row[col.FAILURES], row[col.AT] = col.OPEN, 0, 0, 0
    t.trips[link, col.TRIPPED] = now
    t.numbers[col.OPENED] += 1


@part
def record(t: Tables, link: int, failed: int, admitted: float, now: float) -> None:
    """It hears how a call that was admitted at a moment came out; older ones than its last trip say nothing."""
    row = t.links[link]
    if not t.numbers[col.BREAKER] or admitted < t.trips[link, col.TRIPPED]:
        return
    if row[col.STATE] == col.HALF_OPEN:
        row[col.PROBES_OK] += 1
        if failed:
            trip(t, link, now)
        elif row[col.PROBES_OK] == t.numbers[col.PROBES]:
            row[col.STATE] = col.CLOSED
    elif row[col.STATE] == col.CLOSED:
        window = t.numbers[col.WINDOW]
        if row[col.SEEN] == window:
            row[col.FAILURES] -= t.outcomes[link, row[col.AT]]
        else:
            row[col.SEEN] += 1
        t.outcomes[link, row[col.AT]] = failed
        row[col.FAILURES] += failed
        row[col.AT] = (row[col.AT] + 1) % window
        if (
            failed
            and row[col.SEEN] >= t.numbers[col.MIN_CALLS]
            and row[col.FAILURES] >= t.settings[col.FAILURE_SHARE] * row[col.SEEN]
        ):
            trip(t, link, now)


@part
def choose(t: Tables, node: int, now: float) -> int:
    """The instance for a call of a node, or nobody."""
    many = t.numbers[col.INSTANCES]
    first = node * many
    found = 0
    for instance in range(many):
        if admits(t, first + instance, now):
            t.usable[found] = instance
            found += 1
    if found < 2:
        return int(t.usable[0]) if found else col.NOBODY
    how = t.numbers[col.BALANCER]
    if how == col.ROUND_ROBIN:
        turn = t.turns[node]
        t.turns[node] = turn + 1
        return int(t.usable[turn % found])
    if how == col.LEAST_PENDING:
        # Ties are broken by turns: otherwise the first instance would get what an idle fleet has to do.
        turn = t.turns[node] % found
        t.turns[node] += 1
        best = t.usable[turn]
        for step in range(1, found):
            other = t.usable[(turn + step) % found]
            if t.links[first + other, col.PENDING] < t.links[first + best, col.PENDING]:
                best = other
        return int(best)
    a = np.random.randint(0, found)
    if how == col.P2C:
        b = np.random.randint(0, found - 1)
        b += b >= a
        if t.links[first + t.usable[b], col.PENDING] < t.links[first + t.usable[a], col.PENDING]:
            a = b
    return int(t.usable[a])


@part
def lease(t: Tables, task: int, link: int) -> bool:
    """Whether the pool has a connection; otherwise the task stands in line for one."""
    if t.numbers[col.POOL] and t.links[link, col.LEASED] >= t.numbers[col.POOL]:
        enter(t.tasks, t.links, link, task)
        return False
    t.links[link, col.LEASED] += 1
    return True


@part
def release(t: Tables, task: int, now: float) -> None:
    """A call has ended: its outcome counts, its connection goes to whoever waits for one."""
    link = t.tasks[task, col.NODE] * t.numbers[col.INSTANCES] + t.tasks[task, col.INSTANCE]
    t.links[link, col.PENDING] -= 1
    record(t, link, int(t.tasks[task, col.OUTCOME] == col.FAILED), t.moments[task, col.ADMITTED], now)
    if t.links[link, col.LENGTH]:
        ready(t, leave(t.tasks, t.links, link))
    else:
        t.links[link, col.LEASED] -= 1


@part
def occupy(t: Tables, task: int) -> bool:
    """Whether the instance has a slot; otherwise the task stands in line."""
    instance = t.tasks[task, col.INSTANCE]
    row = t.instances[instance]
    row[col.PEAK] = max(row[col.PEAK], row[col.IN_SERVICE] + row[col.LENGTH] + 1)
    if row[col.SLOTS] and row[col.IN_SERVICE] >= row[col.SLOTS]:
        enter(t.tasks, t.instances, instance, task)
        return False
    row[col.IN_SERVICE] += 1
    return True


@part
def vacate(t: Tables, task: int) -> None:
    """The instance has served a call, well or not; whoever waits for its slot takes it."""
    instance = t.tasks[task, col.INSTANCE]
    if t.failure[instance] > 0.0:
        t.tasks[task, col.OUTCOME] = col.FAILED if np.random.random() < t.failure[instance] else col.ANSWERED
    if t.instances[instance, col.LENGTH]:
        ready(t, leave(t.tasks, t.instances, instance))
    else:
        t.instances[instance, col.IN_SERVICE] -= 1
