"""Owns what the requests on one pipe hear of their child before their answers: whose a message is, of those in flight.

Rule: progress tells by its token. A log message and a question say nothing, so they go to whoever has the pipe's ear
alone: a request that asked for log messages on a pipe that clients share has it by a lock, and on a pipe of one
client's own the latest request has it.
"""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

import msgspec

from crossfade.impls.errors import PoolTimeout
from crossfade.impls.python.jsonrpc import Answer
from crossfade.impls.python.progress import token_of
from crossfade.impls.python.voice import CANCELLED, LOG, PROGRESS, Voice

if TYPE_CHECKING:
    from crossfade.impls.python.stdio_connection import Pending, StdioConnection

_FOREVER: Final = 1 << 62


class _Turn:
    """A request in flight that hears: an Origin."""

    __slots__ = ("_conn", "_held_ns", "_pending", "voice")

    def __init__(self, conn: StdioConnection, voice: Voice, pending: Pending) -> None:
        self._conn = conn
        self._pending = pending
        self._held_ns = 0
        self.voice = voice

    def reply(self, message: bytes) -> None:
        self._conn.tell(message)

    def hold(self) -> None:
        if not self._held_ns:
            self._held_ns = monotonic_ns()
            self._pending.deadline_ns += _FOREVER

    def go_on(self) -> None:
        if self._held_ns:
            waited, self._held_ns = monotonic_ns() - self._held_ns, 0
            self._pending.deadline_ns += waited - _FOREVER
            self._pending.started_ns += waited
            self._conn.instance.server.wake()


class Talk:
    """The requests of one pipe that hear: ``turns``. ``own`` says that they are all one client's."""

    __slots__ = ("_conn", "own", "turns")

    def __init__(self, conn: StdioConnection, *, own: bool) -> None:
        self._conn = conn
        self.turns: dict[int, _Turn] = {}
        self.own = own

    def enter(self, request_id: int, voice: Voice, pending: Pending) -> None:
        """A request with a voice was sent."""
        self.turns[request_id] = _Turn(self._conn, voice, pending)

    def leave(self, request_id: int) -> None:
        """It is over."""
        self.turns.pop(request_id, None)

    def hears(self, message: Answer) -> bool:
        """A message of the child's; False if it is nobody's."""
        if not self.turns:
            return False
        if message.method == CANCELLED and message.id is msgspec.UNSET:
            for turn in self.turns.values():
                turn.voice.withdrawn(message, turn)
            return True
        found = self._whose(message)
        if found is None:
            return False
        found.voice.hears(message, found)
        return True

    def _whose(self, message: Answer) -> _Turn | None:
        if message.method == PROGRESS:
            raw = None if message.params is msgspec.UNSET else token_of(bytes(message.params))
            return next((t for t in self.turns.values() if t.voice.token and raw == b"%d" % t.voice.token), None)
        if self.own:
            return next(reversed(self.turns.values()))
        peer = self._conn.instance.peer
        if message.method == LOG and message.id is msgspec.UNSET and peer is not None and peer.era == "modern":
            return next((t for t in self.turns.values() if t.voice.level), None)
        return None


async def turn(lock: asyncio.Lock, deadline_ns: int, server: str) -> None:
    """Take the lock, if it can be had in time. Raises PoolTimeout."""
    try:
        async with asyncio.timeout((deadline_ns - monotonic_ns()) / 1e9):
            await lock.acquire()
    except TimeoutError:
        raise PoolTimeout(
            f"server {server!r}: requests with a log level run one at a time on its pipe, and this one's time was over "
            "before its turn; send it without logLevel, or raise the timeout",
            server=server,
        ) from None
