"""Owns the health of many instances, one column each: hysteresis as in ``cores.health``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crossfade.impls.cores.health import HealthConfig
from crossfade.impls.cores_numba.jit import Flags, Ints, kernel

_BAD_AFTER, _GOOD_AFTER, _AGAINST, _HEALTHY = range(4)


@kernel("boolean(int64[:, ::1], int64, boolean)")
def record(s: Ints, i: int, ok: bool) -> bool:
    if int(ok) == s[_HEALTHY, i]:
        s[_AGAINST, i] = 0
        return False
    s[_AGAINST, i] += 1
    if s[_AGAINST, i] < (s[_GOOD_AFTER, i] if ok else s[_BAD_AFTER, i]):
        return False
    s[_AGAINST, i] = 0
    s[_HEALTHY, i] = int(ok)
    return True


@kernel("void(int64[:, ::1], int64[::1], boolean[::1], boolean[::1])")
def _record_batch(s: Ints, which: Ints, ok: Flags, out: Flags) -> None:
    for k in range(which.size):
        out[k] = record(s, which[k], ok[k])


def _table(configs: Sequence[HealthConfig]) -> Ints:
    rows = [(c.unhealthy_after, c.healthy_after, 0, 1) for c in configs]
    return np.ascontiguousarray(np.array(rows, np.int64).reshape(-1, 4).T)


class Healths:
    """The health of many instances."""

    __slots__ = ("table",)

    def __init__(self, configs: Sequence[HealthConfig]) -> None:
        self.table = _table(configs)

    def record(self, which: Ints, ok: Flags) -> Flags:
        """Verdicts in order, one per name; where it is true the state of that instance turned. Raises IndexError."""
        n = self.table.shape[1]
        if which.size and not 0 <= int(which.min()) <= int(which.max()) < n:
            raise IndexError(f"instances {which.min()} to {which.max()} of {n}; name existing ones")
        if which.size != ok.size:
            raise ValueError(f"{which.size} instances and {ok.size} verdicts; give as many of each")
        out = np.empty(which.size, np.bool_)
        _record_batch(self.table, which, ok, out)
        return out

    @property
    def healthy(self) -> Flags:
        """Who is healthy."""
        healthy: Flags = self.table[_HEALTHY].astype(np.bool_)
        return healthy


class Health:
    """The health of one instance: a table of one column."""

    __slots__ = ("table",)

    def __init__(self, config: HealthConfig) -> None:
        self.table = _table([config])

    def record(self, ok: bool) -> bool:
        """One verdict, of a probe or of a call. True if it turned the state."""
        return record(self.table, 0, ok)

    @property
    def healthy(self) -> bool:
        """The state."""
        return bool(self.table[_HEALTHY, 0])
