"""Owns the breakers of many instances in one table: the laws are those of ``cores.breaker``, the transitions its table.

One column is one instance. The first rows are its configuration and its state, the others the ring of its verdicts, one
word each: ``at_ns << 2 | slow << 1 | failed``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from crossfade.impls.cores.breaker import BreakerConfig
from crossfade.impls.cores_numba.jit import Flags, Ints, kernel, part
from crossfade.impls.states import CircuitState

_ENABLED, _WINDOW, _WINDOW_NS, _MIN_CALLS, _FAILURE, _SLOW_NS, _SLOW, _OPEN_NS, _PROBES = range(9)
_STATE, _FAILED, _SLOWED, _TRIPPED_AT, _PROBE_AT, _LEFT, _OK, _HEAD, _COUNT, _RING = range(9, 19)
_CLOSED, _OPEN, _HALF_OPEN = range(3)
_STATES: Final = (CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN)


def table(configs: Sequence[BreakerConfig]) -> Ints:
    """Closed breakers, one column for each configuration."""
    s = np.zeros((_RING + max((c.window for c in configs), default=1), len(configs)), np.int64)
    for i, c in enumerate(configs):
        s[:_STATE, i] = (
            c.enabled,
            c.window,
            c.window_ns,
            min(c.min_calls, c.window),
            c.failure_per_mille,
            c.slow_call_ns,
            c.slow_per_mille,
            c.open_ns,
            c.probes,
        )
    return s


@kernel("boolean(int64[:, ::1], int64, int64)")
def admit(s: Ints, i: int, now_ns: int) -> bool:
    if s[_STATE, i] == _CLOSED:
        return True
    if s[_STATE, i] == _OPEN:
        if now_ns - s[_TRIPPED_AT, i] < s[_OPEN_NS, i]:
            return False
        s[_STATE, i] = _HALF_OPEN
        s[_LEFT, i] = s[_PROBES, i]
        s[_OK, i] = 0
    elif now_ns - s[_PROBE_AT, i] >= s[_OPEN_NS, i]:
        s[_LEFT, i] = s[_PROBES, i]
    elif s[_LEFT, i] == 0:
        return False
    s[_LEFT, i] -= 1
    s[_PROBE_AT, i] = now_ns
    return True


@part("void(int64[:, ::1], int64, int64)")
def _trip(s: Ints, i: int, now_ns: int) -> None:
    s[_STATE, i] = _OPEN
    s[_TRIPPED_AT, i] = now_ns
    s[_HEAD, i] = s[_COUNT, i] = s[_FAILED, i] = s[_SLOWED, i] = 0


@part("int64(int64[:, ::1], int64)")
def _drop_oldest(s: Ints, i: int) -> int:
    """Take the oldest verdict out of the window and say when it was."""
    verdict = s[_RING + s[_HEAD, i], i]
    s[_FAILED, i] -= verdict & 1
    s[_SLOWED, i] -= verdict >> 1 & 1
    s[_HEAD, i] = (s[_HEAD, i] + 1) % s[_WINDOW, i]
    s[_COUNT, i] -= 1
    return int(verdict >> 2)


@kernel("void(int64[:, ::1], int64, int64, boolean, int64)")
def record(s: Ints, i: int, now_ns: int, ok: bool, duration_ns: int) -> None:
    slow = 0 < s[_SLOW_NS, i] < duration_ns
    tripped_at = s[_TRIPPED_AT, i]
    if s[_STATE, i] == _CLOSED:
        if s[_ENABLED, i] == 0 or (tripped_at != 0 and now_ns - duration_ns < tripped_at):
            return
        window, window_ns = s[_WINDOW, i], s[_WINDOW_NS, i]
        if s[_COUNT, i] == window:
            _drop_oldest(s, i)
        if window_ns:
            while s[_COUNT, i] and now_ns - (s[_RING + s[_HEAD, i], i] >> 2) >= window_ns:
                _drop_oldest(s, i)
        s[_RING + (s[_HEAD, i] + s[_COUNT, i]) % window, i] = now_ns << 2 | int(slow) << 1 | int(not ok)
        s[_COUNT, i] += 1
        s[_SLOWED, i] += int(slow)
        s[_FAILED, i] += int(not ok)
        calls, failed, slowed = s[_COUNT, i], s[_FAILED, i], s[_SLOWED, i]
        if (
            (failed or slowed)
            and calls >= s[_MIN_CALLS, i]
            and (
                failed * 1000 >= s[_FAILURE, i] * calls or (s[_SLOW_NS, i] > 0 and slowed * 1000 >= s[_SLOW, i] * calls)
            )
        ):
            _trip(s, i, now_ns)
    elif s[_STATE, i] == _HALF_OPEN and max(0, now_ns - duration_ns) >= tripped_at:
        if not ok or slow:
            _trip(s, i, now_ns)
            return
        s[_OK, i] += 1
        if s[_OK, i] == s[_PROBES, i]:
            s[_STATE, i] = _CLOSED


@kernel("void(int64[:, ::1], int64, int64, int64)")
def _forget(s: Ints, i: int, now_ns: int, duration_ns: int) -> None:
    if s[_STATE, i] == _HALF_OPEN and max(0, now_ns - duration_ns) >= s[_TRIPPED_AT, i]:
        s[_LEFT, i] = min(s[_LEFT, i] + 1, s[_PROBES, i])


@kernel("int64(int64[:, ::1], int64, int64)")
def _state(s: Ints, i: int, now_ns: int) -> int:
    if s[_STATE, i] == _OPEN and now_ns - s[_TRIPPED_AT, i] >= s[_OPEN_NS, i]:
        return _HALF_OPEN
    return int(s[_STATE, i])


@kernel("int64(int64[:, ::1], int64, int64)")
def _retry_after(s: Ints, i: int, now_ns: int) -> int:
    if s[_STATE, i] != _OPEN:
        return 0
    return int(max(0, s[_TRIPPED_AT, i] + s[_OPEN_NS, i] - now_ns))


@kernel("void(int64[:, ::1], int64, int64[::1], boolean[::1])")
def _admit_batch(s: Ints, now_ns: int, which: Ints, out: Flags) -> None:
    for k in range(which.size):
        out[k] = admit(s, which[k], now_ns)


@kernel("void(int64[:, ::1], int64, int64[::1], boolean[::1], int64[::1])")
def _record_batch(s: Ints, now_ns: int, which: Ints, ok: Flags, duration_ns: Ints) -> None:
    for k in range(which.size):
        record(s, which[k], now_ns, ok[k], duration_ns[k])


class Breakers:
    """The breakers of many instances; every admitted call ends in exactly one verdict of ``record``."""

    __slots__ = ("table",)

    def __init__(self, configs: Sequence[BreakerConfig]) -> None:
        self.table = table(configs)

    def admit(self, now_ns: int, which: Ints) -> Flags:
        """Whether a call to each of the instances may go out now; one that is named twice is asked twice."""
        self._check(which)
        out = np.empty(which.size, np.bool_)
        _admit_batch(self.table, now_ns, which, out)
        return out

    def record(self, now_ns: int, which: Ints, ok: Flags, duration_ns: Ints) -> None:
        """The verdicts on admitted calls, in order. All arrays have one length."""
        self._check(which)
        if not which.size == ok.size == duration_ns.size:
            raise ValueError(
                f"{which.size} instances, {ok.size} verdicts, {duration_ns.size} durations; give as many of each"
            )
        _record_batch(self.table, now_ns, which, ok, duration_ns)

    def _check(self, which: Ints) -> None:
        """Kernels do not look at bounds."""
        n = self.table.shape[1]
        if which.size and not 0 <= int(which.min()) <= int(which.max()) < n:
            raise IndexError(f"instances {which.min()} to {which.max()} of {n} breakers; name existing ones")


class Breaker:
    """The breaker of one instance: a table of one column."""

    __slots__ = ("table",)

    def __init__(self, config: BreakerConfig) -> None:
        self.table = table([config])

    def admit(self, now_ns: int) -> bool:
        """Whether a call may go out now. True must be answered by one ``record`` or ``forget``."""
        return admit(self.table, 0, now_ns)

    def record(self, now_ns: int, ok: bool, duration_ns: int) -> None:
        """The verdict on an admitted call that took ``duration_ns``."""
        record(self.table, 0, now_ns, ok, duration_ns)

    def forget(self, now_ns: int, duration_ns: int = 0) -> None:
        """An admitted call ended without a verdict: its probe is given back."""
        _forget(self.table, 0, now_ns, duration_ns)

    def state(self, now_ns: int) -> CircuitState:
        """The state at ``now_ns``; changes nothing."""
        return _STATES[_state(self.table, 0, now_ns)]

    def retry_after_ns(self, now_ns: int) -> int:
        """How long an open breaker will go on refusing; 0 in the other states."""
        return _retry_after(self.table, 0, now_ns)
