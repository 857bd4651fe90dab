"""Owns the books of a pool and the steps that change them; ``pool.py`` says what they are for and which laws they keep.

Rule: a connection is in ``_free`` only while a place on it can be leased, in ``_aging`` only until it is retired, and
in ``_open`` until it is closed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from crossfade.impls.cores.actions import Action, Close, CloseReason, Connect, Grant, PoolConfig, Reject
from crossfade.impls.cores.waiters import Waiters

WARM_NS: Final = 1_000_000_000
"""The minimum is seen to at most this often, so that a server that hangs up at once is not called in a loop."""


class Conn:
    """An open connection: leases out, when it was last given back, when it opened, why it gets no new lease."""

    __slots__ = ("free_since", "opened_at", "retired", "used")

    def __init__(self, now_ns: int) -> None:
        self.used = 0
        self.free_since = now_ns
        self.opened_at = now_ns
        self.retired: CloseReason | None = None


class PoolBooks:
    """Who has what; see ``Pool``."""

    __slots__ = (
        "_aging",
        "_connecting",
        "_free",
        "_granted",
        "_idle_timeout_ns",
        "_max_age_ns",
        "_max_connections",
        "_max_waiters",
        "_min_connections",
        "_next_conn",
        "_open",
        "_queue",
        "_streams",
        "_waiting",
        "_warm_at",
        "draining",
        "in_use",
    )

    def __init__(self, config: PoolConfig) -> None:
        self._max_connections = config.max_connections
        self._min_connections = min(config.min_connections, config.max_connections)
        self._max_waiters = config.max_waiters
        self._streams = config.streams
        self._idle_timeout_ns = config.idle_timeout_ns
        self._max_age_ns = config.max_age_ns
        self._next_conn = 1
        self._connecting: set[int] = set()
        self._open: dict[int, Conn] = {}
        # Connections with a free place, least recently released first; a dict is an ordered set whose end pops in O(1).
        self._free: dict[int, Conn] = {}
        # Connections that can still come of age, oldest first. OrderedDict: its front pops in O(1), a dict's does not.
        self._aging: OrderedDict[int, Conn] = OrderedDict()
        self._queue = Waiters()
        self._waiting = self._queue.alive
        self._granted: dict[int, int] = {}  # waiter -> connection, until taken
        self._warm_at = -1  # when the minimum was last seen to; -1: not started
        self.in_use = 0
        self.draining = False

    def _grow(self, actions: list[Action]) -> None:
        room = self._max_connections - len(self._open) - len(self._connecting)
        while room > 0 and len(self._waiting) > len(self._connecting) * self._streams:
            self._connect(actions)
            room -= 1

    def _warm(self, now_ns: int, actions: list[Action]) -> None:
        """Open what is missing from the minimum."""
        self._warm_at = now_ns
        while len(self._open) + len(self._connecting) < self._min_connections:
            self._connect(actions)

    def _missing(self) -> bool:
        """Whether the minimum is to be kept, and is not."""
        return (
            self._warm_at >= 0 and not self.draining and len(self._open) + len(self._connecting) < self._min_connections
        )

    def _connect(self, actions: list[Action]) -> None:
        conn = self._next_conn
        self._next_conn += 1
        self._connecting.add(conn)
        actions.append(Connect(conn))

    def _grant(self, now_ns: int, conn: int, state: Conn, actions: list[Action]) -> bool:
        """Lease one place to the oldest waiter whose time is not over; False if there is none."""
        while self._waiting:
            waiter, deadline_ns = self._queue.pop()
            if deadline_ns <= now_ns:
                actions.append(Reject(waiter, "deadline"))
                continue
            state.used += 1
            self.in_use += 1
            self._granted[waiter] = conn
            actions.append(Grant(waiter, conn))
            return True
        return False

    def _give_back(self, now_ns: int, conn: int, state: Conn, reusable: bool) -> Sequence[Action]:
        """The rest of ``release``: retire, hand over to a waiter, or free."""
        actions: list[Action] = []
        if not reusable:
            self._retire(conn, state, "unusable", actions)
        elif state.retired is not None:
            self._retire(conn, state, state.retired, actions)
        elif self._max_age_ns and now_ns - state.opened_at >= self._max_age_ns:
            self._retire(conn, state, "max_age", actions)
        elif not self._grant(now_ns, conn, state, actions):
            self._free.pop(conn, None)
            self._free[conn] = state
            state.free_since = now_ns
        self._grow(actions)
        return actions

    def _retire(self, conn: int, state: Conn, reason: CloseReason, actions: list[Action]) -> None:
        """No new lease for this connection; close it if nobody uses it. The first reason stands."""
        state.retired = state.retired or reason
        self._free.pop(conn, None)
        self._aging.pop(conn, None)
        if state.used == 0:
            del self._open[conn]
            actions.append(Close(conn, state.retired))

    def _first_idle(self) -> Conn | None:
        """The connection idle for longest: the order of ``_free`` is the order of last release."""
        for state in self._free.values():
            if state.used == 0:
                return state
        return None

    def _close_idle(self, now_ns: int, actions: list[Action]) -> None:
        """Close what was idle for too long, longest idle first, down to the minimum."""
        first = self._first_idle()
        if first is None or now_ns - first.free_since < self._idle_timeout_ns:
            return
        for conn, state in list(self._free.items()):
            if state.used == 0:
                if now_ns - state.free_since < self._idle_timeout_ns or len(self._open) <= self._min_connections:
                    return
                self._retire(conn, state, "idle", actions)

    def _shrink(self, actions: list[Action]) -> None:
        """Rid the pool of surplus connections: idle ones first, longest idle first, then the oldest."""
        surplus = sum(state.retired is None for state in self._open.values()) - self._max_connections
        idle = [(conn, state) for conn, state in self._free.items() if state.used == 0]
        busy = sorted(item for item in self._open.items() if item[1].used and item[1].retired is None)
        for conn, state in (*idle, *busy)[: max(0, surplus)]:
            self._retire(conn, state, "shrunk", actions)
