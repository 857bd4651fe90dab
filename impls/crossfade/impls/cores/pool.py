"""Owns who gets which connection to one instance, and when connections open and close; it returns actions, no I/O.

The theory. A connection is connecting, open or gone. An open one has ``streams`` places; a call holds one place, a
*lease*. ``try_acquire`` leases without a word if a place is free. Else a *waiter* queues, and the pool opens
connections as long as those being opened have fewer places than there are waiters. The shell performs what is
returned, in order: it opens (``Connect``) and answers with ``connected`` or ``connect_failed``; it closes (``Close``);
it wakes waiters (``Grant``, ``Reject``). A woken waiter says ``take`` first; whoever gives up says ``cancel``, before
or after the grant.

The laws:

1. Connecting plus open connections never exceed ``max_connections``; leases never exceed ``streams`` per connection.
2. Every waiter gets exactly one Grant or Reject, or is cancelled. Grants go strictly in order of arrival.
3. Somebody waits only if no place is free. So ``try_acquire`` cannot overtake anybody.
4. A lease ends by ``release`` (or ``cancel`` of an untaken grant) or with its connection (``lost``); what is said
   afterwards about a connection that is gone is ignored.
5. Free places are given out most recently released first, so that surplus connections grow idle and are closed.
6. A connection that is unusable, too old or drained gets no new lease and is closed with its last lease.
7. A connect that fails rejects the waiters it would have served (the ``streams`` oldest), so failure never loops.
8. ``tick(next_deadline_ns())`` always makes progress. After ``drain`` nothing is granted or opened.
9. ``max_waiters`` bounds those who wait for somebody else's release; whoever a connection is being opened for, or still
   may be, does not count.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from crossfade.impls.cores.actions import Action, Close, CloseReason, Connect, Grant, PoolConfig, Reject
from crossfade.impls.cores.waiters import Waiters

_NOTHING: Final[Sequence[Action]] = ()


class _Conn:
    """An open connection: leases out, when it was last given back, when it opened, why it gets no new lease."""

    __slots__ = ("free_since", "opened_at", "retired", "used")

    def __init__(self, now_ns: int) -> None:
        self.used = 0
        self.free_since = now_ns
        self.opened_at = now_ns
        self.retired: CloseReason | None = None


class Pool:
    """The connections to one instance. Waiter ids are the caller's, unique while alive; connections count from 1."""

    __slots__ = (
        "_aging",
        "_config",
        "_connecting",
        "_free",
        "_granted",
        "_idle_timeout_ns",
        "_max_age_ns",
        "_next_conn",
        "_open",
        "_queue",
        "_streams",
        "_waiting",
        "draining",
        "in_use",
    )

    def __init__(self, config: PoolConfig) -> None:
        self._config = config
        self._streams = config.streams
        self._idle_timeout_ns = config.idle_timeout_ns
        self._max_age_ns = config.max_age_ns
        self._next_conn = 1
        self._connecting: set[int] = set()
        self._open: dict[int, _Conn] = {}
        # Connections with a free place, least recently released first; a dict is an ordered set whose end pops in O(1).
        self._free: dict[int, _Conn] = {}
        # Connections that can still come of age, oldest first. OrderedDict: its front pops in O(1), a dict's does not.
        self._aging: OrderedDict[int, _Conn] = OrderedDict()
        self._queue = Waiters()
        self._waiting = self._queue.alive
        self._granted: dict[int, int] = {}  # waiter -> connection, until taken
        self.in_use = 0
        self.draining = False

    # -- the hot path

    def try_acquire(self, now_ns: int) -> int | None:
        """Lease a free place at once, or None. None means: queue with ``acquire``."""
        if not self._free:
            return None
        conn, state = self._free.popitem()
        state.used += 1
        if state.used < self._streams:
            self._free[conn] = state
        self.in_use += 1
        return conn

    def release(self, now_ns: int, conn: int, reusable: bool) -> Sequence[Action]:
        """End one lease. ``reusable`` false: the connection is broken or its state unknown; it gets no new lease."""
        state = self._open.get(conn)
        if state is None or not state.used:
            return _NOTHING
        state.used -= 1
        self.in_use -= 1
        if reusable and not self._waiting and not self._max_age_ns and state.retired is None:
            if self._streams > 1:
                self._free.pop(conn, None)
            self._free[conn] = state
            state.free_since = now_ns
            return _NOTHING
        return self._give_back(now_ns, conn, state, reusable)

    # -- waiting

    def acquire(self, now_ns: int, waiter: int, deadline_ns: int) -> Sequence[Action]:
        """Lease a place, now or when one is free before ``deadline_ns``; the first action may be the answer already."""
        if waiter in self._waiting or waiter in self._granted:
            raise ValueError(f"waiter {waiter} is waiting or granted already; give every acquire its own id")
        if self.draining:
            return (Reject(waiter, "draining"),)
        conn = self.try_acquire(now_ns)
        if conn is not None:
            self._granted[waiter] = conn
            return (Grant(waiter, conn),)
        if deadline_ns <= now_ns:
            return (Reject(waiter, "deadline"),)
        room = self._config.max_connections - len(self._open)
        if len(self._waiting) >= self._config.max_waiters + self._streams * room:
            return (Reject(waiter, "queue_full"),)
        self._queue.push(waiter, deadline_ns)
        actions: list[Action] = []
        self._grow(actions)
        return actions

    def take(self, waiter: int) -> bool:
        """The waiter has seen its grant: from now on the lease is its own to release. False if it has none."""
        return self._granted.pop(waiter, None) is not None

    def cancel(self, now_ns: int, waiter: int) -> Sequence[Action]:
        """The waiter gives up: it leaves the queue, or its untaken lease goes to the next. Unknown ids are ignored."""
        if self._queue.remove(waiter):
            return _NOTHING
        conn = self._granted.pop(waiter, None)
        return _NOTHING if conn is None else self.release(now_ns, conn, True)

    # -- what the shell reports

    def connected(self, now_ns: int, conn: int) -> Sequence[Action]:
        """A ``Connect`` succeeded."""
        if conn not in self._connecting:
            return _NOTHING
        self._connecting.remove(conn)
        if self.draining:
            return (Close(conn, "draining"),)
        state = self._open[conn] = _Conn(now_ns)
        if self._max_age_ns:
            self._aging[conn] = state
        actions: list[Action] = []
        while state.used < self._streams and self._grant(now_ns, conn, state, actions):
            pass
        if state.used < self._streams:
            self._free[conn] = state
        return actions

    def connect_failed(self, now_ns: int, conn: int) -> Sequence[Action]:
        """A ``Connect`` failed: the waiters it would have served are rejected, the others get another attempt."""
        if conn not in self._connecting:
            return _NOTHING
        self._connecting.remove(conn)
        actions: list[Action] = []
        for _ in range(min(self._streams, len(self._waiting))):
            waiter, _deadline_ns = self._queue.pop()
            actions.append(Reject(waiter, "connect_failed"))
        self._grow(actions)
        return actions

    def lost(self, now_ns: int, conn: int) -> Sequence[Action]:
        """A connection ended by itself, and its leases with it; their ``release`` is ignored when it comes."""
        if conn in self._connecting:
            return self.connect_failed(now_ns, conn)
        state = self._open.pop(conn, None)
        if state is None:
            return _NOTHING
        self.in_use -= state.used
        self._free.pop(conn, None)
        self._aging.pop(conn, None)
        actions: list[Action] = []
        self._grow(actions)
        return actions

    def tick(self, now_ns: int) -> Sequence[Action]:
        """What time alone brings about: overdue waiters, connections too old, connections too long idle."""
        actions: list[Action] = []
        while (waiter := self._queue.pop_overdue(now_ns)) is not None:
            actions.append(Reject(waiter, "deadline"))
        while self._aging:
            conn, state = next(iter(self._aging.items()))
            if now_ns - state.opened_at < self._max_age_ns:
                break
            self._retire(conn, state, "max_age", actions)
        if self._idle_timeout_ns:
            for conn, state in list(self._free.items()) if self._has_idle(now_ns) else ():
                if state.used == 0:
                    if now_ns - state.free_since < self._idle_timeout_ns:
                        break
                    self._retire(conn, state, "idle", actions)
        self._grow(actions)
        return actions

    def drain(self, now_ns: int) -> Sequence[Action]:
        """No more leases: reject all waiters, close what is idle, and the rest with its last lease."""
        self.draining = True
        actions: list[Action] = []
        while self._waiting:
            actions.append(Reject(self._queue.pop()[0], "draining"))
        for conn, state in list(self._free.items()):
            self._retire(conn, state, "draining", actions)
        for state in self._open.values():
            state.retired = state.retired or "draining"
        self._aging.clear()
        return actions

    def next_deadline_ns(self) -> int | None:
        """When ``tick`` has something to do, or None."""
        found: list[int] = []
        if (deadline_ns := self._queue.first_deadline_ns()) is not None:
            found.append(deadline_ns)
        if self._aging:
            found.append(next(iter(self._aging.values())).opened_at + self._max_age_ns)
        if self._idle_timeout_ns and (idle := self._first_idle()) is not None:
            found.append(idle.free_since + self._idle_timeout_ns)
        return min(found, default=None)

    # -- counts

    @property
    def open(self) -> int:
        """Open connections, those with no new leases included."""
        return len(self._open)

    @property
    def connecting(self) -> int:
        """Connections being opened."""
        return len(self._connecting)

    @property
    def waiting(self) -> int:
        """Callers in the queue."""
        return len(self._waiting)

    @property
    def untaken(self) -> int:
        """Grants that were neither taken nor cancelled yet; they are ``in_use``."""
        return len(self._granted)

    # -- steps

    def _grow(self, actions: list[Action]) -> None:
        room = self._config.max_connections - len(self._open) - len(self._connecting)
        while room > 0 and len(self._waiting) > len(self._connecting) * self._streams:
            conn = self._next_conn
            self._next_conn += 1
            self._connecting.add(conn)
            actions.append(Connect(conn))
            room -= 1

    def _grant(self, now_ns: int, conn: int, state: _Conn, actions: list[Action]) -> bool:
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

    def _give_back(self, now_ns: int, conn: int, state: _Conn, reusable: bool) -> Sequence[Action]:
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

    def _retire(self, conn: int, state: _Conn, reason: CloseReason, actions: list[Action]) -> None:
        """No new lease for this connection; close it if nobody uses it. The first reason stands."""
        state.retired = state.retired or reason
        self._free.pop(conn, None)
        self._aging.pop(conn, None)
        if state.used == 0:
            del self._open[conn]
            actions.append(Close(conn, state.retired))

    def _first_idle(self) -> _Conn | None:
        """The connection idle for longest: the order of ``_free`` is the order of last release."""
        for state in self._free.values():
            if state.used == 0:
                return state
        return None

    def _has_idle(self, now_ns: int) -> bool:
        first = self._first_idle()
        return first is not None and now_ns - first.free_since >= self._idle_timeout_ns
