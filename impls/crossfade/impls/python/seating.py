"""Owns the way of one request to a legacy server in a session that is its client's alone.

Rule: whoever was admitted by the breaker and does not get as far as a call is forgotten by it, and a leased seat is
given back, whoever is cancelled wherever.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING

from crossfade.impls.python.dedicated import Dedicated

if TYPE_CHECKING:
    from crossfade.impls.python.ask import Ask
    from crossfade.impls.python.instance import Instance
    from crossfade.impls.python.voice import Voice


def is_dedicated(ask: Ask, voice: Voice | None) -> bool:
    """Whether the request does not go in the session that all share."""
    return ask.sessions is not None or (voice is not None and voice.wish is not None)


async def request(instance: Instance, ask: Ask, params: bytes, voice: Voice | None, now_ns: int) -> bytes:
    """As ``Instance.request``, in the client's own session. Raises PoolTimeout if there are too many of those."""
    if ask.sessions is not None:
        return await _request(instance, ask, params, voice, ask.sessions, now_ns=now_ns)
    assert voice is not None and voice.wish is not None  # noqa: S101, PT018  is_dedicated
    wish = voice.wish
    try:
        seat = await instance.seats.lease(wish, ask.deadline_ns) or Dedicated(wish.hello, asked=True)
    except BaseException:
        instance.breaker.forget(now_ns, monotonic_ns() - now_ns)
        raise
    try:
        return await _request(instance, ask, params, voice, seat, now_ns=now_ns)
    finally:
        instance.seats.give_back(wish, seat)


async def _request(
    instance: Instance, ask: Ask, params: bytes, voice: Voice | None, sessions: Dedicated, *, now_ns: int
) -> bytes:
    wish = voice.wish if voice is not None else None
    try:
        if wish is not None and wish.level is not None:
            await sessions.set_level(wish.level, instance)
        target = await sessions.target(instance, ask.deadline_ns)
    except BaseException:
        instance.breaker.forget(now_ns, monotonic_ns() - now_ns)
        raise
    own = sessions if target is instance else None
    if voice is not None:
        sessions.voices.append(voice)
    try:
        return await target.request(
            ask.method, params, ask.deadline_ns, name=ask.name, sessions=own, extra=ask.extra, voice=voice
        )
    finally:
        if voice is not None:
            sessions.voices.remove(voice)
