"""The laws at the top of ``cores/pool.py``, held against random shells that connect, fail, cancel, lose, resize and
drain.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from crossfade.impls.cores import Action, Close, Connect, Grant, Pool, PoolConfig, Reject
from crossfade.impls.cores.pool_books import WARM_NS

CONFIGS = st.builds(
    PoolConfig,
    min_connections=st.integers(0, 3),
    max_connections=st.integers(1, 4),
    max_waiters=st.integers(0, 5),
    streams=st.integers(1, 3),
    idle_timeout_ns=st.sampled_from([0, 15]),
    max_age_ns=st.sampled_from([0, 40]),
)


class PoolShell(RuleBasedStateMachine):
    """A shell that keeps its own books by the actions alone, and finds the pool out if they ever disagree."""

    @initialize(config=CONFIGS)
    def start(self, config: PoolConfig) -> None:
        self.config = config
        self.most, self.ceiling = config.max_connections, config.max_connections  # the ceiling falls as surplus closes
        self.crowd = config.max_waiters + config.streams * self.most
        self.least = min(config.min_connections, self.most)
        self.started = False
        self.pool = Pool(config)
        self.now_ns = 0
        self.ids = 0
        self.arriving = 0  # who is asking right now: it may be granted although its deadline is now
        self.connecting: list[int] = []
        self.open: dict[int, int] = {}  # connection -> leases, as the shell knows them
        self.queue: dict[int, int] = {}  # waiter -> deadline, in order of arrival
        self.granted: dict[int, int] = {}
        self.leases: list[int] = []
        self.opened_at: dict[int, int] = {}
        self.broken: set[int] = set()
        self.released: list[int] = []  # open connections, most recently released (or connected) last

    def perform(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Connect(conn):
                    assert not self.pool.draining
                    assert conn not in self.connecting
                    assert conn not in self.open
                    self.connecting.append(conn)
                    assert len(self.open) + len(self.connecting) <= self.most, "law 1"
                case Close(conn, reason):
                    if conn in self.connecting:
                        assert reason == "draining"
                        self.connecting.remove(conn)
                    else:
                        assert self.open.pop(conn) == 0, "law 6: closed with a lease out"
                        assert reason != "idle" or len(self.open) >= self.least, "law 10"
                        self.released.remove(conn)
                case Grant(waiter, conn):
                    assert not self.pool.draining
                    assert waiter in self.queue, "law 2: answered twice"
                    alive = [w for w, deadline in self.queue.items() if deadline > self.now_ns or w == self.arriving]
                    assert waiter == alive[0], "law 2: out of turn, or overdue"
                    del self.queue[waiter]
                    self.granted[waiter] = conn
                    self.open[conn] += 1
                case Reject(waiter, reason):
                    deadline_ns = self.queue.pop(waiter)
                    assert reason != "deadline" or deadline_ns <= self.now_ns

    @rule(patience=st.integers(0, 30))
    def acquire(self, patience: int) -> None:
        self.ids += 1
        self.queue[self.ids] = self.now_ns + patience
        self.arriving = self.ids
        self.perform(self.pool.acquire(self.now_ns, self.ids, self.now_ns + patience))
        self.arriving = 0

    @rule()
    def try_acquire(self) -> None:
        conn = self.pool.try_acquire(self.now_ns)
        if conn is not None:
            assert not self.queue, "law 3: overtook a waiter"
            self.open[conn] += 1
            later = self.released[self.released.index(conn) + 1 :]
            assert all(self.open[other] == self.config.streams or other in self.unfit for other in later), "law 5"
            self.leases.append(conn)

    @precondition(lambda self: self.connecting)
    @rule(data=st.data(), ok=st.booleans())
    def connect_ends(self, data: st.DataObject, ok: bool) -> None:
        conn = data.draw(st.sampled_from(self.connecting))
        waiting = len(self.queue)
        if ok:
            if not self.pool.draining:
                self.connecting.remove(conn)
                self.open[conn] = 0
                self.opened_at[conn] = self.now_ns
                self.released.append(conn)
            self.perform(self.pool.connected(self.now_ns, conn))
        else:
            self.connecting.remove(conn)
            self.perform(self.pool.connect_failed(self.now_ns, conn))
            assert len(self.queue) == max(0, waiting - self.config.streams), "law 7"

    @precondition(lambda self: self.granted)
    @rule(data=st.data(), take=st.booleans())
    def grant_ends(self, data: st.DataObject, take: bool) -> None:
        waiter = data.draw(st.sampled_from(sorted(self.granted)))
        conn = self.granted.pop(waiter)
        if take:
            assert self.pool.take(waiter)
            assert not self.pool.take(waiter)
            self.leases.append(conn)
        else:
            self.end_lease(conn)
            self.perform(self.pool.cancel(self.now_ns, waiter))

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def waiter_gives_up(self, data: st.DataObject) -> None:
        waiter = data.draw(st.sampled_from(sorted(self.queue)))
        del self.queue[waiter]
        self.perform(self.pool.cancel(self.now_ns, waiter))

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), reusable=st.booleans())
    def release(self, data: st.DataObject, reusable: bool) -> None:
        conn = self.leases.pop(data.draw(st.integers(0, len(self.leases) - 1)))
        self.end_lease(conn)
        if not reusable:
            self.broken.add(conn)
        self.perform(self.pool.release(self.now_ns, conn, reusable))

    def end_lease(self, conn: int) -> None:
        if conn in self.open:
            self.open[conn] -= 1
            self.released.remove(conn)
            self.released.append(conn)

    @precondition(lambda self: 0 in self.open.values())
    @rule(data=st.data(), reusable=st.booleans())
    def release_twice(self, data: st.DataObject, reusable: bool) -> None:
        conn = data.draw(st.sampled_from([conn for conn, leases in sorted(self.open.items()) if leases == 0]))
        assert not self.pool.release(self.now_ns, conn, reusable), "law 4"

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def lost(self, data: st.DataObject) -> None:
        conn = data.draw(st.sampled_from(sorted(self.open)))
        del self.open[conn]
        self.released.remove(conn)
        self.perform(self.pool.lost(self.now_ns, conn))

    @rule(elapsed=st.integers(0, 20), tick=st.booleans())
    def time_passes(self, elapsed: int, tick: bool) -> None:
        self.now_ns += elapsed
        if tick:
            self.perform(self.pool.tick(self.now_ns))

    @property
    def unfit(self) -> set[int]:
        """Connections that may be out of use although they have a free place."""
        aged = {conn for conn, at in self.opened_at.items() if 0 < self.config.max_age_ns <= self.now_ns - at}
        return self.broken | aged

    @rule()
    def sleep_until_the_next_deadline(self) -> None:
        deadline_ns = self.pool.next_deadline_ns()
        if deadline_ns is not None:
            self.now_ns = max(self.now_ns, deadline_ns)
            self.perform(self.pool.tick(self.now_ns))
            after = self.pool.next_deadline_ns()
            assert after is None or after > self.now_ns, "law 8: tick made no progress"

    @rule()
    def open_the_minimum(self) -> None:
        self.started = True
        self.perform(self.pool.start(self.now_ns))
        assert self.pool.draining or len(self.open) + len(self.connecting) >= self.least, "law 10"

    @rule(least=st.integers(0, 4), most=st.integers(1, 5))
    def resize(self, least: int, most: int) -> None:
        idle = sum(leases == 0 for leases in self.open.values())
        held = {conn for conn, leases in self.open.items() if leases}
        self.least, self.most = min(least, most), most
        self.ceiling = max(most, len(self.open) + len(self.connecting))
        self.crowd = max(self.crowd, self.config.max_waiters + self.config.streams * most)
        before = len(self.open)
        self.perform(self.pool.resize(self.now_ns, least, most))
        assert held <= set(self.open), "law 6: taken from a caller"
        assert self.pool.draining or before - len(self.open) <= min(idle, max(0, before - most)), "closed too many"
        if not self.pool.draining:
            self.broken |= held

    @rule()
    def a_second_passes(self) -> None:
        self.now_ns += WARM_NS
        self.perform(self.pool.tick(self.now_ns))
        kept = not self.started or self.pool.draining
        assert kept or len(self.open) + len(self.connecting) >= self.least, "law 10: a second later it is there"

    @precondition(lambda self: self.ids > 8)
    @rule()
    def drain(self) -> None:
        self.perform(self.pool.drain(self.now_ns))
        assert not self.queue

    @invariant()
    def books_agree(self) -> None:
        if not hasattr(self, "pool"):
            return
        pool, config = self.pool, self.config
        assert pool.open == len(self.open)
        assert pool.connecting == len(self.connecting)
        self.ceiling = max(self.most, min(self.ceiling, pool.open + pool.connecting))
        assert pool.open + pool.connecting <= self.ceiling, "law 1"
        assert all(0 <= leases <= config.streams for leases in self.open.values()), "law 1"
        assert pool.in_use == sum(self.open.values())
        assert pool.waiting == len(self.queue)
        assert pool.untaken == len(self.granted)
        assert pool.waiting <= self.crowd, "law 9"
        if self.queue and not pool.draining:
            busy = pool.open + pool.connecting >= self.most
            assert busy or len(self.queue) <= pool.connecting * config.streams, "waiters without a connect"

    def teardown(self) -> None:
        """Whatever happened: when everybody has finished, nothing is left."""
        if not hasattr(self, "pool"):
            return
        self.perform(self.pool.drain(self.now_ns))
        for waiter, conn in list(self.granted.items()):
            self.end_lease(conn)
            self.perform(self.pool.cancel(self.now_ns, waiter))
        for conn in list(self.leases):
            self.end_lease(conn)
            self.perform(self.pool.release(self.now_ns, conn, True))
        for conn in list(self.connecting):
            self.perform(self.pool.connected(self.now_ns, conn))
        counts = (self.pool.open, self.pool.connecting, self.pool.in_use, self.pool.waiting, self.pool.untaken)
        assert counts == (0, 0, 0, 0, 0)


TestPoolLaws = PoolShell.TestCase
TestPoolLaws.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)


def test_one_id_cannot_wait_twice() -> None:
    pool = Pool(PoolConfig(max_connections=1))
    pool.acquire(0, 7, 100)
    with pytest.raises(ValueError, match="waiter 7"):
        pool.acquire(0, 7, 100)


def test_cancelled_waiters_do_not_pile_up() -> None:
    pool = Pool(PoolConfig(max_connections=1, max_waiters=10))
    pool.acquire(0, 0, 1 << 60)
    for waiter in range(1, 10_000):
        pool.acquire(0, waiter, (1 << 60) + waiter)
        pool.cancel(0, waiter)
    assert len(pool._queue._heap) < 100
