"""Owns how many requests one server has in flight and who waits, on the pool's table: a pool without connections.

The laws are those of ``cores.bulkhead``. Of the pool's header ``MAX`` is the number of places (0: none at all),
``IN_USE`` those taken, ``MAX_WAITERS`` the length of the queue; a granted waiter has ``_PLACE`` as its connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from crossfade.impls.cores.actions import Action
from crossfade.impls.cores.bulkhead import BulkheadConfig
from crossfade.impls.cores_numba.actions import larger, noted
from crossfade.impls.cores_numba.jit import Ints, kernel, part
from crossfade.impls.cores_numba.lists import END
from crossfade.impls.cores_numba.pool_table import (
    ACTIONS,
    DRAINING,
    GRANT,
    HEAP,
    IN_USE,
    LATE,
    MAX,
    MAX_WAITERS,
    QUEUE,
    QUEUE_FULL,
    REJECT,
    REJECT_DRAINING,
    UNTAKEN,
    W_CONN,
    W_DEADLINE,
    W_HEAP,
    W_ID,
    WAITING,
    H,
    enter_waiter,
    forget_waiter,
    leave_queue,
    new_table,
    note,
    queue_up,
    reject,
    waiter_slot,
)

_NOTHING: Final[Sequence[Action]] = ()
_UNBOUNDED: Final = 1 << 62
_PLACE: Final = 1
_DUPLICATE: Final = -1
_SLOTS: Final = 8


@part("int64(int64[:, ::1], int64)")
def _hand_out(s: Ints, now_ns: int) -> int:
    while s[H, QUEUE] != END and s[H, IN_USE] < s[H, MAX]:
        w = s[H, QUEUE]
        if s[W_DEADLINE, w] <= now_ns:
            reject(s, w, LATE)
            continue
        leave_queue(s, w)
        s[H, IN_USE] += 1
        s[H, UNTAKEN] += 1
        s[W_CONN, w] = _PLACE
        note(s, GRANT, s[W_ID, w], 0)
    return int(s[H, ACTIONS])


@kernel("boolean(int64[:, ::1])")
def try_acquire(s: Ints) -> bool:
    if s[H, IN_USE] >= s[H, MAX]:
        return False
    s[H, IN_USE] += 1
    return True


@kernel("int64(int64[:, ::1], int64)")
def release(s: Ints, now_ns: int) -> int:
    s[H, ACTIONS] = 0
    if s[H, IN_USE] == 0:
        return 0
    s[H, IN_USE] -= 1
    return _hand_out(s, now_ns)


@kernel("int64(int64[:, ::1], int64, int64, int64)")
def _acquire(s: Ints, now_ns: int, waiter: int, deadline_ns: int) -> int:
    s[H, ACTIONS] = 0
    if waiter_slot(s, waiter) >= 0:
        return _DUPLICATE
    if s[H, DRAINING]:
        note(s, REJECT, waiter, REJECT_DRAINING)
    elif try_acquire(s):
        s[W_CONN, enter_waiter(s, waiter)] = _PLACE
        s[H, UNTAKEN] += 1
        note(s, GRANT, waiter, 0)
    elif deadline_ns <= now_ns:
        note(s, REJECT, waiter, LATE)
    elif s[H, WAITING] >= s[H, MAX_WAITERS]:
        note(s, REJECT, waiter, QUEUE_FULL)
    else:
        queue_up(s, enter_waiter(s, waiter), deadline_ns)
    return int(s[H, ACTIONS])


@kernel("boolean(int64[:, ::1], int64)")
def _take(s: Ints, waiter: int) -> bool:
    w = waiter_slot(s, waiter)
    if w < 0 or s[W_CONN, w] == 0:
        return False
    s[H, UNTAKEN] -= 1
    forget_waiter(s, w)
    return True


@kernel("int64(int64[:, ::1], int64, int64)")
def _cancel(s: Ints, now_ns: int, waiter: int) -> int:
    s[H, ACTIONS] = 0
    w = waiter_slot(s, waiter)
    if w < 0:
        return 0
    if s[W_CONN, w]:
        _take(s, waiter)
        return release(s, now_ns)
    leave_queue(s, w)
    forget_waiter(s, w)
    return 0


@kernel("int64(int64[:, ::1], int64)")
def _tick(s: Ints, now_ns: int) -> int:
    s[H, ACTIONS] = 0
    while s[H, HEAP] and s[W_DEADLINE, s[W_HEAP, 0]] <= now_ns:
        reject(s, s[W_HEAP, 0], LATE)
    return int(s[H, ACTIONS])


@kernel("int64(int64[:, ::1], int64, int64, int64)")
def _resize(s: Ints, now_ns: int, places: int, max_queue: int) -> int:
    s[H, ACTIONS] = 0
    if s[H, DRAINING]:
        return 0
    s[H, MAX], s[H, MAX_WAITERS] = places, max_queue
    return _hand_out(s, now_ns)


@kernel("int64(int64[:, ::1])")
def _drain(s: Ints) -> int:
    s[H, ACTIONS] = 0
    s[H, DRAINING] = 1
    s[H, MAX] = 0
    while s[H, QUEUE] != END:
        reject(s, s[H, QUEUE], REJECT_DRAINING)
    return int(s[H, ACTIONS])


class Bulkhead:
    """The places of one server. Waiter ids are the caller's, unique while alive."""

    __slots__ = ("table",)

    def __init__(self, config: BulkheadConfig) -> None:
        self.table = new_table(_SLOTS)
        self.table[H, MAX] = config.max_in_flight or _UNBOUNDED
        self.table[H, MAX_WAITERS] = config.max_queue

    def try_acquire(self) -> bool:
        """Take a free place at once. False means: queue with ``acquire``."""
        return try_acquire(self.table)

    def release(self, now_ns: int) -> Sequence[Action]:
        """End one request: its place goes to the oldest waiter, or is free."""
        return self._actions(release(self.table, now_ns))

    def acquire(self, now_ns: int, waiter: int, deadline_ns: int) -> Sequence[Action]:
        """Take a place, now or when one is free before ``deadline_ns``; the action may be the answer already."""
        self.table = larger(self.table, 1 + self.waiting + self.untaken)
        count = _acquire(self.table, now_ns, waiter, deadline_ns)
        if count == _DUPLICATE:
            raise ValueError(f"waiter {waiter} is waiting or granted already; give every acquire its own id")
        return self._actions(count)

    def take(self, waiter: int) -> bool:
        """The waiter has seen its grant: from now on the place is its own to release. False if it has none."""
        return _take(self.table, waiter)

    def cancel(self, now_ns: int, waiter: int) -> Sequence[Action]:
        """The waiter gives up: it leaves the queue, or its untaken place goes to the next. Unknown ids are ignored."""
        return self._actions(_cancel(self.table, now_ns, waiter))

    def tick(self, now_ns: int) -> Sequence[Action]:
        """Reject the waiters whose time is over."""
        return self._actions(_tick(self.table, now_ns))

    def next_deadline_ns(self) -> int | None:
        """When ``tick`` has something to do, or None."""
        s = self.table
        return int(s[W_DEADLINE, s[W_HEAP, 0]]) if s[H, HEAP] else None

    def resize(self, now_ns: int, max_in_flight: int, max_queue: int) -> Sequence[Action]:
        """Other bounds from now on; new places go to the waiters. Nobody who is in loses anything. Not after drain."""
        return self._actions(_resize(self.table, now_ns, max_in_flight or _UNBOUNDED, max_queue))

    def drain(self, now_ns: int) -> Sequence[Action]:
        """No place for anybody from now on; those who wait are rejected, those who are in finish."""
        return self._actions(_drain(self.table))

    @property
    def in_flight(self) -> int:
        """Places taken."""
        return int(self.table[H, IN_USE])

    @property
    def waiting(self) -> int:
        """Callers in the queue."""
        return int(self.table[H, WAITING])

    @property
    def untaken(self) -> int:
        """Grants that were neither taken nor cancelled yet; they are ``in_flight``."""
        return int(self.table[H, UNTAKEN])

    @property
    def draining(self) -> bool:
        """Whether ``drain`` was said."""
        return bool(self.table[H, DRAINING])

    def _actions(self, count: int) -> Sequence[Action]:
        return noted(self.table, count) if count else _NOTHING
