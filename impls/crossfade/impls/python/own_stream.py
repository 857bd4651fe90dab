"""Owns the GET stream of a legacy session that is one client's alone: what the server says there belongs to no request.

Rule: it is for questions and log messages; changes of lists and resources are heard elsewhere, once for everybody. A
server without such a stream (405) has none, and one that is lost is not missed before the session is opened anew.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from crossfade.impls.errors import CrossfadeError
from crossfade.impls.python.event_stream import EventStream, get_of
from crossfade.impls.python.http_ear import Ear
from crossfade.impls.python.jsonrpc import Answer, NotJsonRpc, decode_answer
from crossfade.impls.python.voice import refuse

if TYPE_CHECKING:
    from crossfade.impls.python.dedicated import Dedicated
    from crossfade.impls.python.upstream_http import HttpInstance


async def listen(instance: HttpInstance, guest: Dedicated, session: str, opened: asyncio.Event) -> None:
    """Hear what the server says in ``session`` as long as it is the client's; ``opened`` when it can be heard."""
    try:
        async with await EventStream.open(instance, get_of(instance.legacy_head(session))) as stream:
            if not stream.is_stream:
                return
            opened.set()
            async for event in stream:
                if guest.get(instance) != session:
                    return
                _hear(instance, guest, session, event.data)
    except CrossfadeError:
        return  # its requests go on without
    finally:
        opened.set()


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
