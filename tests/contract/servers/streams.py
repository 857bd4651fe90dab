"""The streams of the HTTP fixture: events being written, sessions with their calls in flight, and asking over them.

Rule: an answer is one JSON body until something has to be said before it; then it is an event stream from there on.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.contract.servers.audience import Audience
from tests.contract.servers.base import Message, Peer, notification

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler

NEWLINES = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r"}


class EventStream:
    """One event stream, written by whoever has something to say; closed streams swallow what they are told."""

    def __init__(self, handler: BaseHTTPRequestHandler, name: str, newline: bytes) -> None:
        self._handler, self._name, self._newline = handler, name, newline
        self._lock = threading.Lock()
        self._sent = 0
        self.opened = self.closed = False
        self.ended, self._end = os.pipe()

    def open(self, status: int = 200, session: str | None = None) -> None:
        """Head and priming event: 2025-11-25, "Resumability", an event without data comes first."""
        if self.opened:
            return
        self.opened = True
        self._handler.send_response(status)
        self._handler.send_header("Content-Type", "text/event-stream")
        self._handler.send_header("Transfer-Encoding", "chunked")
        if session is not None:
            self._handler.send_header("Mcp-Session-Id", session)
        self._handler.end_headers()
        self._chunk(self._event(f"id: {self._name}-0", "data: "))

    def send(self, message: Message) -> None:
        """One event, split over two chunks, as a proxy in between may do."""
        with self._lock:
            if self.closed:
                return
            self.open()
            self._sent += 1
            data = json.dumps(message)
            event = self._event(": note", f"id: {self._name}-{self._sent}", "event: message", f"data: {data}")
            cut = len(event) // 2
            for part in (event[:cut], event[cut:]):
                self._chunk(part)

    def comment(self) -> None:
        """A line that says nothing, once the stream is open: what servers do against proxies that cut silent ones."""
        with self._lock:
            if self.opened and not self.closed:
                self._chunk(self._event(": alive"))

    def start(self) -> None:
        """Opens it, unless something that was sent did."""
        with self._lock:
            self.open()

    def promise(self, retry_ms: int) -> str:
        """The id to come back with, and how long to wait before; then the stream ends."""
        event_id = f"{self._name}-promised"
        with self._lock:
            self.open()
            self._chunk(self._event(f"id: {event_id}", f"retry: {retry_ms}", "data: "))
        self.finish()
        return event_id

    def finish(self, last: Message | None = None, *, abruptly: bool = False) -> None:
        """The end of the stream, after ``last`` if there is one; ``abruptly`` without the end of the body."""
        if last is not None:
            self.send(last)
        with self._lock:
            if not self.closed and self.opened and not abruptly:
                with contextlib.suppress(OSError):
                    self._handler.wfile.write(b"0\r\n\r\n")
            self.closed = True
            with contextlib.suppress(OSError):
                os.write(self._end, b"e")

    def dispose(self) -> None:
        with self._lock:
            self.closed = True
            if self.ended >= 0:
                os.close(self.ended)
                os.close(self._end)
                self.ended = self._end = -1

    def __del__(self) -> None:
        self.dispose()

    def _event(self, *lines: str) -> bytes:
        return b"".join(line.encode() + self._newline for line in (*lines, ""))

    def _chunk(self, part: bytes) -> None:
        with contextlib.suppress(OSError):  # the client is gone: whoever waits for it notices
            self._handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self._handler.wfile.flush()


@dataclass
class Session:
    """One legacy client: its calls by id, what it was asked and has answered, and answers it may come back for.

    Ids of requests to clients start at 1 in every session, as many servers' do.
    """

    peer: Peer
    calls: dict[Any, socket.socket] = field(default_factory=dict)
    asked: int = 0
    waiting: dict[int, socket.socket] = field(default_factory=dict)
    answers: dict[int, Message] = field(default_factory=dict)
    promised: dict[str, Message] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answered(self, message: Message) -> bool:
        """Whether that was an answer to something asked here."""
        wake = self.waiting.pop(message.get("id"), None)  # type: ignore[arg-type]
        if wake is None:
            return False
        self.answers[message["id"]] = message
        wake.send(b"a")
        return True


def _nobody(_: Message) -> None:
    """The session has no stream of its own: what is said there is lost."""


@dataclass
class Asking:
    """Requests to the client of one call, on its own stream or on the session's."""

    session: Session
    stream: EventStream
    audience: Audience
    connection: socket.socket
    wake: tuple[socket.socket, socket.socket]

    def __call__(
        self, requests: list[tuple[str, Message]], *, via: str = "call", wait_s: float = 5, withdraw: bool = False
    ) -> list[Message | None]:
        own = self.audience.of_peer(self.session.peer)
        send = self.stream.send if via == "call" else own.send if own is not None else _nobody
        with self.session.lock:
            ids = [self.session.asked + number for number in range(1, len(requests) + 1)]
            self.session.asked += len(requests)
        for asked, (method, params) in zip(ids, requests, strict=True):
            self.session.waiting[asked] = self.wake[1]
            send({"jsonrpc": "2.0", "id": asked, "method": method, "params": params})
            if withdraw:
                send(notification("notifications/cancelled", {"requestId": asked, "reason": "withdrawn"}))
        while any(asked in self.session.waiting for asked in ids):
            ready, _, _ = select.select([self.connection, self.wake[0]], [], [], wait_s)
            if self.wake[0] not in ready or self.wake[0].recv(1) != b"a":
                break
        for asked in ids:
            self.session.waiting.pop(asked, None)
        return [self.session.answers.pop(asked, None) for asked in ids]
