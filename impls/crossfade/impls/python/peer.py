"""Owns what discovery learned of a server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from crossfade.impls.snapshots import Era


@dataclass(frozen=True, slots=True)
class Peer:
    """What discovery learned: the era, the revision, and what the server says of itself."""

    era: Era
    version: str
    capabilities: dict[str, Any] = field(default_factory=dict)
    name: str | None = None
    release: str | None = None
    instructions: str | None = None
