"""The heap of events, lines in order of arrival, and cores that processes take turns on. Compiled with numba.

A process wakes when the first task enters its line, which costs ``wake_s``, and serves its line until that is empty or
another process of its group waits and the slice is over; then it sleeps or goes to the end of the ring. That is an event
loop under a scheduler that lets a turn end before it gives the core to whoever woke meanwhile. A stall takes the core from
everybody for a while, as a hypervisor does: what is being served ends that much later.

The rule: these are parts of the loop in ``events``, compiled into it and never cached alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np

from crossfade.harness.simulate.tables import (
    ASLEEP, FIRST, FORWARD, FREE_LENGTH, GROUP, HEAP, KINDS, LAST, LENGTH, NEXT, NOBODY, NODES, OWED, PROCESS, QUEUED,
    RING, RING_FIRST, RING_LENGTH, RING_SIZE, RUNNING, SERVED, SERVERS, SHARE, SINCE, SLICE_S, STAGE, STALLED_UNTIL,
    TASK, THREADS, WIDTH, Ints, Tables,
)  # fmt: skip

_P = ParamSpec("_P")
_R = TypeVar("_R")


def part(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """A function that only compiled ones call."""
    options: dict[str, Any] = {"error_model": "numpy", "forceinline": True, "_nrt": False}
    return cast("Callable[_P, _R]", numba.njit(**options)(function))


@part
def push(t: Tables, at: float, kind: int, who: int) -> None:
    """An event at a moment."""
    i = t.numbers[HEAP]
    t.numbers[HEAP] = i + 1
    while i > 0:
        above = (i - 1) >> 1
        if t.heap_at[above] <= at:
            break
        t.heap_at[i], t.heap_what[i] = t.heap_at[above], t.heap_what[above]
        i = above
    t.heap_at[i], t.heap_what[i] = at, who * KINDS + kind


@part
def pop(t: Tables) -> None:
    """Forget the first event."""
    size = t.numbers[HEAP] - 1
    t.numbers[HEAP] = size
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
    tasks[task, NEXT] = NOBODY
    if lines[i, LENGTH]:
        tasks[lines[i, LAST], NEXT] = task
    else:
        lines[i, FIRST] = task
    lines[i, LAST] = task
    lines[i, LENGTH] += 1


@part
def leave(tasks: Ints, lines: Ints, i: int) -> int:
    """Who is first in line ``i``, which is not empty."""
    task = lines[i, FIRST]
    lines[i, FIRST] = tasks[task, NEXT]
    lines[i, LENGTH] -= 1
    return int(task)


@part
def begin(t: Tables, server: int, process: int, now: float) -> None:
    """Serve the first task of a process."""
    task = leave(t.tasks, t.processes, process)
    stage = t.tasks[task, STAGE]
    cost = t.step_s[stage]
    if process < t.numbers[NODES]:
        drawn = t.service_s[0] if t.service_s.size == 1 else t.service_s[np.random.randint(0, t.service_s.size)]
        cost = drawn * (t.settings[SHARE] if stage == FORWARD else 1.0 - t.settings[SHARE])
    if t.processes[process, ASLEEP]:
        cost += t.wake_s[process]
        t.processes[process, ASLEEP] = 0
    t.servers[server, PROCESS], t.servers[server, TASK] = process, task
    push(t, max(now, t.serving[server, STALLED_UNTIL]) + cost, SERVED, server)


@part
def queue(t: Tables, process: int) -> None:
    """Put a process at the end of its group's ring if it has more tasks than threads at work on them."""
    row = t.processes[process]
    if row[QUEUED] < row[LENGTH] and row[RUNNING] + row[QUEUED] < row[THREADS]:
        group = t.groups[row[GROUP]]
        t.rings[group[RING] + (group[RING_FIRST] + group[RING_LENGTH]) % group[RING_SIZE]] = process
        group[RING_LENGTH] += 1
        row[QUEUED] += 1


@part
def dispatch(t: Tables, g: int, now: float) -> None:
    """Give free servers to the processes that wait longest."""
    group = t.groups[g]
    while group[FREE_LENGTH] and group[RING_LENGTH]:
        process = t.rings[group[RING] + group[RING_FIRST]]
        group[RING_FIRST] = (group[RING_FIRST] + 1) % group[RING_SIZE]
        group[RING_LENGTH] -= 1
        row = t.processes[process]
        row[QUEUED] -= 1
        if row[LENGTH]:
            group[FREE_LENGTH] -= 1
            server = t.free[group[SERVERS] + group[FREE_LENGTH]]
            row[RUNNING] += 1
            t.serving[server, SINCE] = now
            begin(t, server, process, now)
            queue(t, process)


@part
def hand(t: Tables, process: int, task: int, now: float) -> None:
    """A task reaches a process."""
    enter(t.tasks, t.processes, process, task)
    queue(t, process)
    dispatch(t, t.processes[process, GROUP], now)


@part
def served(t: Tables, server: int, now: float) -> bool:
    """Whether the task of a server is done: not if a stall came in between, which it still has to sit out."""
    owed = t.serving[server, OWED]
    if owed > 0.0:
        t.serving[server, OWED] = 0.0
        push(t, now + owed, SERVED, server)
        return False
    return True


@part
def next_turn(t: Tables, server: int, now: float) -> None:
    """What a server does after a task: the next of its process, or another process."""
    process = t.servers[server, PROCESS]
    row = t.processes[process]
    g = row[GROUP]
    group = t.groups[g]
    if row[LENGTH] and (not group[RING_LENGTH] or now - t.serving[server, SINCE] < t.settings[SLICE_S]):
        begin(t, server, process, now)
        return
    t.servers[server, PROCESS] = NOBODY
    t.free[group[SERVERS] + group[FREE_LENGTH]] = server
    group[FREE_LENGTH] += 1
    row[RUNNING] -= 1
    queue(t, process)
    if not row[RUNNING] and not row[LENGTH]:
        row[ASLEEP] = 1
    dispatch(t, g, now)


@part
def stall(t: Tables, g: int, now: float, for_s: float) -> None:
    """Nothing is served in a group for so long."""
    group = t.groups[g]
    for server in range(group[SERVERS], group[SERVERS] + group[WIDTH]):
        begun = max(now, t.serving[server, STALLED_UNTIL])
        if t.servers[server, PROCESS] != NOBODY:
            t.serving[server, OWED] += for_s
        t.serving[server, STALLED_UNTIL] = begun + for_s
