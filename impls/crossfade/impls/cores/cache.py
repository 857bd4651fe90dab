"""Owns the choice which answers are kept: the most recently used ones that are fresh, within bounds.

Rules, pinned in ``impls/vectors/SCHEMA.md``: an entry is gone on the nanosecond its time is over; what has to make room
goes in one order, expired ones first; what is too large, or fresh for no time, is not kept and nothing goes for it. It
knows neither requests nor who asked: keys and values are the shell's.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Generic, Self, TypeVar

from crossfade.impls.config import CacheSpec

K = TypeVar("K")
V = TypeVar("V")
_FOREVER: Final = (1 << 64) - 1
_SLACK: Final = 64


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """Bounds. ``max_ttl_ns`` is the longest that anything is fresh, whatever its owner says."""

    max_entries: int = 1_000
    max_bytes: int = 16 * 1024 * 1024
    max_ttl_ns: int = 3_600_000_000_000

    @classmethod
    def from_spec(cls, spec: CacheSpec) -> Self:
        """The bounds of a configured cache."""
        return cls(spec.max_entries, spec.max_bytes, spec.max_ttl_ms * 1_000_000)


class _Entry(Generic[V]):
    __slots__ = ("expires_ns", "size", "stamp", "value")

    def __init__(self, value: V, size: int, expires_ns: int, stamp: int) -> None:
        self.value = value
        self.size = size
        self.expires_ns = expires_ns
        self.stamp = stamp


class Cache(Generic[K, V]):
    """LRU with times to live. All operations cost amortised O(log n)."""

    __slots__ = ("_config", "_entries", "_expiry", "_stamp", "bytes")

    def __init__(self, config: CacheConfig) -> None:
        self._config = config
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        # Entries leave it lazily, told by their stamp; it stays within twice the number of entries.
        self._expiry: list[tuple[int, int, K]] = []
        self._stamp = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, now_ns: int, key: K) -> V | None:
        """The value, which becomes the most recently used; None if there is none that is fresh."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires_ns <= now_ns:
            self.remove(key)
            return None
        self._entries.move_to_end(key)
        return entry.value

    def put(self, now_ns: int, key: K, value: V, size: int, ttl_ns: int) -> list[K]:
        """Keep ``value`` of ``size`` bytes for ``ttl_ns``, in place of an older one. Returns the keys that left for it,
        in order; not ``key`` itself.
        """
        self.remove(key)
        left = self._expire(now_ns)
        config = self._config
        ttl_ns = min(ttl_ns, config.max_ttl_ns)
        if ttl_ns <= 0 or size > config.max_bytes or config.max_entries == 0:
            return left
        while len(self._entries) >= config.max_entries or self.bytes + size > config.max_bytes:
            oldest = next(iter(self._entries))
            self.remove(oldest)
            left.append(oldest)
        self._stamp += 1
        entry = _Entry(value, size, min(now_ns + ttl_ns, _FOREVER), self._stamp)
        self._entries[key] = entry
        self.bytes += size
        heapq.heappush(self._expiry, (entry.expires_ns, entry.stamp, key))
        return left

    def remove(self, key: K) -> bool:
        """Forget one entry; whether it was there, fresh or not."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self.bytes -= entry.size
        if len(self._expiry) > 2 * len(self._entries) + _SLACK:
            self._expiry = [(e.expires_ns, e.stamp, k) for k, e in self._entries.items()]
            heapq.heapify(self._expiry)
        return True

    def keys(self) -> list[K]:
        """All keys, least recently used first, fresh or not."""
        return list(self._entries)

    def _expire(self, now_ns: int) -> list[K]:
        left: list[K] = []
        while self._expiry and self._expiry[0][0] <= now_ns:
            _, stamp, key = heapq.heappop(self._expiry)
            entry = self._entries.get(key)
            if entry is not None and entry.stamp == stamp:
                self.remove(key)
                left.append(key)
        return left
