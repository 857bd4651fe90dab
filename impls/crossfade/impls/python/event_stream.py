"""Owns a long-lived event stream from an upstream, on a connection of its own beside the pool.

Such a stream (a GET, ``subscriptions/listen``, HTTP+SSE) stays open for hours, and would hold a place in the pool that
calls wait for. Rule: bounded, nothing is read ahead of whoever iterates; whatever breaks it ends it with a
:class:`ServerError`, and its socket is closed when its ``async with`` is left, however.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from crossfade.impls.errors import ProtocolViolation, ServerCrashed, ServerStartError
from crossfade.impls.python.http_chunks import ResponseChunks
from crossfade.impls.python.http_head import MAX_HEAD, BadHead, ResponseHead
from crossfade.impls.python.sse import EventReader, EventTooLong, ServerEvent

if TYPE_CHECKING:
    from crossfade.impls.python.upstream_http import HttpInstance

_PIECE: Final = 64 * 1024
_ERROR_PAGE: Final = 64 * 1024


class EventStream:
    """One stream; ``head`` is the answer's, ``reader`` knows the last event id."""

    __slots__ = ("_chunks", "_first", "_instance", "_left", "_reader", "_writer", "head", "reader")

    def __init__(self, instance: HttpInstance, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._instance = instance
        self._reader = reader
        self._writer = writer
        self._chunks: ResponseChunks | None = None
        self._left = 0
        self._first = b""
        self.head: ResponseHead
        self.reader = EventReader(instance.spec.max_message_bytes)

    @classmethod
    async def open(cls, instance: HttpInstance, request: bytes, *, within_s: float | None = None) -> Self:
        """Connect, send ``request`` and read the head of its answer. Raises ServerError.

        Without ``within_s`` it waits as long as it takes: some servers send the head with the first event only.
        """
        try:
            async with asyncio.timeout(within_s):
                stream = cls(instance, *await asyncio.open_connection(*instance.address, limit=MAX_HEAD))
                try:
                    stream._writer.write(request)
                    await stream._read_head()
                except BaseException:
                    stream._writer.transport.abort()
                    raise
        except (OSError, TimeoutError) as error:
            why = getattr(error, "strerror", None) or str(error) or "timed out"
            raise ServerStartError(
                f"server {instance.spec.name!r} gave no event stream at {instance.url} ({why}); "
                "start it, or fix its url",
                server=instance.spec.name,
            ) from None
        return stream

    async def _read_head(self) -> None:
        try:
            raw = await self._reader.readuntil(b"\r\n\r\n")
            head = self._instance.heads.read(raw)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, BadHead) as error:
            raise self._broken(f"sent what is not an HTTP response ({error})") from None
        if head.status < 200:
            await self._read_head()
            return
        self.head = head
        self._left = head.length
        if head.length == -1:
            self._chunks = ResponseChunks()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it now; to the server that is the end of our interest."""
        self._writer.transport.abort()

    @property
    def is_stream(self) -> bool:
        """Whether the server gave a stream at all, and no refusal."""
        return self.head.status == 200 and self.head.is_sse

    async def body(self) -> bytes:
        """The whole answer, if it is none that streams; its beginning if it is long."""
        parts: list[bytes] = []
        size = 0
        while size < _ERROR_PAGE and (part := await self._piece()):
            parts.append(part)
            size += len(part)
        return b"".join(parts)

    async def __aiter__(self) -> AsyncIterator[ServerEvent]:
        """The events until the server ends the stream. Raises ServerError if it breaks."""
        while data := await self._piece():
            try:
                events = self.reader.feed(data)
            except EventTooLong as error:
                raise self._broken(f"sent too much ({error}; raise maxMessageBytes)") from None
            for event in events:
                yield event

    async def _piece(self) -> bytes:
        """More of the decoded body; empty at its end."""
        while self._left and not (self._chunks is not None and self._chunks.done):
            try:
                data = await self._reader.read(_PIECE)
            except OSError as error:
                raise self._lost(f" ({error})") from None
            if not data:
                if self._left == -2:
                    return b""
                raise self._lost("")
            if self._chunks is not None:
                try:
                    data = self._chunks.feed(data)
                except ValueError as error:
                    raise self._broken(f"sent a broken chunked body ({error})") from None
            elif self._left > 0:
                data = data[: self._left]
                self._left -= len(data)
            if data:
                return data
        return b""

    def _lost(self, why: str) -> ServerCrashed:
        name = self._instance.spec.name
        return ServerCrashed(
            f"server {name!r} ({self._instance.url}) broke its event stream{why}; it is opened again", server=name
        )

    def _broken(self, what: str) -> ProtocolViolation:
        name = self._instance.spec.name
        return ProtocolViolation(
            f"server {name!r} ({self._instance.url}) {what}; look at the server, or at what is between", server=name
        )


def get_of(head: bytes, last_id: bytes | None = None) -> bytes:
    """The GET that belongs to the head of a POST, which ends with ``Content-Length: ``; behind ``last_id`` if given."""
    head = head.removesuffix(b"Content-Length: ").replace(b"POST ", b"GET ", 1)
    head = head.replace(b"Content-Type: application/json\r\n", b"", 1)
    head = head.replace(b"Accept: application/json, text/event-stream", b"Accept: text/event-stream", 1)
    return head + (b"" if last_id is None else b"Last-Event-ID: " + last_id + b"\r\n") + b"\r\n"
