"""Owns chunked bodies, of requests and of responses: httptools knows their grammar, this knows where they end.

Rule: a body ends once. Bytes behind its end are a broken framing, and never the beginning of something else.
"""

from __future__ import annotations

from typing import Final

import httptools

_RESPONSE: Final = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
_REQUEST: Final = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"


class ResponseChunks:
    """Follows a chunked body to its end (httptools knows the grammar) and hands out what it carries."""

    __slots__ = ("_parser", "_parts", "done")

    def __init__(self) -> None:
        self.done = False
        self._parts: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)
        self._parser.feed_data(_RESPONSE)

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        self.done = True

    def feed(self, data: bytes) -> bytes:
        """The decoded part of ``data``. Raises ValueError."""
        if self.done:
            raise ValueError("bytes behind its end")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise ValueError(str(error)) from None
        decoded = b"".join(self._parts)
        self._parts.clear()
        return decoded


class RequestChunks:
    """A request body in chunks, decoded into memory up to the limit."""

    __slots__ = ("_done", "_limit", "_parser", "_parts", "_size", "too_long")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._done = False
        self.too_long = False
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(_REQUEST)

    def on_body(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= self._limit:
            self._parts.append(data)

    def on_message_complete(self) -> None:
        self._done = True

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; True when the body is complete. Raises ValueError."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise ValueError(f"the chunked body is broken ({error}); send content-length, or valid chunks") from None
        if self._size > self._limit:
            self.too_long = True
            raise ValueError(f"the body is longer than {self._limit} bytes; raise gateway.maxBodyBytes")
        return self._done

    def take(self) -> bytes:
        """The whole body."""
        return b"".join(self._parts)
