"""Owns the pool's table and its small steps: who is in which list, and what is noted for the shell to do.

One int64 array holds it all, so that a step passes one argument: row 0 is the header, ``C_`` rows describe connections
and ``W_`` rows waiters, one slot each, and ``A_`` rows are the actions of the step at hand. The order of ``C_FREE`` is
last released last, of ``C_AGING`` oldest first, of ``W_QUEUE`` arrival.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from crossfade.impls.cores_numba.jit import Ints, kernel, part
from crossfade.impls.cores_numba.lists import END, OUT, enter, find, heap_push, heap_remove, leave, link, unlink

H: Final = 0
STREAMS, MAX, MIN, MAX_WAITERS, IDLE_NS, AGE_NS, NEXT, OPEN, CONNECTING, IN_USE, WAITING, UNTAKEN, DRAINING = range(13)
FREE, AGING, QUEUE = 13, 15, 17  # heads, each followed by its tail
HEAP, C_SPARE, W_SPARE, WARM_AT, ACTIONS = range(19, 24)

C_ID, C_USED, C_SINCE, C_OPENED, C_RETIRED, C_LIVE = range(1, 7)
C_FREE, C_AGING, W_QUEUE, W_HEAP = 7, 9, 11, 13  # two rows each
W_DEADLINE, W_ID, W_CONN = 15, 16, 17  # the heap orders by deadline, then by id
C_INDEX, W_INDEX, C_STACK, W_STACK, A_KIND, A_WHO, A_WHAT, ROWS = range(18, 26)

CONNECT, CLOSE, GRANT, REJECT = range(4)
IDLE, TOO_OLD, UNUSABLE, CLOSE_DRAINING, SHRUNK = range(1, 6)
QUEUE_FULL, LATE, FAILED, REJECT_DRAINING = range(1, 5)


def new_table(slots: int) -> Ints:
    """An empty table with room for so many connections and so many waiters; a power of two, at least 8."""
    s = np.zeros((ROWS, 4 * slots), np.int64)
    for head in (FREE, AGING, QUEUE):
        s[H, head : head + 2] = END
    for row in (C_FREE, C_AGING, W_QUEUE):
        s[row] = OUT
    for stack, size in ((C_STACK, C_SPARE), (W_STACK, W_SPARE)):
        s[stack, :slots] = np.arange(slots)[::-1]
        s[H, size] = slots
    return s


@part("void(int64[:, ::1], int64[:, ::1], int64, int64)")
def _copy_map(old: Ints, new: Ints, index: int, ids: int) -> None:
    for k in range(old.shape[1]):
        if old[index, k]:
            enter(new, index, ids, old[index, k] - 1)


@kernel("void(int64[:, ::1], int64[:, ::1])")
def _copy_maps(old: Ints, new: Ints) -> None:
    _copy_map(old, new, C_INDEX, C_ID)
    _copy_map(old, new, W_INDEX, W_ID)


def move(old: Ints, new: Ints) -> None:
    """Copy everything into a larger, empty table; slots keep their numbers."""
    slots, more = old.shape[1] >> 2, new.shape[1] >> 2
    new[C_ID:C_INDEX, :slots] = old[C_ID:C_INDEX, :slots]
    new[H, :ACTIONS] = old[H, :ACTIONS]
    for stack, size in ((C_STACK, C_SPARE), (W_STACK, W_SPARE)):
        left = int(old[H, size])
        new[stack, :left] = old[stack, :left]
        new[stack, left : left + more - slots] = np.arange(slots, more)
        new[H, size] = left + more - slots
    _copy_maps(old, new)


@part("void(int64[:, ::1], int64, int64, int64)")
def note(s: Ints, kind: int, who: int, what: int) -> None:
    """Add an action to those of this step."""
    k = s[H, ACTIONS]
    s[A_KIND, k], s[A_WHO, k], s[A_WHAT, k] = kind, who, what
    s[H, ACTIONS] = k + 1


@part("int64(int64[:, ::1], int64)")
def conn_slot(s: Ints, conn: int) -> int:
    """Where a connection is, or -1."""
    return find(s, C_INDEX, C_ID, conn)


@part("int64(int64[:, ::1], int64)")
def waiter_slot(s: Ints, waiter: int) -> int:
    """Where a waiter is, waiting or granted, or -1."""
    return find(s, W_INDEX, W_ID, waiter)


@part("int64(int64[:, ::1], int64)")
def enter_waiter(s: Ints, waiter: int) -> int:
    """A slot for a waiter that is new."""
    s[H, W_SPARE] -= 1
    w = s[W_STACK, s[H, W_SPARE]]
    s[W_ID, w] = waiter
    s[W_CONN, w] = 0
    enter(s, W_INDEX, W_ID, w)
    return int(w)


@part("void(int64[:, ::1], int64)")
def forget_waiter(s: Ints, w: int) -> None:
    """The slot is free again. The waiter has left the queue."""
    leave(s, W_INDEX, W_ID, w)
    s[W_STACK, s[H, W_SPARE]] = w
    s[H, W_SPARE] += 1


@part("void(int64[:, ::1], int64, int64)")
def queue_up(s: Ints, w: int, deadline_ns: int) -> None:
    """The waiter goes to the end of the queue."""
    s[W_DEADLINE, w] = deadline_ns
    link(s, QUEUE, W_QUEUE, w)
    heap_push(s, HEAP, W_HEAP, W_DEADLINE, w)
    s[H, WAITING] += 1


@part("void(int64[:, ::1], int64)")
def leave_queue(s: Ints, w: int) -> None:
    """The waiter waits no longer."""
    unlink(s, QUEUE, W_QUEUE, w)
    heap_remove(s, HEAP, W_HEAP, W_DEADLINE, w)
    s[H, WAITING] -= 1


@part("void(int64[:, ::1], int64, int64)")
def reject(s: Ints, w: int, reason: int) -> None:
    """A waiting one gets nothing."""
    leave_queue(s, w)
    note(s, REJECT, s[W_ID, w], reason)
    forget_waiter(s, w)


@part("boolean(int64[:, ::1], int64, int64)")
def grant(s: Ints, now_ns: int, c: int) -> bool:
    """Lease one place to the oldest waiter whose time is not over; False if there is none."""
    while s[H, QUEUE] != END:
        w = s[H, QUEUE]
        if s[W_DEADLINE, w] <= now_ns:
            reject(s, w, LATE)
            continue
        leave_queue(s, w)
        s[C_USED, c] += 1
        s[H, IN_USE] += 1
        s[W_CONN, w] = s[C_ID, c]
        s[H, UNTAKEN] += 1
        note(s, GRANT, s[W_ID, w], s[C_ID, c])
        return True
    return False


@part("void(int64[:, ::1])")
def connect(s: Ints) -> None:
    """Ask for one connection more."""
    s[H, C_SPARE] -= 1
    c = s[C_STACK, s[H, C_SPARE]]
    s[C_ID, c] = s[H, NEXT]
    s[C_USED, c] = s[C_RETIRED, c] = s[C_LIVE, c] = 0
    enter(s, C_INDEX, C_ID, c)
    s[H, NEXT] += 1
    s[H, CONNECTING] += 1
    note(s, CONNECT, s[C_ID, c], 0)


@part("void(int64[:, ::1], int64)")
def forget_conn(s: Ints, c: int) -> None:
    """The connection is gone, from every list."""
    unlink(s, FREE, C_FREE, c)
    unlink(s, AGING, C_AGING, c)
    s[H, OPEN if s[C_LIVE, c] else CONNECTING] -= 1
    s[C_LIVE, c] = 0
    leave(s, C_INDEX, C_ID, c)
    s[C_STACK, s[H, C_SPARE]] = c
    s[H, C_SPARE] += 1


@part("void(int64[:, ::1], int64, int64)")
def set_free(s: Ints, now_ns: int, c: int) -> None:
    """The connection has a free place, and was given back last of all."""
    unlink(s, FREE, C_FREE, c)
    link(s, FREE, C_FREE, c)
    s[C_SINCE, c] = now_ns


@part("void(int64[:, ::1], int64, int64)")
def retire(s: Ints, c: int, reason: int) -> None:
    """No new lease for this connection; close it if nobody uses it. The first reason stands."""
    if s[C_RETIRED, c] == 0:
        s[C_RETIRED, c] = reason
    unlink(s, FREE, C_FREE, c)
    unlink(s, AGING, C_AGING, c)
    if s[C_USED, c] == 0:
        note(s, CLOSE, s[C_ID, c], s[C_RETIRED, c])
        forget_conn(s, c)


@part("int64(int64[:, ::1])")
def first_idle(s: Ints) -> int:
    """The connection idle for longest, or -1: the order of the free ones is that of their last release."""
    c = s[H, FREE]
    while c != END and s[C_USED, c]:
        c = s[C_FREE + 1, c]
    return int(c)
