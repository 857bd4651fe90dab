"""Owns the reading on of a legacy server's answer whose stream broke, or was ended, before the response was there.

The server said where we are by an event id; a GET with ``Last-Event-ID`` brings what followed (2025-11-25
basic/transports, "Resumability and Redelivery"). Rules: the pause the server asked for (``retry:``) is kept; a server
that does not resume is believed at once; it ends with the deadline of the call, whatever happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from crossfade.impls.errors import CrossfadeError, ProtocolViolation, ServerCrashed, ServerError, ServerTimeout
from crossfade.impls.python.event_stream import EventStream, get_of

if TYPE_CHECKING:
    from crossfade.impls.python.sse import EventReader
    from crossfade.impls.python.upstream_http import HttpInstance

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 5.0


def resumable(instance: HttpInstance, reader: EventReader | None, error: CrossfadeError | None = None) -> bool:
    """Whether a stream that is over (by ``error``, or at its end) may be read on: it gave an id, and nobody stops."""
    if reader is None or reader.last_id is None or instance.retired or instance.server.draining:
        return False
    modern = instance.peer is not None and instance.peer.era == "modern"  # it has no such thing
    return not modern and (error is None or isinstance(error, ServerCrashed))


async def resume(
    instance: HttpInstance, head: bytes, reader: EventReader, deadline_ns: int, take: Callable[[bytes], bool]
) -> None:
    """Hand what follows to ``take`` until it says that there is nothing more to wait for.

    ``head`` is that of the request whose answer broke. Raises ServerError, ServerTimeout.
    """
    name = instance.spec.name
    try:
        async with asyncio.timeout(max(deadline_ns - monotonic_ns(), 0) / 1e9):
            await _read_on(instance, head, reader, take)
    except TimeoutError:
        raise ServerTimeout(
            f"server {name!r} ({instance.url}) broke its event stream and did not send the rest in time; "
            "raise the timeout, or look at the server",
            server=name,
        ) from None


async def _read_on(instance: HttpInstance, head: bytes, reader: EventReader, take: Callable[[bytes], bool]) -> None:
    last_id, retry_ms = reader.last_id or b"", reader.retry_ms
    pause_s = 0.0
    while True:
        await asyncio.sleep(max(pause_s, (retry_ms or 0) / 1000))
        before = last_id
        try:
            async with await EventStream.open(instance, get_of(head, last_id)) as stream:
                reader = stream.reader
                _check(instance, stream)
                async for event in stream:
                    if take(event.data):
                        return
        except ProtocolViolation:
            raise
        except ServerError:  # broken again, or not reachable yet: the deadline ends it
            pass
        last_id = reader.last_id or last_id
        retry_ms = retry_ms if reader.retry_ms is None else reader.retry_ms
        pause_s = 0.0 if last_id != before else min(max(pause_s * 2, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)


def _check(instance: HttpInstance, stream: EventStream) -> None:
    """Raises ServerError if the answer to the GET is no stream: for now, or for good."""
    if not stream.is_stream:
        status = stream.head.status
        raise (ServerCrashed if status >= 500 else ProtocolViolation)(
            f"server {instance.spec.name!r} ({instance.url}) ended its event stream without a response, and answered "
            f"HTTP {status} to Last-Event-ID; look at the server",
            server=instance.spec.name,
        )
