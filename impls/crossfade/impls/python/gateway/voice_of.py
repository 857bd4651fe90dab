"""Owns the choice of a request's voice, by who asks and what that client has declared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crossfade.impls.python.dedicated import hello
from crossfade.impls.python.envelope import CAPABILITIES_KEY
from crossfade.impls.python.gateway.asked_voice import AskedVoice
from crossfade.impls.python.gateway.voices import ClientVoice, LegacyVoice, can_ask, take_token, text_of, value_of
from crossfade.impls.python.rounds import ASKING
from crossfade.impls.python.seats import Wish
from crossfade.impls.python.translate import INFO_KEY, LOG_KEY

if TYPE_CHECKING:
    from crossfade.impls.python.gateway.methods import Caller
    from crossfade.impls.python.server import Server


def voice_of(server: Server, caller: Caller, method: str, meta: dict[str, Any]) -> ClientVoice | None:
    """The voice of a request with ``meta``, in which the client's progress token is replaced by one of ours."""
    speaker, session = caller.speaker, caller.session
    if speaker is None:
        return None
    token = server.next_id()
    raw = take_token(meta, token)
    token = token if raw else 0
    if session is not None:
        voice: ClientVoice = LegacyVoice(speaker, session.questions, token, raw)
        voice.level = session.upstream.level
        return voice
    level = text_of(meta.get(LOG_KEY))
    asked = not server.spec.stateless and can_ask(meta)
    if asked and method in ASKING and caller.suspended is not None:
        voice = AskedVoice(speaker, token, raw, capabilities=bytes(meta[CAPABILITIES_KEY]), level=level)
    else:
        voice = ClientVoice(speaker, token, raw, logs=level is not None, level=level)
    if not server.spec.stateless and (level is not None or asked):
        capabilities, info = (value_of(meta.get(key)) for key in (CAPABILITIES_KEY, INFO_KEY))
        voice.wish = Wish(caller.principal, hello(capabilities, info), level)
    return voice
