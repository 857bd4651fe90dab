"""Owns the comparison of tool names with configured globs, and of texts with each other by hash.

Rule: patterns are compiled once, and nothing that a client can make up is kept without bound.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Iterable

from crossfade.impls.names import fnv1a


class Globs:
    """Some globs, of which one has to match; case counts, and ``*`` spans everything. False if there are none."""

    __slots__ = ("_matches",)

    def __init__(self, patterns: Iterable[str]) -> None:
        alternatives = [fnmatch.translate(pattern) for pattern in patterns]
        self._matches = re.compile("|".join(alternatives)).match if alternatives else None

    def __bool__(self) -> bool:
        return self._matches is not None

    def matches(self, name: str) -> bool:
        """Whether one of them is the whole of ``name``."""
        return self._matches is not None and self._matches(name) is not None


@functools.lru_cache(maxsize=4096)
def key_of(text: str) -> int:
    """The 64 bits by which cores know a text: FNV-1a of its UTF-8 bytes."""
    return fnv1a(text.encode())
