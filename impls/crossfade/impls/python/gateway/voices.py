"""Owns the voices of the gateway's clients: how what a server says in the middle of a request reaches its client.

Rule: a voice says what its client has asked for, in words or by its era, on the response of that one request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from crossfade.impls.python import jsonrpc
from crossfade.impls.python.jsonrpc import Answer
from crossfade.impls.python.translate import LOG_KEY
from crossfade.impls.python.voice import Origin, Voice, refuse

if TYPE_CHECKING:
    from crossfade.impls.python.gateway.sessions import Session
    from crossfade.impls.python.gateway.speech import Speaker
    from crossfade.impls.python.peer import Peer

_token = msgspec.json.Decoder(str | int).decode


class ClientVoice(Voice):
    """Says it on the response of the request; ``speaker`` is that."""

    __slots__ = ("speaker",)

    def __init__(
        self, speaker: Speaker, token: int, raw_token: bytes, *, logs: bool = False, level: str | None = None
    ) -> None:
        super().__init__(token, raw_token, logs=logs, level=level)
        self.speaker = speaker

    def say(self, message: bytes) -> None:
        self.speaker.say(message)

    def asked(self, message: Answer, origin: Origin) -> None:
        refuse(message, origin)

    def withdrawn(self, message: Answer, origin: Origin) -> None:
        """Nothing was asked."""


def bridged(session: Session | None, peer: Peer, meta: dict[str, Any] | None) -> bool:
    """Whether a call over a pipe may have more in its middle than its answer: then it goes the long way."""
    return meta is not None and ("progressToken" in meta or LOG_KEY in meta)


def take_token(meta: dict[str, Any] | None, token: int) -> bytes:
    """Put our token in the place of the client's, which is returned as JSON; empty if it has none that is one."""
    raw = meta.get("progressToken") if meta is not None else None
    if meta is None or raw is None:
        return b""
    try:
        _token(raw)
    except msgspec.DecodeError:
        return b""
    meta["progressToken"] = token
    return bytes(raw)


def level_of(meta: dict[str, Any] | None) -> str | None:
    """The log level that a modern request asks for. One that is not a string is the server's to refuse."""
    raw = meta.get(LOG_KEY) if meta is not None else None
    try:
        return None if raw is None else str(msgspec.json.decode(jsonrpc.encode(raw), type=str))
    except msgspec.DecodeError:
        return None
