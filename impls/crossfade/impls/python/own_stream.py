"""Owns the GET stream of a legacy session that is one client's alone: what the server says there belongs to no request.

Rule: it is for questions and log messages; changes of lists and resources are heard elsewhere, once for everybody. A
server without such a stream (405) has none; one that is lost is opened again behind the last event, with a pause that
grows, as long as the session is the client's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from crossfade.impls.errors import CrossfadeError
from crossfade.impls.python.event_stream import EventStream, get_of
from crossfade.impls.python.http_ear import Ear
from crossfade.impls.python.jsonrpc import Answer, NotJsonRpc, decode_answer
from crossfade.impls.python.voice import refuse

if TYPE_CHECKING:
    from crossfade.impls.python.dedicated import Dedicated
    from crossfade.impls.python.upstream_http import HttpInstance


_FIRST_S: Final = 0.1
_LAST_S: Final = 5.0


async def listen(instance: HttpInstance, guest: Dedicated, session: str, opened: asyncio.Event) -> None:
    """Hear what the server says in ``session`` as long as it is the client's; ``opened`` when it can be heard."""
    last_id: bytes | None = None
    pause_s = _FIRST_S
    while guest.get(instance) == session:
        try:
            request = get_of(instance.legacy_head(session), last_id)
            async with await EventStream.open(instance, request) as stream:
                if stream.is_stream:
                    pause_s = _FIRST_S
                    opened.set()
                    try:
                        async for event in stream:
                            if guest.get(instance) != session:
                                return
                            _hear(instance, guest, session, event.data)
                    finally:
                        last_id = stream.reader.last_id or last_id
                        pause_s = max(pause_s, (stream.reader.retry_ms or 0) / 1000)
                elif stream.head.status < 500:
                    return  # it has none, or has forgotten the session: its requests find that out
        except CrossfadeError:
            pass  # lost, or out of reach for now; requests go on without
        finally:
            opened.set()
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _LAST_S)


def _hear(instance: HttpInstance, guest: Dedicated, session: str, data: bytes) -> None:
    try:
        message: Answer = decode_answer(data)
    except NotJsonRpc:
        return
    if message.method is msgspec.UNSET:
        return
    voice = guest.voice()
    if voice is not None:
        Ear(instance, voice, session).hears(message)
    elif message.id is not msgspec.UNSET:
        refuse(message, _Unheard(instance, session))


class _Unheard:
    """An Origin whose questions nobody can hear."""

    __slots__ = ("_instance", "_session")

    def __init__(self, instance: HttpInstance, session: str) -> None:
        self._instance = instance
        self._session = session

    def reply(self, message: bytes) -> None:
        self._instance.spawn(self._instance.notify(self._session, message))

    def hold(self) -> None:
        """No request waits for it."""

    def go_on(self) -> None:
        """No request waits for it."""
