"""Owns what one request hears of an HTTP server before its answer, and the way back of what its client answers.

Rule: what comes on the stream of a request belongs to it (streamable-http "Sending Messages"). Its time stands still
while its client is asked something.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from crossfade.impls.python.jsonrpc import Answer

if TYPE_CHECKING:
    from crossfade.impls.python.upstream_http import HttpInstance
    from crossfade.impls.python.voice import Voice

_FOREVER: Final = 1 << 62


class Held(Protocol):
    """Who awaits the answer."""

    def postpone(self, by_ns: int, waited_ns: int = 0) -> None:
        """Move the deadline; ``waited_ns`` were not the server's."""


class Ear:
    """An Origin. ``exchange`` awaits the answer of the request, which was sent in the legacy ``session``."""

    __slots__ = ("_held_ns", "_instance", "_session", "_voice", "exchange")

    def __init__(self, instance: HttpInstance, voice: Voice, session: str | None = None) -> None:
        self._instance = instance
        self._voice = voice
        self._session = session
        self._held_ns = 0
        self.exchange: Held | None = None

    def changes(self, message: Answer) -> None:
        """What concerns the server as a whole. A change is told in every session: where the manager has a stream of its
        own for them, that of one client's session would be the second time.
        """
        is_own = self._session is not None and self._session != self._instance.session
        if not is_own or not self._instance.server.watched.streams:
            self._instance.server.heard(self._instance, message)

    def hears(self, message: Answer) -> None:
        """One message on the stream. A modern server asks nothing there, and gets no answer if it does."""
        peer = self._instance.peer
        if message.id is msgspec.UNSET or peer is None or peer.era == "legacy":
            self._voice.hears(message, self)

    def reply(self, message: bytes) -> None:
        self._instance.spawn(self._instance.notify(self._session, message))

    def hold(self) -> None:
        if not self._held_ns and self.exchange is not None:
            self._held_ns = monotonic_ns()
            self.exchange.postpone(_FOREVER)

    def go_on(self) -> None:
        if self._held_ns and self.exchange is not None:
            waited, self._held_ns = monotonic_ns() - self._held_ns, 0
            self.exchange.postpone(waited - _FOREVER, waited)
            self._instance.server.wake()
