"""Owns the legacy clients' sessions: their ids, what belongs to them upstream, and their end.

Rules: only ``initialize`` creates one; DELETE and the idle limit end it, and with it the upstream sessions that were
opened for it. One that is unknown, or another caller's, is 404, and the client starts anew (2025-11-25, "Session
Management"). There is a bounded number of them: for one more the longest idle goes, and one that is in use never does.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from crossfade.impls.python.dedicated import Dedicated, can_be_asked, hello
from crossfade.impls.python.envelope import CAPABILITIES_KEY
from crossfade.impls.python.gateway.principal import ANONYMOUS
from crossfade.impls.python.gateway.questions import Questions
from crossfade.impls.python.gateway.voices import LegacyVoice
from crossfade.impls.python.jsonrpc import encode
from crossfade.impls.python.translate import INFO_KEY

if TYPE_CHECKING:
    from crossfade.impls.python.gateway.speech import Speaker
    from crossfade.impls.python.gateway.streams import Streams
    from crossfade.impls.python.notices import Listener


class Guest(NamedTuple):
    """What a client says of itself in ``initialize``."""

    capabilities: dict[str, Any]
    info: dict[str, Any] | None


_hello = msgspec.json.Decoder(dict[str, Any]).decode


def guest_of(params: bytes) -> Guest:
    """Who sends ``initialize`` with these params; what has a wrong shape counts as not said."""
    try:
        fields = _hello(params)
    except msgspec.DecodeError:
        fields = {}
    capabilities, info = fields.get("capabilities"), fields.get("clientInfo")
    return Guest(capabilities if isinstance(capabilities, dict) else {}, info if isinstance(info, dict) else None)


class Session:
    """One client's session. ``upstream`` holds its own sessions with legacy servers, ``questions`` what it is asked.

    ``meta`` is what a modern server is told of the client with each request; ``listener`` hears of changes for it, and
    ``streams`` are its event streams. ``principal`` has opened it, and ``busy`` counts what is under way for it.
    """

    __slots__ = (
        "_home",
        "busy",
        "id",
        "line",
        "listener",
        "meta",
        "principal",
        "questions",
        "streams",
        "upstream",
        "used_ns",
        "version",
    )

    def __init__(self, version: str, guest: Guest, timeout_ms: int, principal: str = ANONYMOUS) -> None:
        self.id = secrets.token_urlsafe(24)
        self.version = version
        self.principal = principal
        self.busy = 0
        self.upstream = Dedicated(hello(guest.capabilities, guest.info), asked=can_be_asked(guest.capabilities))
        self.upstream.home = self.home
        self.questions = Questions(encode(guest.capabilities), timeout_ms)
        self.line: Speaker | None = None
        self._home: LegacyVoice | None = None
        self.meta: dict[str, Any] = {CAPABILITIES_KEY: guest.capabilities}
        if guest.info is not None:
            self.meta[INFO_KEY] = guest.info
        self.streams: Streams | None = None
        self.listener: Listener | None = None
        self.used_ns = monotonic_ns()

    # -- whether it is in use

    def enter(self) -> None:
        """Something begins that the session must live for; it ends in ``leave``."""
        self.busy += 1

    def leave(self) -> None:
        """It has ended, and the idle time begins."""
        self.busy -= 1
        self.used_ns = monotonic_ns()

    @property
    def idle(self) -> bool:
        """Whether nothing is under way for it, and nobody listens: a GET stream is a request that goes on."""
        return not self.busy

    def home(self) -> LegacyVoice | None:
        """The voice for what belongs to no request: on the client's ``line``, or its GET stream if it has one."""
        speaker = self.line or self.streams
        if speaker is None or (self.streams is not None and self.streams.speaks is None):
            return None
        if self._home is None or self._home.speaker is not speaker:
            self._home = LegacyVoice(speaker, self.questions)
        return self._home

    def end(self) -> None:
        """The client is gone: what belongs to it upstream ends, and what it was asked is not answered."""
        self.questions.end()
        self.upstream.end()


class Sessions:
    """All sessions of one gateway, ``most`` of them at a time."""

    __slots__ = ("_by_id", "_idle_ns", "_most", "_timeout_ms")

    def __init__(self, idle_ms: int, timeout_ms: int, most: int) -> None:
        self._by_id: dict[str, Session] = {}
        self._timeout_ms = timeout_ms
        self._idle_ns = idle_ms * 1_000_000
        self._most = most

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._by_id.values())

    def crowded_out(self) -> Session | None:
        """Who makes room for one more: the longest idle, forgotten already; None if there is room, or nobody can."""
        if len(self._by_id) < self._most:
            return None
        session = min((s for s in self._by_id.values() if s.idle), key=lambda s: s.used_ns, default=None)
        return session and self.close(session.id)

    def open(self, version: str, guest: Guest, principal: str) -> Session | None:
        """A new session of whoever calls; None if there is no room."""
        if len(self._by_id) >= self._most:
            return None
        session = Session(version, guest, self._timeout_ms, principal)
        self._by_id[session.id] = session
        return session

    def get(self, session_id: str, principal: str, now_ns: int) -> Session | None:
        """The session that this caller opened, and a new lease of life for it. To others it is none at all."""
        session = self._by_id.get(session_id)
        if session is None or session.principal != principal:
            return None
        session.used_ns = now_ns
        return session

    def close(self, session_id: str) -> Session | None:
        """Forget it; what belongs to it upstream is the caller's to end."""
        return self._by_id.pop(session_id, None)

    def expired(self, now_ns: int) -> list[Session]:
        """Those that were idle for too long, forgotten already. One with a call or an open stream is in use."""
        late = [s for s in self._by_id.values() if now_ns - s.used_ns >= self._idle_ns and s.idle]
        for session in late:
            del self._by_id[session.id]
        return late

    def all(self) -> list[Session]:
        """Every session, forgotten already: the gateway closes."""
        sessions = list(self._by_id.values())
        self._by_id.clear()
        return sessions
