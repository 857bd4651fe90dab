"""Owns the voices of the gateway's clients: how what a server says in the middle of a request reaches its client.

Rule: a voice says what its client has asked for, in words or by its era, on the response of that one request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from crossfade.impls.errors import UnknownTarget
from crossfade.impls.python import jsonrpc
from crossfade.impls.python.dedicated import ASKED, can_be_asked
from crossfade.impls.python.envelope import CAPABILITIES_KEY, ID
from crossfade.impls.python.jsonrpc import Answer
from crossfade.impls.python.translate import LOG_KEY
from crossfade.impls.python.voice import Origin, Voice, fields_of, refuse

if TYPE_CHECKING:
    from crossfade.impls.python.gateway.questions import Question, Questions
    from crossfade.impls.python.gateway.sessions import Session
    from crossfade.impls.python.gateway.speech import Speaker
    from crossfade.impls.python.peer import Peer

_ASKED: Final = tuple(f'"{name}"'.encode() for name in ASKED)
_any = msgspec.json.Decoder(Any).decode
LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


class _Level(msgspec.Struct):
    level: str


_level = msgspec.json.Decoder(_Level).decode


class ClientVoice(Voice):
    """Says it on the response of the request, which is ``speaker``; nobody can be asked."""

    __slots__ = ("speaker",)
    may_wait = False
    """Whether the request may be answered in rounds, with its call open in between."""

    def __init__(
        self, speaker: Speaker, token: int = 0, raw_token: bytes = b"", *, logs: bool = True, level: str | None = None
    ) -> None:
        super().__init__(token, raw_token, logs=logs, level=level)
        self.speaker = speaker

    def say(self, message: bytes) -> None:
        self.speaker.say(message)

    def asked(self, message: Answer, origin: Origin) -> None:
        refuse(message, origin)

    def withdrawn(self, message: Answer, origin: Origin) -> None:
        """Nothing was asked."""

    def close(self) -> None:
        """The request is over."""


class LegacyVoice(ClientVoice):
    """A legacy client is asked by a request on the response of its own, and answers by another message."""

    __slots__ = ("_open", "_questions")

    def __init__(self, speaker: Speaker, questions: Questions, token: int = 0, raw_token: bytes = b"") -> None:
        super().__init__(speaker, token, raw_token)
        self._questions = questions
        self._open: dict[bytes, Question] = {}

    def asked(self, message: Answer, origin: Origin) -> None:
        method, raw_id = message.method, message.id
        assert isinstance(method, str) and raw_id is not msgspec.UNSET  # noqa: S101, PT018  it is a request
        if not self._questions.may_ask(method):
            refuse(message, origin)
            return
        server_id = bytes(raw_id)

        def ended(result: bytes | None, error: bytes | None) -> None:
            self._open.pop(server_id, None)
            if result is not None:
                origin.reply(jsonrpc.result(server_id, result))
            else:
                origin.reply(jsonrpc.raw_error(server_id, error or b"{}"))
            if not self._open:
                origin.go_on()

        origin.hold()
        params = None if message.params is msgspec.UNSET else bytes(message.params)
        self._open[server_id] = self._questions.ask(self.speaker, method, params, ended, origin.reply)

    def withdrawn(self, message: Answer, origin: Origin) -> None:
        fields = fields_of(message)
        question = self._open.pop(bytes(fields.get("requestId", b"")), None)
        if question is not None:
            self._questions.close(question, bytes(fields.get("reason", b'"the server gave it up"')))
            if not self._open:
                origin.go_on()

    def lost(self) -> None:
        for question in self._open.values():
            self._questions.close(question, b'"the server is gone"')
        self._open.clear()

    def close(self) -> None:
        for question in self._open.values():
            self._questions.close(question)
        self._open.clear()


def bridged(session: Session | None, peer: Peer, meta: dict[str, Any] | None) -> bool:
    """Whether a call over a pipe may have more in its middle than its answer: then it goes the long way."""
    if session is not None and (peer.era == "modern" or session.upstream.own_child):
        return True
    if meta is None:
        return False
    if "progressToken" in meta or LOG_KEY in meta:
        return True
    return session is None and peer.era == "legacy" and can_ask(meta)


def take_token(meta: dict[str, Any], token: int) -> bytes:
    """Put our token in the place of the client's, which is returned as JSON; empty if it has none that is one."""
    raw = bytes(meta.get("progressToken", b""))
    if not ID.fullmatch(raw):
        return b""
    meta["progressToken"] = token
    return raw


def meta_for(session: Session | None, meta: dict[str, Any] | None) -> dict[str, Any]:
    """What a modern server reads of the client in each request: a legacy one said it once, in its handshake."""
    if session is None:
        return meta or {}
    level = {} if session.upstream.level is None else {LOG_KEY: session.upstream.level}
    return {**(meta or {}), **session.meta, **level}


def read_level(params: bytes) -> str:
    """The level of ``logging/setLevel``. Raises UnknownTarget."""
    try:
        level = _level(params).level
    except msgspec.DecodeError:
        level = ""
    if level not in LEVELS:
        raise UnknownTarget(f"params.level must be one of {', '.join(LEVELS)}; send one of them")
    return level


def known_level(meta: Mapping[str, Any]) -> bool:
    """Whether the log level of a request is one, or absent."""
    return LOG_KEY not in meta or text_of(meta[LOG_KEY]) in LEVELS


def can_ask(meta: Mapping[str, Any]) -> bool:
    raw = meta.get(CAPABILITIES_KEY)
    return raw is not None and any(name in bytes(raw) for name in _ASKED) and can_be_asked(value_of(raw))


def value_of(raw: Any) -> Any:
    try:
        return None if raw is None else _any(raw)
    except msgspec.DecodeError:
        return None


def text_of(raw: Any) -> str | None:
    found = value_of(raw)
    return found if isinstance(found, str) else None
