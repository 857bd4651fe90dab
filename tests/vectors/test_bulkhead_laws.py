"""The laws at the top of ``cores/bulkhead.py``, held against callers that wait, give up, resize and drain."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from crossfade.impls.config import BulkheadSpec
from crossfade.impls.cores import Action, Bulkhead, BulkheadConfig, Grant, Reject

BOUND = st.integers(0, 3)


class Callers(RuleBasedStateMachine):
    """Callers that keep their own books by the actions alone, and find the bulkhead out if they ever disagree."""

    @initialize(max_in_flight=BOUND, max_queue=BOUND)
    def start(self, max_in_flight: int, max_queue: int) -> None:
        self.bulkhead = Bulkhead(BulkheadConfig(max_in_flight, max_queue))
        self.bounds = (max_in_flight, max_queue)
        self.most = (0, 0)  # what was in flight and waiting when the bounds were last lowered
        self.now_ns = 0
        self.ids = 0
        self.arriving = 0
        self.queue: dict[int, int] = {}  # waiter -> deadline, in order of arrival
        self.granted: list[int] = []
        self.running = 0

    def perform(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Grant(waiter, conn):
                    assert conn == 0
                    alive = [w for w, until in self.queue.items() if until > self.now_ns or w == self.arriving]
                    assert waiter == alive[0], "law 2: out of turn, or overdue"
                    del self.queue[waiter]
                    self.granted.append(waiter)
                case Reject(waiter, reason):
                    assert reason != "deadline" or self.queue[waiter] <= self.now_ns
                    del self.queue[waiter]
                case _:
                    raise AssertionError(f"a bulkhead has no {action}")

    @rule(patience=st.integers(0, 8))
    def acquire(self, patience: int) -> None:
        self.ids += 1
        self.queue[self.ids] = self.now_ns + patience
        self.arriving = self.ids
        self.perform(self.bulkhead.acquire(self.now_ns, self.ids, self.now_ns + patience))
        self.arriving = 0

    @rule()
    def try_acquire(self) -> None:
        if self.bulkhead.try_acquire():
            assert not self.queue, "law 3: overtook a waiter"
            self.running += 1

    @precondition(lambda self: self.granted)
    @rule(data=st.data(), take=st.booleans())
    def grant_ends(self, data: st.DataObject, take: bool) -> None:
        waiter = self.granted.pop(data.draw(st.integers(0, len(self.granted) - 1)))
        if take:
            assert self.bulkhead.take(waiter)
            assert not self.bulkhead.take(waiter)
            self.running += 1
        else:
            self.perform(self.bulkhead.cancel(self.now_ns, waiter))

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def waiter_gives_up(self, data: st.DataObject) -> None:
        waiter = data.draw(st.sampled_from(sorted(self.queue)))
        del self.queue[waiter]
        assert not self.bulkhead.cancel(self.now_ns, waiter)

    @precondition(lambda self: self.running)
    @rule()
    def release(self) -> None:
        self.running -= 1
        self.perform(self.bulkhead.release(self.now_ns))

    @precondition(lambda self: self.running and self.queue)
    @rule()
    def release_on_the_nanosecond_of_a_deadline(self) -> None:
        self.now_ns = max(self.now_ns, min(self.queue.values()))
        self.release()

    @precondition(lambda self: not self.running and not self.granted)
    @rule()
    def release_too_many(self) -> None:
        assert not self.bulkhead.release(self.now_ns), "law 4"

    @rule(elapsed=st.integers(0, 5), tick=st.booleans())
    def time_passes(self, elapsed: int, tick: bool) -> None:
        self.now_ns += elapsed
        if tick:
            self.perform(self.bulkhead.tick(self.now_ns))

    @rule()
    def sleep_until_the_next_deadline(self) -> None:
        deadline_ns = self.bulkhead.next_deadline_ns()
        assert (deadline_ns is None) == (not self.queue)
        if deadline_ns is not None:
            self.now_ns = max(self.now_ns, deadline_ns)
            self.perform(self.bulkhead.tick(self.now_ns))
            after = self.bulkhead.next_deadline_ns()
            assert after is None or after > self.now_ns, "law 5: tick made no progress"

    @rule(max_in_flight=BOUND, max_queue=BOUND)
    def resize(self, max_in_flight: int, max_queue: int) -> None:
        self.most = (self.bulkhead.in_flight, self.bulkhead.waiting)
        if not self.bulkhead.draining:
            self.bounds = (max_in_flight, max_queue)
        self.perform(self.bulkhead.resize(self.now_ns, max_in_flight, max_queue))

    @precondition(lambda self: self.ids > 8)
    @rule()
    def drain(self) -> None:
        self.perform(self.bulkhead.drain(self.now_ns))
        assert not self.queue
        assert not self.bulkhead.try_acquire(), "law 5: granted after drain"

    @invariant()
    def books_agree(self) -> None:
        if not hasattr(self, "bulkhead"):
            return
        bulkhead = self.bulkhead
        assert bulkhead.in_flight == self.running + len(self.granted)
        assert bulkhead.waiting == len(self.queue)
        assert bulkhead.untaken == len(self.granted)
        max_in_flight, max_queue = self.bounds
        assert not max_in_flight or bulkhead.in_flight <= max(max_in_flight, self.most[0]), "law 1"
        assert bulkhead.waiting <= max(max_queue, self.most[1]), "law 1"
        assert not self.queue or (max_in_flight and bulkhead.in_flight >= max_in_flight), "law 3: a place lies idle"


TestBulkheadLaws = Callers.TestCase
TestBulkheadLaws.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)


def test_one_id_cannot_wait_twice() -> None:
    bulkhead = Bulkhead(BulkheadConfig(max_in_flight=1, max_queue=5))
    bulkhead.acquire(0, 1, 100)
    bulkhead.acquire(0, 2, 100)
    for waiter in (1, 2):
        with pytest.raises(ValueError, match=f"waiter {waiter} is waiting or granted"):
            bulkhead.acquire(0, waiter, 100)


def test_a_specification_means_what_it_says() -> None:
    spec = BulkheadSpec(max_in_flight=7, max_queue=3, queue_timeout_ms=250)
    assert BulkheadConfig.from_spec(spec) == BulkheadConfig(max_in_flight=7, max_queue=3)
