"""Owns who gets which connection to one instance, and when connections open and close; it returns actions, no I/O.

The theory. A connection is connecting, open or gone. An open one has ``streams`` places; a call holds one place, a
*lease*. ``try_acquire`` leases without a word if a place is free. Else a *waiter* queues, and the pool opens
connections as long as those being opened have fewer places than there are waiters. The shell performs what is
returned, in order: it opens (``Connect``) and answers with ``connected`` or ``connect_failed``; it closes (``Close``);
it wakes waiters (``Grant``, ``Reject``). A woken waiter says ``take`` first; whoever gives up says ``cancel``, before
or after the grant.

The laws:

1. Connecting plus open connections never exceed ``max_connections``; leases never exceed ``streams`` per connection.
   After a ``resize`` to fewer, the surplus is closed: idle ones at once, the others with their last lease.
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
10. From ``start`` on the pool keeps ``min_connections``: it opens what is missing, at most once in ``WARM_NS``, and
   closes nothing for being idle below that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from crossfade.impls.cores.actions import Action, Close, Grant, Reject
from crossfade.impls.cores.pool_books import WARM_NS, Conn, PoolBooks

_NOTHING: Final[Sequence[Action]] = ()


class Pool(PoolBooks):
    """The connections to one instance. Waiter ids are the caller's, unique while alive; connections count from 1."""

    __slots__ = ()

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
        room = max(0, self._max_connections - len(self._open))
        if len(self._waiting) >= self._max_waiters + self._streams * room:
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

    # -- its size

    def start(self, now_ns: int) -> Sequence[Action]:
        """Open the minimum, and keep it from now on."""
        actions: list[Action] = []
        if not self.draining:
            self._warm(now_ns, actions)
        return actions

    def resize(self, now_ns: int, min_connections: int, max_connections: int) -> Sequence[Action]:
        """Other bounds from now on. More room serves waiters at once; a surplus goes, idle connections first."""
        self._max_connections = max_connections
        self._min_connections = min(min_connections, max_connections)
        actions: list[Action] = []
        if not self.draining:
            self._shrink(actions)
            self._grow(actions)
            if self._warm_at >= 0:
                self._warm(now_ns, actions)
        return actions

    # -- what the shell reports

    def connected(self, now_ns: int, conn: int) -> Sequence[Action]:
        """A ``Connect`` succeeded."""
        if conn not in self._connecting:
            return _NOTHING
        self._connecting.remove(conn)
        if self.draining:
            return (Close(conn, "draining"),)
        if len(self._open) >= self._max_connections:
            return (Close(conn, "shrunk"),)
        state = self._open[conn] = Conn(now_ns)
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
            self._close_idle(now_ns, actions)
        self._grow(actions)
        if self._missing() and now_ns - self._warm_at >= WARM_NS:
            self._warm(now_ns, actions)
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
        may_close = self._idle_timeout_ns and len(self._open) > self._min_connections
        if may_close and (idle := self._first_idle()) is not None:
            found.append(idle.free_since + self._idle_timeout_ns)
        if self._missing():
            found.append(self._warm_at + WARM_NS)
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
