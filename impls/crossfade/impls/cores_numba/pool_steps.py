"""Owns what each call on a pool does to its table; the laws and the order of decisions are those of ``cores.pool``.

Rule: a step starts with no actions and returns how many it noted. The caller made the table large enough (``pool.py``).
"""

from __future__ import annotations

from typing import Final

from crossfade.impls.cores.pool_books import WARM_NS
from crossfade.impls.cores_numba.jit import Ints, kernel, part
from crossfade.impls.cores_numba.lists import END, link, unlink
from crossfade.impls.cores_numba.pool_table import (
    ACTIONS,
    AGE_NS,
    AGING,
    C_AGING,
    C_FREE,
    C_ID,
    C_LIVE,
    C_OPENED,
    C_RETIRED,
    C_SINCE,
    C_USED,
    CLOSE,
    CLOSE_DRAINING,
    CONNECTING,
    DRAINING,
    FAILED,
    FREE,
    GRANT,
    HEAP,
    IDLE,
    IDLE_NS,
    IN_USE,
    LATE,
    MAX,
    MAX_WAITERS,
    MIN,
    OPEN,
    QUEUE,
    QUEUE_FULL,
    REJECT,
    REJECT_DRAINING,
    SHRUNK,
    STREAMS,
    TOO_OLD,
    UNTAKEN,
    UNUSABLE,
    W_CONN,
    W_DEADLINE,
    W_HEAP,
    WAITING,
    WARM_AT,
    H,
    conn_slot,
    connect,
    enter_waiter,
    first_idle,
    forget_conn,
    forget_waiter,
    grant,
    leave_queue,
    note,
    queue_up,
    reject,
    retire,
    set_free,
    waiter_slot,
)

DUPLICATE: Final = -1


@part("void(int64[:, ::1])")
def _grow(s: Ints) -> None:
    room = s[H, MAX] - s[H, OPEN] - s[H, CONNECTING]
    while room > 0 and s[H, WAITING] > s[H, CONNECTING] * s[H, STREAMS]:
        connect(s)
        room -= 1


@part("void(int64[:, ::1], int64)")
def _warm(s: Ints, now_ns: int) -> None:
    """Open what is missing from the minimum."""
    s[H, WARM_AT] = now_ns
    while s[H, OPEN] + s[H, CONNECTING] < s[H, MIN]:
        connect(s)


@part("boolean(int64[:, ::1])")
def _missing(s: Ints) -> bool:
    """Whether the minimum is to be kept, and is not."""
    return bool(s[H, WARM_AT] >= 0 and s[H, DRAINING] == 0 and s[H, OPEN] + s[H, CONNECTING] < s[H, MIN])


@part("int64(int64[:, ::1])")
def _oldest_busy(s: Ints) -> int:
    """Of the connections in use that may get more leases the first that was asked for, or -1."""
    found = -1
    for c in range(s.shape[1] >> 2):
        leasable = s[C_LIVE, c] and s[C_USED, c] and s[C_RETIRED, c] == 0
        if leasable and (found < 0 or s[C_ID, c] < s[C_ID, found]):
            found = c
    return int(found)


@part("void(int64[:, ::1])")
def _shrink(s: Ints) -> None:
    """Rid the pool of surplus connections: idle ones first, longest idle first, then the oldest."""
    surplus = -s[H, MAX]
    for c in range(s.shape[1] >> 2):
        if s[C_LIVE, c] and s[C_RETIRED, c] == 0:
            surplus += 1
    while surplus > 0:
        c = first_idle(s)
        retire(s, c if c >= 0 else _oldest_busy(s), SHRUNK)
        surplus -= 1


@kernel("int64(int64[:, ::1])")
def try_acquire(s: Ints) -> int:
    """The connection released last, or -1."""
    c = s[H, FREE + 1]
    if c == END:
        return -1
    s[C_USED, c] += 1
    if s[C_USED, c] >= s[H, STREAMS]:
        unlink(s, FREE, C_FREE, c)
    s[H, IN_USE] += 1
    return int(s[C_ID, c])


@part("int64(int64[:, ::1], int64, int64, boolean)")
def _release(s: Ints, now_ns: int, conn: int, reusable: bool) -> int:
    c = conn_slot(s, conn)
    if c < 0 or s[C_USED, c] == 0:
        return 0
    s[C_USED, c] -= 1
    s[H, IN_USE] -= 1
    if not reusable:
        retire(s, c, UNUSABLE)
    elif s[C_RETIRED, c]:
        retire(s, c, s[C_RETIRED, c])
    elif s[H, AGE_NS] and now_ns - s[C_OPENED, c] >= s[H, AGE_NS]:
        retire(s, c, TOO_OLD)
    elif not grant(s, now_ns, c):
        set_free(s, now_ns, c)
    _grow(s)
    return int(s[H, ACTIONS])


@kernel("int64(int64[:, ::1], int64, int64, boolean)")
def release(s: Ints, now_ns: int, conn: int, reusable: bool) -> int:
    """End one lease."""
    s[H, ACTIONS] = 0
    return _release(s, now_ns, conn, reusable)


@kernel("int64(int64[:, ::1], int64, int64, int64)")
def acquire(s: Ints, now_ns: int, waiter: int, deadline_ns: int) -> int:
    """Lease a place, or queue. DUPLICATE: this waiter is waiting or granted already."""
    s[H, ACTIONS] = 0
    if waiter_slot(s, waiter) >= 0:
        return DUPLICATE
    if s[H, DRAINING]:
        note(s, REJECT, waiter, REJECT_DRAINING)
        return 1
    conn = try_acquire(s)
    if conn >= 0:
        s[W_CONN, enter_waiter(s, waiter)] = conn
        s[H, UNTAKEN] += 1
        note(s, GRANT, waiter, conn)
        return 1
    if deadline_ns <= now_ns:
        note(s, REJECT, waiter, LATE)
        return 1
    if s[H, WAITING] >= s[H, MAX_WAITERS] + s[H, STREAMS] * max(0, s[H, MAX] - s[H, OPEN]):
        note(s, REJECT, waiter, QUEUE_FULL)
        return 1
    queue_up(s, enter_waiter(s, waiter), deadline_ns)
    _grow(s)
    return int(s[H, ACTIONS])


@kernel("boolean(int64[:, ::1], int64)")
def take(s: Ints, waiter: int) -> bool:
    """The waiter has seen its grant."""
    w = waiter_slot(s, waiter)
    if w < 0 or s[W_CONN, w] == 0:
        return False
    s[H, UNTAKEN] -= 1
    forget_waiter(s, w)
    return True


@kernel("int64(int64[:, ::1], int64, int64)")
def cancel(s: Ints, now_ns: int, waiter: int) -> int:
    """The waiter leaves the queue, or its untaken lease goes to the next."""
    s[H, ACTIONS] = 0
    w = waiter_slot(s, waiter)
    if w < 0:
        return 0
    conn = s[W_CONN, w]
    if conn == 0:
        leave_queue(s, w)
        forget_waiter(s, w)
        return 0
    s[H, UNTAKEN] -= 1
    forget_waiter(s, w)
    return _release(s, now_ns, conn, True)


@kernel("int64(int64[:, ::1], int64, int64)")
def connected(s: Ints, now_ns: int, conn: int) -> int:
    """A connection that was asked for is open."""
    s[H, ACTIONS] = 0
    c = conn_slot(s, conn)
    if c < 0 or s[C_LIVE, c]:
        return 0
    if s[H, DRAINING]:
        forget_conn(s, c)
        note(s, CLOSE, conn, CLOSE_DRAINING)
        return 1
    if s[H, OPEN] >= s[H, MAX]:
        forget_conn(s, c)
        note(s, CLOSE, conn, SHRUNK)
        return 1
    s[C_LIVE, c] = 1
    s[C_OPENED, c] = s[C_SINCE, c] = now_ns
    s[H, CONNECTING] -= 1
    s[H, OPEN] += 1
    if s[H, AGE_NS]:
        link(s, AGING, C_AGING, c)
    while s[C_USED, c] < s[H, STREAMS] and grant(s, now_ns, c):
        pass
    if s[C_USED, c] < s[H, STREAMS]:
        link(s, FREE, C_FREE, c)
    return int(s[H, ACTIONS])


@kernel("int64(int64[:, ::1], int64)")
def connect_failed(s: Ints, conn: int) -> int:
    """A connection that was asked for did not open: those it would have served are rejected."""
    s[H, ACTIONS] = 0
    c = conn_slot(s, conn)
    if c < 0 or s[C_LIVE, c]:
        return 0
    forget_conn(s, c)
    for _ in range(min(s[H, STREAMS], s[H, WAITING])):
        reject(s, s[H, QUEUE], FAILED)
    _grow(s)
    return int(s[H, ACTIONS])


@kernel("int64(int64[:, ::1], int64)")
def lost(s: Ints, conn: int) -> int:
    """A connection ended by itself, and its leases with it."""
    s[H, ACTIONS] = 0
    c = conn_slot(s, conn)
    if c < 0:
        return 0
    if s[C_LIVE, c] == 0:
        return connect_failed(s, conn)
    s[H, IN_USE] -= s[C_USED, c]
    forget_conn(s, c)
    _grow(s)
    return int(s[H, ACTIONS])


@kernel("int64(int64[:, ::1], int64)")
def start(s: Ints, now_ns: int) -> int:
    """Open the minimum, and keep it from now on."""
    s[H, ACTIONS] = 0
    if s[H, DRAINING] == 0:
        _warm(s, now_ns)
    return int(s[H, ACTIONS])


@kernel("int64(int64[:, ::1], int64, int64, int64)")
def resize(s: Ints, now_ns: int, low: int, high: int) -> int:
    """Other bounds from now on."""
    s[H, ACTIONS] = 0
    s[H, MAX], s[H, MIN] = high, min(low, high)
    if s[H, DRAINING] == 0:
        _shrink(s)
        _grow(s)
        if s[H, WARM_AT] >= 0:
            _warm(s, now_ns)
    return int(s[H, ACTIONS])


@kernel("int64(int64[:, ::1], int64)")
def tick(s: Ints, now_ns: int) -> int:
    """Overdue waiters, then connections too old, then those too long idle."""
    s[H, ACTIONS] = 0
    while s[H, HEAP] and s[W_DEADLINE, s[W_HEAP, 0]] <= now_ns:
        reject(s, s[W_HEAP, 0], LATE)
    while s[H, AGING] != END and now_ns - s[C_OPENED, s[H, AGING]] >= s[H, AGE_NS]:
        retire(s, s[H, AGING], TOO_OLD)
    c = s[H, FREE] if s[H, IDLE_NS] else END
    while c != END:
        after = s[C_FREE + 1, c]
        if s[C_USED, c] == 0:
            if now_ns - s[C_SINCE, c] < s[H, IDLE_NS] or s[H, OPEN] <= s[H, MIN]:
                break
            retire(s, c, IDLE)
        c = after
    _grow(s)
    if _missing(s) and now_ns - s[H, WARM_AT] >= WARM_NS:
        _warm(s, now_ns)
    return int(s[H, ACTIONS])


@kernel("int64(int64[:, ::1])")
def drain(s: Ints) -> int:
    """Reject all waiters, close what is idle, and the rest with its last lease."""
    s[H, ACTIONS] = 0
    s[H, DRAINING] = 1
    while s[H, QUEUE] != END:
        reject(s, s[H, QUEUE], REJECT_DRAINING)
    while s[H, FREE] != END:
        retire(s, s[H, FREE], CLOSE_DRAINING)
    for c in range(s.shape[1] >> 2):
        if s[C_LIVE, c]:
            unlink(s, AGING, C_AGING, c)
            if s[C_RETIRED, c] == 0:
                s[C_RETIRED, c] = CLOSE_DRAINING
    return int(s[H, ACTIONS])


@kernel("int64(int64[:, ::1])")
def next_deadline(s: Ints) -> int:
    """When ``tick`` has something to do, or -1."""
    found = -1
    if s[H, HEAP]:
        found = s[W_DEADLINE, s[W_HEAP, 0]]
    if s[H, AGING] != END:
        due = s[C_OPENED, s[H, AGING]] + s[H, AGE_NS]
        found = due if found < 0 else min(found, due)
    if _missing(s):
        due = s[H, WARM_AT] + WARM_NS
        found = due if found < 0 else min(found, due)
    if s[H, IDLE_NS] and s[H, OPEN] > s[H, MIN]:
        c = first_idle(s)
        if c != END:
            due = s[C_SINCE, c] + s[H, IDLE_NS]
            found = due if found < 0 else min(found, due)
    return int(found)
