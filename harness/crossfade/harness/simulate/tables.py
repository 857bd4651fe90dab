"""The memory of a simulated future: one table for each kind of thing, and the names of their columns.

Owns no behaviour. The rule: whatever the compiled events change lies in these arrays, so that a future is a pure
function of a description and a seed. A *task* is one request, a *process* one event loop or one pool of threads, a
*group* the cores that some processes share, and a *link* what one node knows of one instance.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Bytes = np.ndarray[Any, np.dtype[np.int8]]

NOBODY = -1

# What becomes of a request, in order. Stages of no cost are passed over.
DUE, CONNECT, SEND, FORWARD, CHOOSE, ACCEPT, ENTER, CALL, ANSWER, BACK, RELEASE, RECEIVE, DONE = range(13)
# Columns of tasks: where it is, where it goes, the next in its line.
STAGE, NODE, INSTANCE, CONNECTION, NEXT, OUTCOME = range(6)
ANSWERED, FAILED, REFUSED = range(3)
# Columns of moments.
BORN, ADMITTED = range(2)
# Columns of lines (first, last, how many), which every table of things with a line begins with.
FIRST, LAST, LENGTH = range(3)
# Columns of processes, after their line of tasks.
GROUP, THREADS, RUNNING, QUEUED, ASLEEP = range(3, 8)
# Columns of groups: a ring of processes that could run, a stack of free servers.
RING, RING_SIZE, RING_FIRST, RING_LENGTH, SERVERS, FREE_LENGTH, WIDTH = range(7)
# Columns of servers (one core each): whose turn, with what, whose was the last; and of the moments that belong to them.
PROCESS, TASK, BEFORE = range(3)
SINCE, OWED, STALLED_UNTIL = range(3)
# Columns of links, after their line for a connection of the pool.
PENDING, LEASED, STATE, SEEN, FAILURES, AT, PROBES_LEFT, PROBES_OK = range(3, 11)
TRIPPED, PROBED = range(2)
CLOSED, OPEN, HALF_OPEN = range(3)
# Columns of instances, after their line for a slot.
SLOTS, IN_SERVICE, PEAK = range(3, 6)
# Settings that are whole numbers, and counters beside them.
(
    NODES, INSTANCES, CLIENT, FLEET, ARRIVALS, FRONT, BALANCER, POOL, BREAKER, WINDOW, MIN_CALLS, PROBES,
    EVENTS, HEAP, READY, TURN, OPENED, SOURCES,
) = range(18)  # fmt: skip
# Settings that are not, and what all nodes have spent, in seconds.
RATE, SHARE, SLICE_S, FAILURE_SHARE, OPEN_S, STALLS_PER_S, SWITCH_S, SPENT_S = range(8)
# Kinds of events: a server has served its task, an instance its call, a group of cores stands still.
SERVED, CALLED, STALLED = range(3)
KINDS = 4
POISSON, CONSTANT = range(2)
AT_RANDOM, IN_TURN, BY_CONNECTION = range(3)
P2C, ROUND_ROBIN, LEAST_PENDING, DRAWN = range(4)


class Tables(NamedTuple):
    """Everything the events read and write. ``step_s`` and ``wake_s`` are processor time of a stage and of waking."""

    tasks: Ints
    moments: Floats
    processes: Ints
    wake_s: Floats
    groups: Ints
    rings: Ints
    free: Ints
    servers: Ints
    serving: Floats
    links: Ints
    trips: Floats
    outcomes: Bytes
    instances: Ints
    failure: Floats
    usable: Ints
    turns: Ints
    idle: Ints
    line: Ints
    ready: Ints
    heap_at: Floats
    heap_what: Ints
    numbers: Ints
    settings: Floats
    step_s: Floats
    service_s: Floats
    wait_s: Floats
    stall_s: Floats
