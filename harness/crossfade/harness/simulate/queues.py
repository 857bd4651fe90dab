"""The heap of events, lines in order of arrival, and cores that processes take turns on. Compiled with numba.

A process wakes when the first task enters its line, which costs ``wake_s``, and serves its line until that is empty or
another process of its group waits and the slice is over; then it sleeps or goes to the end of the ring. A node that
finds another's data in the caches of its core pays for that, too. That is an
event loop under a scheduler that lets a turn end before it gives the core to whoever woke meanwhile. A stall takes the
core from everybody for a while, as a hypervisor does: what is being served ends that much later.

The rule: these are parts of the loop in ``events``, compiled into it and never cached alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np

from crossfade.harness.simulate import tables as col
from crossfade.harness.simulate.tables import Ints, Tables

_P = ParamSpec("_P")
_R = TypeVar("_R")


def compiled(function: Callable[_P, _R], **options: bool) -> Callable[_P, _R]:
    """Without numba's counting of references (``_nrt``): nothing is allocated here, and counting takes nine tenths of
    the time."""
    told: dict[str, Any] = {"error_model": "numpy", "_nrt": False, **options}
    return cast("Callable[_P, _R]", numba.njit(**told)(function))


def part(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """A function that only compiled ones call."""
    return compiled(function, forceinline=True)


@part
def push(t: Tables, at: float, kind: int, who: int) -> None:
    """An event at a moment."""
    i = t.numbers[col.HEAP]
    t.numbers[col.HEAP] = i + 1
    while i > 0:
        above = (i - 1) >> 1
        if t.heap_at[above] <= at:
            break
        t.heap_at[i], t.heap_what[i] = t.heap_at[above], t.heap_what[above]
        i = above
    t.heap_at[i], t.heap_what[i] = at, who * col.KINDS + kind


@part
def pop(t: Tables) -> None:
    """Forget the first event."""
    size = t.numbers[col.HEAP] - 1
    t.numbers[col.HEAP] = size
    at, what = t.heap_at[size], t.heap_what[size]
    i = 0
    while True:
        below = 2 * i + 1
        if below >= size:
            break
        if below + 1 < size and t.heap_at[below + 1] < t.heap_at[below]:
            below += 1
        if at <= t.heap_at[below]:
            break
        t.heap_at[i], t.heap_what[i] = t.heap_at[below], t.heap_what[below]
        i = below
    t.heap_at[i], t.heap_what[i] = at, what


@part
def enter(tasks: Ints, lines: Ints, i: int, task: int) -> None:
    """Go to the end of line ``i``."""
    tasks[task, col.NEXT] = col.NOBODY
    if lines[i, col.LENGTH]:
        tasks[lines[i, col.LAST], col.NEXT] = task
    else:
        lines[i, col.FIRST] = task
    lines[i, col.LAST] = task
    lines[i, col.LENGTH] += 1


@part
def leave(tasks: Ints, lines: Ints, i: int) -> int:
    """Who is first in line ``i``, which is not empty."""
    task = lines[i, col.FIRST]
    lines[i, col.FIRST] = tasks[task, col.NEXT]
    lines[i, col.LENGTH] -= 1
    return int(task)


@part
def begin(t: Tables, server: int, process: int, now: float) -> None:
    """Serve the first task of a process."""
    task = leave(t.tasks, t.processes, process)
    stage = t.tasks[task, col.STAGE]
    cost = t.step_s[stage]
    node = process < t.numbers[col.NODES]
    if node:
        drawn = t.service_s[0] if t.service_s.size == 1 else t.service_s[np.random.randint(0, t.service_s.size)]
        cost = drawn * (t.settings[col.SHARE] if stage == col.FORWARD else 1.0 - t.settings[col.SHARE])
    if t.processes[process, col.ASLEEP]:
        cost += t.wake_s[process]
        t.processes[process, col.ASLEEP] = 0
    if node:
        if t.servers[server, col.BEFORE] != process:
            cost += t.settings[col.SWITCH_S]
            t.servers[server, col.BEFORE] = process
        t.settings[col.SPENT_S] += cost
    t.servers[server, col.PROCESS], t.servers[server, col.TASK] = process, task
    push(t, max(now, t.serving[server, col.STALLED_UNTIL]) + cost, col.SERVED, server)


@part
def queue(t: Tables, process: int) -> None:
    """Put a process at the end of its group's ring if it has more tasks than threads at work on them."""
    row = t.processes[process]
    if row[col.QUEUED] < row[col.LENGTH] and row[col.RUNNING] + row[col.QUEUED] < row[col.THREADS]:
        group = t.groups[row[col.GROUP]]
        t.rings[group[col.RING] + (group[col.RING_FIRST] + group[col.RING_LENGTH]) % group[col.RING_SIZE]] = process
        group[col.RING_LENGTH] += 1
        row[col.QUEUED] += 1


@part
def dispatch(t: Tables, g: int, now: float) -> None:
    """Give free servers to the processes that wait longest."""
    group = t.groups[g]
    while group[col.FREE_LENGTH] and group[col.RING_LENGTH]:
        process = t.rings[group[col.RING] + group[col.RING_FIRST]]
        group[col.RING_FIRST] = (group[col.RING_FIRST] + 1) % group[col.RING_SIZE]
        group[col.RING_LENGTH] -= 1
        row = t.processes[process]
        row[col.QUEUED] -= 1
        if row[col.LENGTH]:
            group[col.FREE_LENGTH] -= 1
            server = t.free[group[col.SERVERS] + group[col.FREE_LENGTH]]
            row[col.RUNNING] += 1
            t.serving[server, col.SINCE] = now
            begin(t, server, process, now)
            queue(t, process)


@part
def hand(t: Tables, process: int, task: int, now: float) -> None:
    """A task reaches a process."""
    enter(t.tasks, t.processes, process, task)
    queue(t, process)
    dispatch(t, t.processes[process, col.GROUP], now)


@part
def served(t: Tables, server: int, now: float) -> bool:
    """Whether the task of a server is done: not if a stall came in between, which it still has to sit out."""
    owed = t.serving[server, col.OWED]
    if owed > 0.0:
        t.serving[server, col.OWED] = 0.0
        push(t, now + owed, col.SERVED, server)
        return False
    return True


@part
def next_turn(t: Tables, server: int, now: float) -> None:
    """What a server does after a task: the next of its process, or another process."""
    process = t.servers[server, col.PROCESS]
    row = t.processes[process]
    g = row[col.GROUP]
    group = t.groups[g]
    if row[col.LENGTH] and (not group[col.RING_LENGTH] or now - t.serving[server, col.SINCE] < t.settings[col.SLICE_S]):
        begin(t, server, process, now)
        return
    t.servers[server, col.PROCESS] = col.NOBODY
    t.free[group[col.SERVERS] + group[col.FREE_LENGTH]] = server
    group[col.FREE_LENGTH] += 1
    row[col.RUNNING] -= 1
    queue(t, process)
    if not row[col.RUNNING] and not row[col.LENGTH]:
        row[col.ASLEEP] = 1
    dispatch(t, g, now)


@part
def stall(t: Tables, g: int, now: float, for_s: float) -> None:
    """Nothing is served in a group for so long."""
    group = t.groups[g]
    for server in range(group[col.SERVERS], group[col.SERVERS] + group[col.WIDTH]):
        begun = max(now, t.serving[server, col.STALLED_UNTIL])
        if t.servers[server, col.PROCESS] != col.NOBODY:
            t.serving[server, col.OWED] += for_s
        t.serving[server, col.STALLED_UNTIL] = begun + for_s
