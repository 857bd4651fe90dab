"""Owns whether new work is refused at the door; the laws and the control law are those of ``cores.shedder``."""

from __future__ import annotations

from math import sqrt
from typing import Final

import numpy as np

from crossfade.impls.cores.shedder import ShedConfig
from crossfade.impls.cores_numba.jit import Ints, kernel, part

_PLACES, _TARGET, _INTERVAL, _ABOVE, _DUE_AT, _SEEN_AT, _SHEDDING, _NEXT_AT, _COUNT, _START_COUNT = range(10)
_UNBOUNDED: Final = 1 << 62
_LONGEST_NS: Final = 1 << 50
_MOST: Final = 1 << 24


@part("int64(int64)")
def _isqrt(x: int) -> int:
    """The integer square root of a number below 2**52: the float is at most one off."""
    root = int(sqrt(x))
    while root * root > x:
        root -= 1
    while (root + 1) * (root + 1) <= x:
        root += 1
    return root


@kernel("boolean(int64[::1], int64, int64)")
def admit(s: Ints, now_ns: int, in_flight: int) -> bool:
    if in_flight >= s[_PLACES]:
        return False
    if s[_ABOVE] == 0:
        return True
    interval = s[_INTERVAL]
    if now_ns - s[_SEEN_AT] >= interval:
        s[_ABOVE] = s[_SHEDDING] = 0
        return True
    if s[_SHEDDING] == 0:
        if now_ns < s[_DUE_AT]:
            return True
        s[_SHEDDING] = 1
        gained = s[_COUNT] - s[_START_COUNT]
        s[_COUNT] = gained if gained > 1 and now_ns - s[_NEXT_AT] < 16 * interval else 1
        s[_START_COUNT] = s[_COUNT]
        s[_NEXT_AT] = now_ns
    elif now_ns < s[_NEXT_AT]:
        return True
    else:
        s[_COUNT] = min(s[_COUNT] + 1, _MOST)
    s[_NEXT_AT] += (interval << 12) // _isqrt(s[_COUNT] << 24)
    return False


@kernel("void(int64[::1], int64, int64)")
def waited(s: Ints, now_ns: int, delay_ns: int) -> None:
    if delay_ns < s[_TARGET] or s[_TARGET] == 0:
        s[_ABOVE] = s[_SHEDDING] = 0
        return
    if s[_ABOVE] == 0 or now_ns - s[_SEEN_AT] >= s[_INTERVAL]:
        s[_ABOVE] = 1
        s[_SHEDDING] = 0
        s[_DUE_AT] = now_ns + s[_INTERVAL]
    s[_SEEN_AT] = now_ns


class Shedder:
    """The door of one manager. Every wait for a place is told to ``waited`` when it ends, granted or not."""

    __slots__ = ("table",)

    def __init__(self, config: ShedConfig) -> None:
        self.table = np.zeros(10, np.int64)
        interval_ns = min(max(config.interval_ns, 1), _LONGEST_NS)
        self.table[:_ABOVE] = config.max_in_flight or _UNBOUNDED, config.target_ns, interval_ns

    def admit(self, now_ns: int, in_flight: int) -> bool:
        """Whether one more request may come in, ``in_flight`` being here already."""
        return admit(self.table, now_ns, in_flight)

    def waited(self, now_ns: int, delay_ns: int) -> None:
        """Somebody waited ``delay_ns`` for a place until now: 0 if one was free."""
        waited(self.table, now_ns, delay_ns)

    @property
    def shedding(self) -> bool:
        """Whether requests are being shed."""
        return bool(self.table[_SHEDDING])
