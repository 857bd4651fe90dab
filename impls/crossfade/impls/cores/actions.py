"""Owns what a pool is told and what it says: its configuration, and the actions that a shell performs in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Self

if TYPE_CHECKING:
    from crossfade.impls.config import PoolSpec

CloseReason = Literal["idle", "max_age", "unusable", "draining", "shrunk"]
RejectReason = Literal["queue_full", "deadline", "connect_failed", "draining"]

_MS: Final = 1_000_000


class Connect(NamedTuple):
    """Open a connection; then say ``connected(conn)`` or ``connect_failed(conn)``."""

    conn: int


class Close(NamedTuple):
    """Close a connection that nobody uses. The pool has forgotten it already."""

    conn: int
    reason: CloseReason


class Grant(NamedTuple):
    """The waiter has one place on the connection."""

    waiter: int
    conn: int


class Reject(NamedTuple):
    """The waiter gets nothing."""

    waiter: int
    reason: RejectReason


Action = Connect | Close | Grant | Reject


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """``streams``: leases per connection. ``idle_timeout_ns`` and ``max_age_ns`` 0: never.

    ``min_connections`` is at most ``max_connections``.
    """

    min_connections: int = 0
    max_connections: int = 64
    max_waiters: int = 1024
    streams: int = 1
    idle_timeout_ns: int = 60_000 * _MS
    max_age_ns: int = 0

    @classmethod
    def from_spec(cls, spec: PoolSpec, *, stdio: bool = False) -> Self:
        """The pool of one HTTP instance; for a stdio child one connection with ``stdio_streams`` places, never idle."""
        return cls(
            min_connections=0 if stdio else spec.min_connections,
            max_connections=1 if stdio else spec.max_connections,
            max_waiters=spec.max_waiters,
            streams=spec.stdio_streams if stdio else 1,
            idle_timeout_ns=0 if stdio else spec.idle_timeout_ms * _MS,
            max_age_ns=0 if stdio else spec.max_age_ms * _MS,
        )
