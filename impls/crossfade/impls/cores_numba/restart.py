"""Owns when a child that ended by itself starts again, and when it no longer does; the laws are ``cores.restart``'s.

One column: the configuration, the state, and a ring of when restarts were granted, longer when a window has more.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from crossfade.impls.cores.restart import RestartConfig
from crossfade.impls.cores_numba.jit import Ints, Words, kernel
from crossfade.impls.cores_numba.rng import below

_BASE_NS, _CAP_NS, _RESET_AFTER_NS, _MAX, _WINDOW_NS, _EXITS, _DOWN_UNTIL, _HEAD, _COUNT, _RING = range(10)
_RESTARTS: Final = 8


@kernel("void(int64[:, ::1])")
def _reset(s: Ints) -> None:
    s[_EXITS, 0] = s[_DOWN_UNTIL, 0] = s[_HEAD, 0] = s[_COUNT, 0] = 0


@kernel("int64(int64[:, ::1], uint64[::1], int64, int64)")
def after_exit(s: Ints, rng: Words, now_ns: int, uptime_ns: int) -> int:
    size = s.shape[0] - _RING
    while s[_COUNT, 0] and now_ns - s[_RING + s[_HEAD, 0], 0] >= s[_WINDOW_NS, 0]:
        s[_HEAD, 0] = (s[_HEAD, 0] + 1) % size
        s[_COUNT, 0] -= 1
    if s[_COUNT, 0] >= s[_MAX, 0]:
        _reset(s)
        s[_DOWN_UNTIL, 0] = now_ns + s[_WINDOW_NS, 0]
        return -1
    if uptime_ns >= s[_RESET_AFTER_NS, 0]:
        s[_EXITS, 0] = 0
    s[_DOWN_UNTIL, 0] = 0
    s[_RING + (s[_HEAD, 0] + s[_COUNT, 0]) % size, 0] = now_ns
    s[_COUNT, 0] += 1
    doublings = min(s[_EXITS, 0], 62)
    whole = s[_CAP_NS, 0]
    if s[_BASE_NS, 0] <= whole >> doublings:
        whole = s[_BASE_NS, 0] << doublings
    s[_EXITS, 0] += 1
    return int(whole - np.int64(below(rng, (whole >> 1) + 1)))


class Restart:
    """The restarts of one child."""

    __slots__ = ("rng", "table")

    def __init__(self, config: RestartConfig, seed: int) -> None:
        self.table = np.zeros((_RING + _RESTARTS, 1), np.int64)
        self.table[:_EXITS, 0] = (
            config.base_ns,
            config.cap_ns,
            config.reset_after_ns,
            config.max_restarts,
            config.window_ns,
        )
        self.rng = np.array([seed & 0xFFFFFFFFFFFFFFFF], np.uint64)

    def exited(self, now_ns: int, uptime_ns: int) -> int:
        """The child ended by itself after ``uptime_ns``: nanoseconds to wait before its restart, -1 in a crash loop."""
        s = self.table
        size = s.shape[0] - _RING
        if s[_COUNT, 0] == size:
            # The oldest comes first again, and behind the newest there is room for as many more.
            self.table = np.concatenate(
                [s[:_RING], np.roll(s[_RING:], -int(s[_HEAD, 0]), axis=0), np.zeros_like(s[_RING:])]
            )
            self.table[_HEAD, 0] = 0
        return after_exit(self.table, self.rng, now_ns, uptime_ns)

    def down_until_ns(self) -> int:
        """When a child in a crash loop may be started again; 0: it is in none."""
        return int(self.table[_DOWN_UNTIL, 0])

    def reset(self) -> None:
        """Somebody starts the child on purpose: the past no longer counts."""
        _reset(self.table)
