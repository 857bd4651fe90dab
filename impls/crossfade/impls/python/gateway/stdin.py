"""Owns how stdin is read without stopping the loop, whatever it is.

Rule: a loop polls pipes and sockets. A file, a terminal or /dev/null is read by a thread: epoll refuses some of these,
and uvloop aborts the process then. The thread takes the next piece only when the one before is wanted.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
import threading
from typing import BinaryIO, Final

_PIECE: Final = 1 << 16


async def connect(stdin: BinaryIO, limit: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    """A reader whose lines may be ``limit`` bytes long, and what is to be closed when nobody reads any more."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit)
    mode = os.fstat(stdin.fileno()).st_mode
    if not stat.S_ISFIFO(mode) and not stat.S_ISSOCK(mode):
        return reader, _Threaded(loop, stdin.fileno(), reader)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), stdin)
    return reader, transport


async def skip_line(reader: asyncio.StreamReader, error: asyncio.LimitOverrunError) -> None:
    """Drop a line over the limit up to its end, as it comes."""
    consumed = error.consumed
    while True:
        await reader.readexactly(consumed)
        try:
            await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as more:
            consumed = more.consumed
        except asyncio.IncompleteReadError:
            return
        else:
            return


class _Threaded(asyncio.ReadTransport):
    """Feeds a reader from a descriptor that cannot be polled."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int, reader: asyncio.StreamReader) -> None:
        super().__init__()
        self._loop = loop
        self._fd = fd
        self._reader = reader
        self._paused = False
        self._closed = False
        self._wanted = threading.Event()
        reader.set_transport(self)
        # A daemon, and no lock of sys.stdin's: a terminal may stay silent forever, and we end all the same.
        threading.Thread(target=self._run, name="crossfade-stdin", daemon=True).start()

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._wanted.set()

    def is_reading(self) -> bool:
        return not self._paused and not self._closed

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True
        self._wanted.set()

    def _run(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
            while not self._closed:
                try:
                    piece = os.read(self._fd, _PIECE)
                except OSError as error:
                    if error.errno != errno.EIO:  # that is a terminal which was hung up
                        self._loop.call_soon_threadsafe(self._reader.set_exception, error)
                        return
                    piece = b""
                self._wanted.clear()
                self._loop.call_soon_threadsafe(self._feed, piece)
                if not piece:
                    return
                self._wanted.wait()

    def _feed(self, piece: bytes) -> None:
        if not piece:
            self._reader.feed_eof()
            return
        self._reader.feed_data(piece)
        if not self._paused:
            self._wanted.set()
