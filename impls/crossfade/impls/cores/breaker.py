"""Owns the decision whether an instance may be called: closed, open, half-open.

The theory. A closed breaker admits everything and keeps a window of verdicts, bounded by count (``window``) and by age
(``window_ns``). When at least ``min_calls`` verdicts are in it and the share of failures (or of slow calls) reaches its
limit, the breaker trips. Open, it refuses for ``open_ns``. Then it is half-open: ``probes`` calls are let through, and
their verdicts decide. The transitions are one table, ``_NEXT``.

The laws:

1. Closed admits. Open never admits. Half-open admits at most ``probes`` calls per ``open_ns``.
2. All probes succeed: closed, with an empty window. One fails or is slow: open again, for the full ``open_ns``.
3. A verdict on a call that began before the last trip is ignored: it is old evidence. So ``duration_ns`` is counted
   from the ``now_ns`` given to ``admit`` (or a little earlier, never by ``open_ns`` or more).
4. A probe without a verdict does not lock the breaker: ``forget`` gives it back, and when no probe was let through for
   ``open_ns`` there is a fresh set of them.
5. No floats, no clock: rates are per mille by cross-multiplication, ``now_ns`` comes from the caller.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from crossfade.impls.states import CircuitState

if TYPE_CHECKING:
    from crossfade.impls.config import BreakerSpec

_CLOSED: Final = 0
_OPEN: Final = 1
_HALF_OPEN: Final = 2
_STATES: Final = (CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN)

_TRIPPED: Final = 0
_COOLED: Final = 1
_PROBES_OK: Final = 2
_PROBE_FAILED: Final = 3

_NEXT: Final = {
    (_CLOSED, _TRIPPED): _OPEN,
    (_OPEN, _COOLED): _HALF_OPEN,
    (_HALF_OPEN, _PROBES_OK): _CLOSED,
    (_HALF_OPEN, _PROBE_FAILED): _OPEN,
}

_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class BreakerConfig:
    """``window_ns`` 0: no bound by age. ``slow_call_ns`` 0: no call is slow. ``min_calls`` is at most ``window``."""

    enabled: bool = True
    window: int = 100
    window_ns: int = 10_000 * _MS
    min_calls: int = 20
    failure_per_mille: int = 500
    slow_call_ns: int = 0
    slow_per_mille: int = 1000
    open_ns: int = 5_000 * _MS
    probes: int = 3

    @classmethod
    def from_spec(cls, spec: BreakerSpec) -> Self:
        """The same in nanoseconds."""
        return cls(
            enabled=spec.enabled,
            window=spec.window,
            window_ns=spec.window_ms * _MS,
            min_calls=spec.min_calls,
            failure_per_mille=spec.failure_per_mille,
            slow_call_ns=spec.slow_call_ms * _MS,
            slow_per_mille=spec.slow_per_mille,
            open_ns=spec.open_ms * _MS,
            probes=spec.probes,
        )


class Breaker:
    """The breaker of one instance. Every admitted call ends in exactly one ``record`` or ``forget``."""

    __slots__ = (
        "_enabled",
        "_failure_per_mille",
        "_failures",
        "_min_calls",
        "_open_ns",
        "_probe_at",
        "_probes",
        "_probes_left",
        "_probes_ok",
        "_ring",
        "_slow",
        "_slow_call_ns",
        "_slow_per_mille",
        "_state",
        "_tripped_at",
        "_window",
        "_window_ns",
    )

    def __init__(self, config: BreakerConfig) -> None:
        self._enabled = config.enabled
        self._window = config.window
        self._window_ns = config.window_ns
        self._min_calls = min(config.min_calls, config.window)
        self._failure_per_mille = config.failure_per_mille
        self._slow_call_ns = config.slow_call_ns
        self._slow_per_mille = config.slow_per_mille
        self._open_ns = config.open_ns
        self._probes = config.probes
        self._state = _CLOSED
        # One verdict is `at_ns << 2 | slow << 1 | failed`: one int per entry, nothing else allocated.
        self._ring: deque[int] = deque()
        self._failures = 0
        self._slow = 0
        self._tripped_at = 0
        self._probe_at = 0
        self._probes_left = 0
        self._probes_ok = 0

    def admit(self, now_ns: int) -> bool:
        """Whether a call may go out now. True must be answered by one ``record`` or ``forget``."""
        if self._state == _CLOSED:
            return True
        if self._state == _OPEN:
            if now_ns - self._tripped_at < self._open_ns:
                return False
            self._move(_COOLED, now_ns)
        elif now_ns - self._probe_at >= self._open_ns:
            self._probes_left = self._probes
        elif self._probes_left == 0:
            return False
        self._probes_left -= 1
        self._probe_at = now_ns
        return True

    def record(self, now_ns: int, ok: bool, duration_ns: int) -> None:
        """The verdict on an admitted call that took ``duration_ns``."""
        slow = 0 < self._slow_call_ns < duration_ns
        if self._state == _CLOSED:
            if not self._enabled or (self._tripped_at and now_ns - duration_ns < self._tripped_at):
                return
            ring = self._ring
            if len(ring) == self._window and (oldest := ring.popleft()) & 3:
                self._uncount(oldest)
            if self._window_ns:
                while ring and now_ns - (ring[0] >> 2) >= self._window_ns:
                    self._uncount(ring.popleft())
            if ok and not slow:
                ring.append(now_ns << 2)
            else:
                ring.append(now_ns << 2 | slow << 1 | (not ok))
                self._slow += slow
                self._failures += not ok
            if (self._failures or self._slow) and self._over_limit():
                self._move(_TRIPPED, now_ns)
        elif self._state == _HALF_OPEN and max(0, now_ns - duration_ns) >= self._tripped_at:
            if not ok or slow:
                self._move(_PROBE_FAILED, now_ns)
                return
            self._probes_ok += 1
            if self._probes_ok == self._probes:
                self._move(_PROBES_OK, now_ns)

    def forget(self, now_ns: int, duration_ns: int = 0) -> None:
        """An admitted call ended without a verdict (cancelled, or nothing was sent): its probe is given back."""
        if self._state == _HALF_OPEN and max(0, now_ns - duration_ns) >= self._tripped_at:
            self._probes_left = min(self._probes_left + 1, self._probes)

    def state(self, now_ns: int) -> CircuitState:
        """The state at ``now_ns``; changes nothing. Half-open as soon as ``open_ns`` is over, called or not."""
        if self._state == _OPEN and now_ns - self._tripped_at >= self._open_ns:
            return CircuitState.HALF_OPEN
        return _STATES[self._state]

    def retry_after_ns(self, now_ns: int) -> int:
        """How long an open breaker will go on refusing; 0 in the other states."""
        if self._state != _OPEN:
            return 0
        return max(0, self._tripped_at + self._open_ns - now_ns)

    def _over_limit(self) -> bool:
        calls = len(self._ring)
        return calls >= self._min_calls and (
            self._failures * 1000 >= self._failure_per_mille * calls
            or (self._slow_call_ns > 0 and self._slow * 1000 >= self._slow_per_mille * calls)
        )

    def _uncount(self, verdict: int) -> None:
        self._failures -= verdict & 1
        self._slow -= verdict >> 1 & 1

    def _move(self, event: int, now_ns: int) -> None:
        self._state = state = _NEXT[self._state, event]
        if state == _OPEN:
            self._tripped_at = now_ns
            self._ring.clear()
            self._failures = self._slow = 0
        elif state == _HALF_OPEN:
            self._probes_left = self._probes
            self._probes_ok = 0
