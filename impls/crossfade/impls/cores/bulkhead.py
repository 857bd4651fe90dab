"""Owns how many requests one server has in flight, and who waits for a place; it returns actions, no I/O.

The theory. There are ``max_in_flight`` places. ``try_acquire`` takes one without a word if one is free. Else a *waiter*
queues, and whoever releases a place gives it to the oldest waiter whose time is not over. The shell performs what is
returned, in order: it wakes waiters (``Grant``, ``Reject``). A woken waiter says ``take`` first; whoever gives up says
``cancel``, before or after the grant. It is the pool without connections, so its grants name connection 0.

The laws:

1. At most ``max_in_flight`` places are taken (0: no bound) and at most ``max_queue`` waiters wait, but for those who
   were there before ``resize`` lowered the bound.
2. Every waiter gets exactly one Grant or Reject, or is cancelled. Grants go strictly in order of arrival.
3. Somebody waits only if no place is free. So ``try_acquire`` cannot overtake anybody.
4. Every place that is taken ends by one ``release``, or by ``cancel`` of an untaken grant. One too many is ignored.
5. ``tick(next_deadline_ns())`` always makes progress. After ``drain`` nothing is granted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from crossfade.impls.cores.actions import Action, Grant, Reject
from crossfade.impls.cores.waiters import Waiters

if TYPE_CHECKING:
    from crossfade.impls.config import BulkheadSpec

_NOTHING: Final[Sequence[Action]] = ()
_UNBOUNDED: Final = 1 << 62
_NO_CONN: Final = 0


@dataclass(frozen=True, slots=True)
class BulkheadConfig:
    """``max_in_flight`` 0: no bound. ``max_queue`` 0: nobody waits."""

    max_in_flight: int = 0
    max_queue: int = 0

    @classmethod
    def from_spec(cls, spec: BulkheadSpec) -> Self:
        """How long a waiter waits is the caller's affair: ``acquire`` takes a deadline."""
        return cls(max_in_flight=spec.max_in_flight, max_queue=spec.max_queue)


class Bulkhead:
    """The places of one server. Waiter ids are the caller's, unique while alive."""

    __slots__ = ("_granted", "_max_queue", "_places", "_queue", "_waiting", "draining", "in_flight")

    def __init__(self, config: BulkheadConfig) -> None:
        self._places = config.max_in_flight or _UNBOUNDED
        self._max_queue = config.max_queue
        self._queue = Waiters()
        self._waiting = self._queue.alive
        self._granted: set[int] = set()  # waiters, until taken
        self.in_flight = 0
        self.draining = False

    def try_acquire(self) -> bool:
        """Take a free place at once. False means: queue with ``acquire``."""
        if self.in_flight >= self._places:
            return False
        self.in_flight += 1
        return True

    def release(self, now_ns: int) -> Sequence[Action]:
        """End one request: its place goes to the oldest waiter, or is free."""
        if not self.in_flight:
            return _NOTHING
        self.in_flight -= 1
        return self._hand_out(now_ns) if self._waiting else _NOTHING

    def acquire(self, now_ns: int, waiter: int, deadline_ns: int) -> Sequence[Action]:
        """Take a place, now or when one is free before ``deadline_ns``; the action may be the answer already."""
        if waiter in self._waiting or waiter in self._granted:
            raise ValueError(f"waiter {waiter} is waiting or granted already; give every acquire its own id")
        if self.draining:
            return (Reject(waiter, "draining"),)
        if self.try_acquire():
            self._granted.add(waiter)
            return (Grant(waiter, _NO_CONN),)
        if deadline_ns <= now_ns:
            return (Reject(waiter, "deadline"),)
        if len(self._waiting) >= self._max_queue:
            return (Reject(waiter, "queue_full"),)
        self._queue.push(waiter, deadline_ns)
        return _NOTHING

    def take(self, waiter: int) -> bool:
        """The waiter has seen its grant: from now on the place is its own to release. False if it has none."""
        if waiter not in self._granted:
            return False
        self._granted.remove(waiter)
        return True

    def cancel(self, now_ns: int, waiter: int) -> Sequence[Action]:
        """The waiter gives up: it leaves the queue, or its untaken place goes to the next. Unknown ids are ignored."""
        if self._queue.remove(waiter) or not self.take(waiter):
            return _NOTHING
        return self.release(now_ns)

    def tick(self, now_ns: int) -> Sequence[Action]:
        """Reject the waiters whose time is over."""
        actions: list[Action] = []
        while (waiter := self._queue.pop_overdue(now_ns)) is not None:
            actions.append(Reject(waiter, "deadline"))
        return actions

    def next_deadline_ns(self) -> int | None:
        """When ``tick`` has something to do, or None."""
        return self._queue.first_deadline_ns()

    def resize(self, now_ns: int, max_in_flight: int, max_queue: int) -> Sequence[Action]:
        """Other bounds from now on; new places go to the waiters. Nobody who is in loses anything. Not after drain."""
        if self.draining:
            return _NOTHING
        self._places = max_in_flight or _UNBOUNDED
        self._max_queue = max_queue
        return self._hand_out(now_ns)

    def drain(self, now_ns: int) -> Sequence[Action]:
        """No place for anybody from now on; those who wait are rejected, those who are in finish."""
        self.draining = True
        self._places = 0
        actions: list[Action] = []
        while self._waiting:
            actions.append(Reject(self._queue.pop()[0], "draining"))
        return actions

    @property
    def waiting(self) -> int:
        """Callers in the queue."""
        return len(self._waiting)

    @property
    def untaken(self) -> int:
        """Grants that were neither taken nor cancelled yet; they are ``in_flight``."""
        return len(self._granted)

    def _hand_out(self, now_ns: int) -> Sequence[Action]:
        actions: list[Action] = []
        while self._waiting and self.in_flight < self._places:
            waiter, deadline_ns = self._queue.pop()
            if deadline_ns <= now_ns:
                actions.append(Reject(waiter, "deadline"))
                continue
            self.in_flight += 1
            self._granted.add(waiter)
            actions.append(Grant(waiter, _NO_CONN))
        return actions
