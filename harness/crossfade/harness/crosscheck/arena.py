"""A manager that holds exactly 10 KiB for every open connection: ``python -m crossfade.harness.crosscheck.arena PORT``.

It answers the fleet's ``echo`` itself and exists to be measured. The rule: nothing but the arena grows with a
connection. It is one private mapping without huge pages, of which n connections have touched the first 10 n KiB, so
that packing leaves nothing over (10 KiB are two and a half pages: exact for an even n); the last half of a page is
given back when they leave. Of a connection itself this process keeps a descriptor, which is the kernel's: no socket
object, no buffer, no entry in a table. Everything is read into one buffer, and one connection is served at a time.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import re
import select
import socket
import sys
from typing import Any

CONNECTION = 10 * 1024
MOST = 16_384
PAGE = mmap.PAGESIZE
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_TOOL = {"name": "echo", "description": "Answers its text.", "inputSchema": {"type": "object"}}
_FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


class Arena:
    """Memory of the connections: the first ``held`` of them have theirs."""

    def __init__(self) -> None:
        self.held = 0
        self._pages = 0
        self._memory = mmap.mmap(-1, MOST * CONNECTION, flags=_FLAGS)
        # A huge page would be two hundred connections at once.
        self._memory.madvise(mmap.MADV_NOHUGEPAGE)

    def change(self, by: int) -> None:
        """One connection more or less. Raises ValueError for more than there is room for."""
        self.held += by
        if not 0 <= self.held <= MOST:
            raise ValueError(f"{self.held} connections; this manager has room for {MOST}")
        wanted = math.ceil(self.held * CONNECTION / PAGE)
        for page in range(self._pages, wanted):
            self._memory[page * PAGE] = 1
        if wanted < self._pages:
            self._memory.madvise(mmap.MADV_DONTNEED, wanted * PAGE, (self._pages - wanted) * PAGE)
        self._pages = wanted


def answer(message: dict[str, Any]) -> dict[str, Any]:
    """The JSON-RPC answer to a request."""
    method, params = message.get("method"), message.get("params", {})
    if method == "tools/list":
        result: dict[str, Any] = {"tools": [_TOOL], "ttlMs": 0, "cacheScope": "private"}
    elif method == "tools/call":
        text = params.get("arguments", {}).get("text", "")
        result = {"content": [{"type": "text", "text": text}], "isError": False}
    else:
        error = {"code": -32601, "message": f"{method} is not served here; only echo is"}
        return {"jsonrpc": "2.0", "id": message.get("id"), "error": error}
    return {"jsonrpc": "2.0", "id": message.get("id"), "result": {"resultType": "complete", **result}}


class Server:
    """The loop. ``scratch`` is the only buffer."""

    def __init__(self, port: int) -> None:
        self.arena = Arena()
        self.scratch = bytearray(64 * 1024)
        # Kept: when the object goes, its descriptor is closed.
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self._listener.setblocking(False)
        self.listening = self._listener.fileno()
        self.epoll = select.epoll()
        self.epoll.register(self.listening, select.EPOLLIN)

    def serve(self) -> None:
        """For ever."""
        while True:
            # One at a time: a list of many would be memory that a busy moment leaves behind.
            for descriptor, _ in self.epoll.poll(-1, 1):
                if descriptor == self.listening:
                    self.accept()
                elif not self.exchange(descriptor):
                    os.close(descriptor)
                    self.arena.change(-1)

    def accept(self) -> None:
        """Take what waits. Detached at once: the object goes, its descriptor stays."""
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return
        connection.setblocking(True)
        self.epoll.register(connection.detach(), select.EPOLLIN)
        self.arena.change(1)

    def exchange(self, descriptor: int) -> bool:
        """Read one request whole and answer it; false if the other side has gone."""
        seen = 0
        while True:
            try:
                count = os.readv(descriptor, [memoryview(self.scratch)[seen:]])
            except OSError:
                return False
            if count == 0:
                return False
            seen += count
            head, found, body = bytes(self.scratch[:seen]).partition(b"\r\n\r\n")
            length = _LENGTH.search(head)
            if found and len(body) >= (int(length[1]) if length else 0):
                break
        payload = json.dumps(answer(json.loads(body or b"{}")), separators=(",", ":")).encode()
        os.write(descriptor, _HEAD % len(payload) + payload)
        return True


if __name__ == "__main__":
    Server(int(sys.argv[1])).serve()
