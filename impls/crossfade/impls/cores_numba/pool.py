"""Owns the pool as a shell sees it: its table, made larger before a step could run out of slots.

A table starts with few slots and doubles: most instances never have more than a handful of connections and waiters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from crossfade.impls.cores.actions import Action, PoolConfig
from crossfade.impls.cores_numba import pool_steps as steps
from crossfade.impls.cores_numba import pool_table as t
from crossfade.impls.cores_numba.actions import larger, noted

_NOTHING: Final[Sequence[Action]] = ()
_SLOTS: Final = 8


class Pool:
    """The connections to one instance. Waiter ids are the caller's, unique while alive; connections count from 1."""

    __slots__ = ("table",)

    def __init__(self, config: PoolConfig) -> None:
        self.table = s = t.new_table(_SLOTS)
        s[t.H, t.STREAMS] = config.streams
        s[t.H, t.MAX] = config.max_connections
        s[t.H, t.MIN] = min(config.min_connections, config.max_connections)
        s[t.H, t.WARM_AT] = -1
        s[t.H, t.MAX_WAITERS] = config.max_waiters
        s[t.H, t.IDLE_NS] = config.idle_timeout_ns
        s[t.H, t.AGE_NS] = config.max_age_ns
        s[t.H, t.NEXT] = 1

    # -- the hot path

    def try_acquire(self, now_ns: int) -> int | None:
        """Lease a free place at once, or None. None means: queue with ``acquire``."""
        conn = steps.try_acquire(self.table)
        return conn if conn >= 0 else None

    def release(self, now_ns: int, conn: int, reusable: bool) -> Sequence[Action]:
        """End one lease. ``reusable`` false: the connection gets no new lease."""
        count = steps.release(self.table, now_ns, conn, reusable)
        return self._actions(count)

    # -- waiting

    def acquire(self, now_ns: int, waiter: int, deadline_ns: int) -> Sequence[Action]:
        """Lease a place, now or when one is free before ``deadline_ns``; the first action may be the answer already."""
        self._make_room(1)
        count = steps.acquire(self.table, now_ns, waiter, deadline_ns)
        if count == steps.DUPLICATE:
            raise ValueError(f"waiter {waiter} is waiting or granted already; give every acquire its own id")
        return self._actions(count)

    def take(self, waiter: int) -> bool:
        """The waiter has seen its grant: from now on the lease is its own to release. False if it has none."""
        return steps.take(self.table, waiter)

    def cancel(self, now_ns: int, waiter: int) -> Sequence[Action]:
        """The waiter gives up: it leaves the queue, or its untaken lease goes to the next. Unknown ids are ignored."""
        return self._actions(steps.cancel(self.table, now_ns, waiter))

    # -- its size

    def start(self, now_ns: int) -> Sequence[Action]:
        """Open the minimum, and keep it from now on."""
        self._make_room(0)
        return self._actions(steps.start(self.table, now_ns))

    def resize(self, now_ns: int, min_connections: int, max_connections: int) -> Sequence[Action]:
        """Other bounds from now on. More room serves waiters at once; a surplus goes, idle connections first."""
        self._make_room(min_connections)
        return self._actions(steps.resize(self.table, now_ns, min_connections, max_connections))

    # -- what the shell reports

    def connected(self, now_ns: int, conn: int) -> Sequence[Action]:
        """A ``Connect`` succeeded."""
        return self._actions(steps.connected(self.table, now_ns, conn))

    def connect_failed(self, now_ns: int, conn: int) -> Sequence[Action]:
        """A ``Connect`` failed: the waiters it would have served are rejected, the others get another attempt."""
        return self._actions(steps.connect_failed(self.table, conn))

    def lost(self, now_ns: int, conn: int) -> Sequence[Action]:
        """A connection ended by itself, and its leases with it; their ``release`` is ignored when it comes."""
        return self._actions(steps.lost(self.table, conn))

    def tick(self, now_ns: int) -> Sequence[Action]:
        """What time alone brings about: overdue waiters, connections too old, connections too long idle."""
        return self._actions(steps.tick(self.table, now_ns))

    def drain(self, now_ns: int) -> Sequence[Action]:
        """No more leases: reject all waiters, close what is idle, and the rest with its last lease."""
        return self._actions(steps.drain(self.table))

    def next_deadline_ns(self) -> int | None:
        """When ``tick`` has something to do, or None."""
        due = steps.next_deadline(self.table)
        return due if due >= 0 else None

    # -- counts

    @property
    def open(self) -> int:
        """Open connections, those with no new leases included."""
        return int(self.table[t.H, t.OPEN])

    @property
    def connecting(self) -> int:
        """Connections being opened."""
        return int(self.table[t.H, t.CONNECTING])

    @property
    def in_use(self) -> int:
        """Leases."""
        return int(self.table[t.H, t.IN_USE])

    @property
    def waiting(self) -> int:
        """Callers in the queue."""
        return int(self.table[t.H, t.WAITING])

    @property
    def untaken(self) -> int:
        """Grants that were neither taken nor cancelled yet; they are ``in_use``."""
        return int(self.table[t.H, t.UNTAKEN])

    @property
    def draining(self) -> bool:
        """Whether ``drain`` was said."""
        return bool(self.table[t.H, t.DRAINING])

    # -- the table

    def _make_room(self, more: int) -> None:
        """Slots for so many more waiters or connections, and for whatever this and later steps may connect.

        A step asks for a connection only while more wait than are being connected, so connections never outnumber
        open + max(connecting, waiting) or the minimum, and only a new waiter or a new minimum makes that grow.
        """
        h = self.table[t.H]
        need = more + h[t.WAITING] + h[t.UNTAKEN] + h[t.OPEN] + h[t.CONNECTING] + h[t.MIN]
        self.table = larger(self.table, int(need))

    def _actions(self, count: int) -> Sequence[Action]:
        return noted(self.table, count) if count else _NOTHING
