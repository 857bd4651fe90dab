"""Owns the queue of a pool: waiters in order of arrival, and their deadlines in order of time.

Rule: an entry that was served or cancelled leaves the heap lazily, and the heap stays within twice the number of
waiters (plus a constant), so that cancellation costs amortised constant time and memory stays bounded.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict


class Waiters:
    """``alive`` is the queue itself, waiter to deadline; it is one object for life, so others may look at it."""

    __slots__ = ("_heap", "alive")

    def __init__(self) -> None:
        self.alive: OrderedDict[int, int] = OrderedDict()
        self._heap: list[tuple[int, int]] = []

    def push(self, waiter: int, deadline_ns: int) -> None:
        """Queue up at the end."""
        self.alive[waiter] = deadline_ns
        heapq.heappush(self._heap, (deadline_ns, waiter))

    def pop(self) -> tuple[int, int]:
        """The longest waiting one and its deadline. Raises KeyError if there is none."""
        found = self.alive.popitem(last=False)
        self._compact()
        return found

    def remove(self, waiter: int) -> bool:
        """Leave the queue; False if it was not in it."""
        if self.alive.pop(waiter, None) is None:
            return False
        self._compact()
        return True

    def pop_overdue(self, now_ns: int) -> int | None:
        """The one whose deadline is the earliest and not after ``now_ns``; ties go to the lower id."""
        deadline_ns = self.first_deadline_ns()
        if deadline_ns is None or deadline_ns > now_ns:
            return None
        waiter = heapq.heappop(self._heap)[1]
        del self.alive[waiter]
        return waiter

    def first_deadline_ns(self) -> int | None:
        """The earliest deadline of those who wait."""
        while self._heap:
            deadline_ns, waiter = self._heap[0]
            if self.alive.get(waiter) == deadline_ns:
                return deadline_ns
            heapq.heappop(self._heap)
        return None

    def _compact(self) -> None:
        if len(self._heap) > 2 * len(self.alive) + 16:
            self._heap = [(deadline_ns, waiter) for waiter, deadline_ns in self.alive.items()]
            heapq.heapify(self._heap)
