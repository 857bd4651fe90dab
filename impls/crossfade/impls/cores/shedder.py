"""Owns whether new work is refused at the door because there is too much of it already.

The theory. A queue that empties now and then absorbs bursts and is good; one that never does only adds delay to all. So
what counts is the *least* wait within an interval (CoDel, RFC 8289): if for ``interval_ns`` on end nobody has waited
less than ``target_ns``, one request is shed; another after ``interval_ns``, then after ``interval_ns`` / sqrt(2),
/ sqrt(3) and so on, until somebody waits less than the target again. CoDel drops at the head of the queue; whoever
waits here has a deadline of its own, so it is the newcomer that is refused. ``max_in_flight`` is the hard bound.

The laws:

1. With ``max_in_flight`` or more in flight, nothing is admitted (0: no bound).
2. Below that, something is shed only if for ``interval_ns`` or longer all waits that ended reached ``target_ns``, and
   never none for an interval. So a burst shorter than that sheds nothing, and silence is no evidence.
3. The n-th request shed in a row comes ``interval_ns`` / sqrt(n - 1) after the one before, or with the next that asks.
4. One wait below the target ends it. If it begins again within 16 intervals, it goes on at the pace it had reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from crossfade.impls.config import ShedSpec

_MS: Final = 1_000_000
_UNBOUNDED: Final = 1 << 62
_LONGEST_NS: Final = 1 << 50  # 13 days: so that the control law stays within 63 bits
_MOST: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class ShedConfig:
    """``max_in_flight`` 0: no bound. ``target_ns`` 0: waits are not looked at."""

    max_in_flight: int = 0
    target_ns: int = 0
    interval_ns: int = 100 * _MS

    @classmethod
    def from_spec(cls, spec: ShedSpec) -> Self:
        """The same in nanoseconds."""
        return cls(
            max_in_flight=spec.max_in_flight,
            target_ns=spec.target_ms * _MS,
            interval_ns=spec.interval_ms * _MS,
        )


class Shedder:
    """The door of one manager. Every wait for a place is told to ``waited`` when it ends, granted or not."""

    __slots__ = (
        "_above",
        "_count",
        "_due_at",
        "_interval",
        "_next_at",
        "_places",
        "_seen_at",
        "_start_count",
        "_target",
        "shedding",
    )

    def __init__(self, config: ShedConfig) -> None:
        self._places = config.max_in_flight or _UNBOUNDED
        self._target = config.target_ns
        self._interval = min(max(config.interval_ns, 1), _LONGEST_NS)
        self._above = False  # the last wait reached the target; and for how long, and seen when:
        self._due_at = 0
        self._seen_at = 0
        self.shedding = False
        self._next_at = 0
        self._count = 0
        self._start_count = 0

    def admit(self, now_ns: int, in_flight: int) -> bool:
        """Whether one more request may come in, ``in_flight`` being here already."""
        if in_flight >= self._places:
            return False
        return not self._above or self._admit_above(now_ns)

    def waited(self, now_ns: int, delay_ns: int) -> None:
        """Somebody waited ``delay_ns`` for a place until now: 0 if one was free."""
        if delay_ns < self._target or not self._target:
            self._above = self.shedding = False
            return
        if not self._above or now_ns - self._seen_at >= self._interval:
            self._above = True
            self.shedding = False
            self._due_at = now_ns + self._interval
        self._seen_at = now_ns

    def _admit_above(self, now_ns: int) -> bool:
        interval = self._interval
        if now_ns - self._seen_at >= interval:
            self._above = self.shedding = False
            return True
        if not self.shedding:
            if now_ns < self._due_at:
                return True
            self.shedding = True
            gained = self._count - self._start_count
            self._count = gained if gained > 1 and now_ns - self._next_at < 16 * interval else 1
            self._start_count = self._count
            self._next_at = now_ns
        elif now_ns < self._next_at:
            return True
        else:
            self._count = min(self._count + 1, _MOST)
        self._next_at += (interval << 12) // isqrt(self._count << 24)
        return False
