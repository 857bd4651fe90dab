"""Owns how often something may happen, over arrays: the limits of many columns, and the keys of one limit.

The algorithm, the eviction and its order are those of ``cores.limiter``. Keys are 64 unsigned bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from crossfade.impls.cores.limiter import RateLimitConfig
from crossfade.impls.cores_numba.jit import Ints, Words, kernel, part, signed
from crossfade.impls.cores_numba.lists import END, HEADER, OUT, enter, find, leave, link, unlink

_SPACING, _TOLERANCE, _FULL_AT = range(3)


@kernel("int64(int64[:, ::1], int64, int64)")
def _admit(s: Ints, i: int, now_ns: int) -> int:
    full_at = max(s[_FULL_AT, i], now_ns)
    wait_ns = full_at - s[_TOLERANCE, i] - now_ns
    if full_at > now_ns and wait_ns > 0:
        return int(wait_ns)
    s[_FULL_AT, i] = full_at + s[_SPACING, i]
    return 0


@kernel("int64(int64[:, ::1], int64, int64)")
def _peek(s: Ints, i: int, now_ns: int) -> int:
    return int(max(0, s[_FULL_AT, i] - s[_TOLERANCE, i] - now_ns))


@kernel("void(int64[:, ::1], int64, int64[::1], int64[::1])")
def _admit_batch(s: Ints, now_ns: int, which: Ints, out: Ints) -> None:
    for k in range(which.size):
        out[k] = _admit(s, which[k], now_ns)


def _table(configs: Sequence[RateLimitConfig]) -> Ints:
    s = np.zeros((3, len(configs)), np.int64)
    for i, config in enumerate(configs):
        s[_SPACING, i], s[_TOLERANCE, i] = config.spacing_ns, config.tolerance_ns
    return s


class Gcra:
    """One limit for everybody: a table of one column."""

    __slots__ = ("table",)

    def __init__(self, config: RateLimitConfig) -> None:
        self.table = _table([config])

    def admit(self, now_ns: int) -> int:
        """0: admitted. Else how many nanoseconds to wait; nothing was consumed."""
        return _admit(self.table, 0, now_ns)

    def peek(self, now_ns: int) -> int:
        """What ``admit`` would say; changes nothing."""
        return _peek(self.table, 0, now_ns)


class Gcras:
    """Many limits, one column each."""

    __slots__ = ("table",)

    def __init__(self, configs: Sequence[RateLimitConfig]) -> None:
        self.table = _table(configs)

    def admit(self, now_ns: int, which: Ints) -> Ints:
        """The waits of requests to these limits, asked in order; 0: admitted. Raises IndexError."""
        n = self.table.shape[1]
        if which.size and not 0 <= int(which.min()) <= int(which.max()) < n:
            raise IndexError(f"limits {which.min()} to {which.max()} of {n}; name existing ones")
        out = np.empty(which.size, np.int64)
        _admit_batch(self.table, now_ns, which, out)
        return out


# The keys of one limit: a table of `lists`, whose list is in the order of the last admission.
_AGES, _SIZE, _SPARE, _EVERY, _GRACE, _MAX = 0, 2, 3, 4, 5, 6
_ID, _FULL, _ORDER, _INDEX, _STACK, _ROWS = 1, 2, 3, 5, 6, 7
_SLOTS: Final = 8


def _keys(slots: int) -> Ints:
    s = np.zeros((_ROWS, 4 * slots), np.int64)
    s[HEADER, _AGES : _AGES + 2] = END
    s[_ORDER] = OUT
    s[_STACK, :slots] = np.arange(slots)[::-1]
    s[HEADER, _SPARE] = slots
    return s


@part("void(int64[:, ::1], int64, int64)")
def _add(s: Ints, key: int, full_at: int) -> None:
    s[HEADER, _SPARE] -= 1
    slot = s[_STACK, s[HEADER, _SPARE]]
    s[_ID, slot], s[_FULL, slot] = key, full_at
    enter(s, _INDEX, _ID, slot)
    link(s, _AGES, _ORDER, slot)
    s[HEADER, _SIZE] += 1


@part("void(int64[:, ::1])")
def _drop_oldest(s: Ints) -> None:
    slot = s[HEADER, _AGES]
    unlink(s, _AGES, _ORDER, slot)
    leave(s, _INDEX, _ID, slot)
    s[_STACK, s[HEADER, _SPARE]] = slot
    s[HEADER, _SPARE] += 1
    s[HEADER, _SIZE] -= 1


@kernel("void(int64[:, ::1], int64[:, ::1])")
def _move(old: Ints, new: Ints) -> None:
    """Copy the keys into a larger, empty table, in order."""
    for field in (_EVERY, _GRACE, _MAX):
        new[HEADER, field] = old[HEADER, field]
    slot = old[HEADER, _AGES]
    while slot != END:
        _add(new, old[_ID, slot], old[_FULL, slot])
        slot = old[_ORDER + 1, slot]


@kernel("int64(int64[:, ::1], int64, int64)")
def admit_key(s: Ints, now_ns: int, key: int) -> int:
    slot = find(s, _INDEX, _ID, key)
    if slot < 0:
        # Two full ones leave for each that comes, so memory shrinks again after a flood of keys.
        for _ in range(2):
            if s[HEADER, _AGES] == END or s[_FULL, s[HEADER, _AGES]] > now_ns:
                break
            _drop_oldest(s)
        if s[HEADER, _SIZE] >= s[HEADER, _MAX]:
            _drop_oldest(s)
        _add(s, key, now_ns + s[HEADER, _EVERY])
        return 0
    full_at = max(s[_FULL, slot], now_ns)
    wait_ns = full_at - s[HEADER, _GRACE] - now_ns
    if full_at > now_ns and wait_ns > 0:
        return int(wait_ns)
    s[_FULL, slot] = full_at + s[HEADER, _EVERY]
    unlink(s, _AGES, _ORDER, slot)
    link(s, _AGES, _ORDER, slot)
    return 0


@kernel("int64(int64[:, ::1], int64, int64)")
def _peek_key(s: Ints, now_ns: int, key: int) -> int:
    slot = find(s, _INDEX, _ID, key)
    full_at = s[_FULL, slot] if slot >= 0 else 0
    return int(max(0, full_at - s[HEADER, _GRACE] - now_ns))


@kernel("void(int64[:, ::1], int64, uint64[::1], int64[::1])")
def _admit_keys(s: Ints, now_ns: int, keys: Words, out: Ints) -> None:
    for k in range(keys.size):
        out[k] = admit_key(s, now_ns, np.int64(keys[k]))  # type: ignore[arg-type]  # numba's int64 is our int


class KeyedLimiter:
    """One limit for each key, all alike. Keys are 64-bit hashes, computed by the caller."""

    __slots__ = ("table",)

    def __init__(self, config: RateLimitConfig) -> None:
        self.table = _keys(_SLOTS)
        self.table[HEADER, _EVERY] = config.spacing_ns
        self.table[HEADER, _GRACE] = config.tolerance_ns
        self.table[HEADER, _MAX] = max(config.max_keys, 1)

    def admit(self, now_ns: int, key: int) -> int:
        """As ``Gcra.admit``, for this key."""
        if not self.table[HEADER, _SPARE]:
            self.make_room(1)
        return admit_key(self.table, now_ns, signed(key))

    def admit_batch(self, now_ns: int, keys: Words) -> Ints:
        """The waits of requests with these keys, asked in order."""
        self.make_room(keys.size)
        out = np.empty(keys.size, np.int64)
        _admit_keys(self.table, now_ns, keys, out)
        return out

    def peek(self, now_ns: int, key: int) -> int:
        """What ``admit`` would say; changes nothing."""
        return _peek_key(self.table, now_ns, signed(key))

    @property
    def size(self) -> int:
        """Keys that are remembered."""
        return int(self.table[HEADER, _SIZE])

    def make_room(self, count: int) -> None:
        """Slots for that many keys more, at most for ``max_keys``."""
        need = min(self.size + count, int(self.table[HEADER, _MAX]))
        slots = self.table.shape[1] >> 2
        if need <= slots:
            return
        while slots < need:
            slots *= 2
        old, self.table = self.table, _keys(slots)
        _move(old, self.table)
