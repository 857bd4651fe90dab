"""Owns when a child that ended by itself is started again, and when it no longer is: a crash loop.

The delay doubles from ``base_ns`` with every exit, up to ``cap_ns``, and half of it is jitter, so that children that
died together do not come back together. The laws:

1. A delay lies between one half and the whole of ``min(cap_ns, base_ns * 2**n)``, n exits after the last fresh start.
2. Within any ``window_ns`` there are at most ``max_restarts`` restarts; one more is a crash loop, and the child stays
   down until ``down_until_ns``, one window later.
3. A child that lived ``reset_after_ns`` starts at ``base_ns`` again (its restarts still count in the window). A crash
   loop and ``reset`` forget everything: whoever starts the child next, gives it a fresh chance.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from crossfade.impls.cores.rng import SplitMix64

if TYPE_CHECKING:
    from crossfade.impls.config import RestartSpec

_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class RestartConfig:
    """``max_restarts`` 0: the first exit is a crash loop already."""

    base_ns: int = 100 * _MS
    cap_ns: int = 30_000 * _MS
    reset_after_ns: int = 10_000 * _MS
    max_restarts: int = 5
    window_ns: int = 60_000 * _MS

    @classmethod
    def from_spec(cls, spec: RestartSpec) -> Self:
        """The same in nanoseconds; whether to restart at all (``enabled``) is the shell's to look at."""
        return cls(
            base_ns=spec.base_ms * _MS,
            cap_ns=spec.cap_ms * _MS,
            reset_after_ns=spec.reset_after_ms * _MS,
            max_restarts=spec.max_restarts,
            window_ns=spec.window_ms * _MS,
        )


class Restart:
    """The restarts of one child."""

    __slots__ = ("_config", "_down_until_ns", "_exits", "_recent", "_rng")

    def __init__(self, config: RestartConfig, seed: int) -> None:
        self._config = config
        self._rng = SplitMix64(seed)
        self._recent: deque[int] = deque()  # when restarts were granted, oldest first
        self._exits = 0
        self._down_until_ns = 0

    def exited(self, now_ns: int, uptime_ns: int) -> int:
        """The child ended by itself after ``uptime_ns``: nanoseconds to wait before its restart, -1 in a crash loop."""
        config = self._config
        recent = self._recent
        while recent and now_ns - recent[0] >= config.window_ns:
            recent.popleft()
        if len(recent) >= config.max_restarts:
            self.reset()
            self._down_until_ns = now_ns + config.window_ns
            return -1
        if uptime_ns >= config.reset_after_ns:
            self._exits = 0
        self._down_until_ns = 0
        recent.append(now_ns)
        whole = min(config.cap_ns, config.base_ns << min(self._exits, 64))
        self._exits += 1
        return whole - self._rng.below((whole >> 1) + 1)

    def down_until_ns(self) -> int:
        """When a child in a crash loop may be started again; 0: it is in none."""
        return self._down_until_ns

    def reset(self) -> None:
        """Somebody starts the child on purpose: the past no longer counts."""
        self._recent.clear()
        self._exits = 0
        self._down_until_ns = 0
