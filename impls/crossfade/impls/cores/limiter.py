"""Owns how often something may happen: the generic cell rate algorithm (GCRA), for one limit and for one per key.

The theory. Requests are admitted ``spacing`` apart on average, ``spacing`` being ``per_ns / requests`` rounded up. All
that a limit knows is the time at which its allowance is full again, ``full_at`` (the theoretical arrival time of ITU-T
I.371): an admitted request moves it by one spacing, from now if it is past. A request is admitted unless ``full_at`` is
more than ``burst - 1`` spacings away. One integer, no timer, no window whose edge lets twice the rate through.

The laws:

1. Within any time of length d, at most ``burst + d // spacing`` requests are admitted.
2. A refusal says how long to wait, to the nanosecond: not earlier, and then surely if nobody else came. It consumes
   nothing, so asking again and again costs the caller nothing and gains it nothing.
3. Idle time saves up ``burst`` requests and no more.
4. Keys do not touch each other's allowance, and at most ``max_keys`` of them are remembered. What goes first is the key
   admitted longest ago: as a rule its allowance is full again, and then forgetting it changes no answer.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from crossfade.impls.config import RateLimitSpec

_MS: Final = 1_000_000
_LONGEST_NS: Final = 1 << 61  # 73 years: what a spacing or a burst may span, so that no sum leaves 63 bits


@dataclass(frozen=True, slots=True)
class RateLimitConfig:
    """At most ``requests`` in ``per_ns``, ``burst`` of them at once; ``max_keys`` is for ``KeyedLimiter``."""

    requests: int
    per_ns: int
    burst: int = 1
    max_keys: int = 10_000

    @classmethod
    def from_spec(cls, spec: RateLimitSpec) -> Self:
        """The same in nanoseconds."""
        return cls(requests=spec.requests, per_ns=spec.per_ms * _MS, burst=spec.burst, max_keys=spec.max_keys)

    @property
    def spacing_ns(self) -> int:
        """The time between two admitted requests at the full rate, rounded up, at least 1."""
        return min(max(-(-self.per_ns // max(self.requests, 1)), 1), _LONGEST_NS)

    @property
    def tolerance_ns(self) -> int:
        """How far ``full_at`` may be away for one more request to be admitted."""
        return min((max(self.burst, 1) - 1) * self.spacing_ns, _LONGEST_NS)


class Gcra:
    """One limit for everybody."""

    __slots__ = ("_full_at", "_spacing", "_tolerance")

    def __init__(self, config: RateLimitConfig) -> None:
        self._spacing = config.spacing_ns
        self._tolerance = config.tolerance_ns
        self._full_at = 0

    def admit(self, now_ns: int) -> int:
        """0: admitted. Else how many nanoseconds to wait; nothing was consumed."""
        full_at = self._full_at
        if full_at <= now_ns:
            self._full_at = now_ns + self._spacing
            return 0
        wait_ns = full_at - self._tolerance - now_ns
        if wait_ns > 0:
            return wait_ns
        self._full_at = full_at + self._spacing
        return 0

    def peek(self, now_ns: int) -> int:
        """What ``admit`` would say; changes nothing. For a request that several limits must admit together."""
        return max(0, self._full_at - self._tolerance - now_ns)


class KeyedLimiter:
    """One limit for each key, all alike. Keys are 64-bit hashes, computed by the caller."""

    __slots__ = ("_full_at", "_max_keys", "_spacing", "_tolerance")

    def __init__(self, config: RateLimitConfig) -> None:
        self._spacing = config.spacing_ns
        self._tolerance = config.tolerance_ns
        self._max_keys = max(config.max_keys, 1)
        # Admitted longest ago first. OrderedDict: its front pops in O(1), a dict's does not.
        self._full_at: OrderedDict[int, int] = OrderedDict()

    def admit(self, now_ns: int, key: int) -> int:
        """As ``Gcra.admit``, for this key."""
        keys = self._full_at
        full_at = keys.get(key)
        if full_at is None:
            self._make_room(now_ns)
            keys[key] = now_ns + self._spacing
            return 0
        if full_at <= now_ns:
            full_at = now_ns
        else:
            wait_ns = full_at - self._tolerance - now_ns
            if wait_ns > 0:
                return wait_ns
        keys[key] = full_at + self._spacing
        keys.move_to_end(key)
        return 0

    def peek(self, now_ns: int, key: int) -> int:
        """What ``admit`` would say; changes nothing."""
        return max(0, self._full_at.get(key, 0) - self._tolerance - now_ns)

    @property
    def size(self) -> int:
        """Keys that are remembered."""
        return len(self._full_at)

    def _make_room(self, now_ns: int) -> None:
        """For one new key. Two full ones leave for each that comes, so memory shrinks again after a flood of keys."""
        keys = self._full_at
        for _ in range(2):
            if not keys or keys[next(iter(keys))] > now_ns:
                break
            keys.popitem(last=False)
        if len(keys) >= self._max_keys:
            keys.popitem(last=False)
