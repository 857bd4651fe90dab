"""Owns the bytes of an HTTP response that is an event stream.

Rule: one event is one chunk, so that a comment between two of them never cuts one.
"""

from __future__ import annotations

from typing import Final

SLACK: Final = 1 << 20
"""Bytes that may wait for a client before it counts as one that does not keep up."""
KEEP_ALIVE: Final = b"3\r\n:\n\n\r\n"
END: Final = b"0\r\n\r\n"
_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n"
)


def stream_head(*, keep_alive: bool) -> bytes:
    """The head of a response that is an event stream."""
    return _HEAD + (b"\r\n" if keep_alive else b"Connection: close\r\n\r\n")


def chunk(data: bytes) -> bytes:
    """Bytes of a stream as a chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)
