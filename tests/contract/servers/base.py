"""The words that all parts of the fixture server use: messages, errors, what is logged, a call and its client.

Rule: plain standard library, no transport and no tool in here.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MODERN = "2026-07-28"
LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
META = "io.modelcontextprotocol/"
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

Message = dict[str, Any]


class RpcError(Exception):
    """Becomes the JSON-RPC error of the answer."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


@dataclass(frozen=True)
class Literal:
    """Bytes to write instead of an answer; ``then_close`` cuts the connection behind them."""

    body: bytes
    then_close: bool = False


@dataclass(frozen=True)
class Dropped:
    """An answer that a legacy HTTP server gives only to who comes back for it with ``Last-Event-ID``."""

    result: Message
    retry_ms: int


Outcome = Message | Literal | Dropped | None


class Log:
    """The latest messages received, for tests to ask about; :meth:`wait` blocks until one of a method arrives.

    A server shared by a whole test run answers thousands of calls: what it tells stays below ``KEPT_BYTES``, or the
    answer to ``seen`` would outgrow what a client takes.
    """

    KEPT_BYTES = 1 << 20

    def __init__(self) -> None:
        self._entries: deque[tuple[Message, int]] = deque()
        self._bytes = 0
        self._changed = threading.Condition()

    def add(self, method: str, **more: Any) -> None:
        entry = {"method": method, **more}
        size = len(repr(entry))
        with self._changed:
            self._entries.append((entry, size))
            self._bytes += size
            while self._bytes > self.KEPT_BYTES and len(self._entries) > 1:
                self._bytes -= self._entries.popleft()[1]
            self._changed.notify_all()

    def wait(self, method: str | None, timeout_s: float, mark: str | None = None) -> list[Message]:
        def matching() -> list[Message]:
            wanted = [entry for entry, _ in self._entries if method in (None, entry["method"])]
            return [entry for entry in wanted if mark in (None, entry.get("mark"))]

        with self._changed:
            self._changed.wait_for(lambda: bool(matching()), timeout_s)
            return matching()


@dataclass
class Peer:
    """Who called: a session of the legacy era, or what one modern request says of itself."""

    id: str = ""
    capabilities: Message = field(default_factory=dict)
    info: Message = field(default_factory=dict)
    level: str | None = None
    uris: set[str] = field(default_factory=set)

    @classmethod
    def of_request(cls, meta: Message) -> Peer:
        """The modern caller, from the ``_meta`` of its request."""
        told = {key.removeprefix(META): value for key, value in meta.items() if key.startswith(META)}
        return cls("", told.get("clientCapabilities", {}), told.get("clientInfo", {}), told.get("logLevel"))

    def introduce(self, params: Message) -> None:
        """The legacy caller, from the params of its ``initialize``."""
        self.capabilities, self.info = params.get("capabilities", {}), params.get("clientInfo", {})


@dataclass
class Call:
    """One request being handled.

    ``wait`` blocks for cancellation, ``emit`` sends a message ahead of the answer at once, ``ask`` sends requests to
    the client and gives their answers in order (``None`` for one that did not come in time). ``comment`` writes a
    comment on the event stream of its answer, where there is one.
    """

    id: Any
    params: Message
    wait: Callable[[float], bool]
    emit: Callable[[Message], None]
    ask: Callable[..., list[Message | None]]
    headers: dict[str, str] = field(default_factory=dict)
    peer: Peer = field(default_factory=Peer)
    modern: bool = False
    comment: Callable[[], None] = lambda: None

    @property
    def meta(self) -> Message:
        meta: Message = self.params.get("_meta") or {}
        return meta

    def notify(self, method: str, params: Message) -> None:
        self.emit(notification(method, params))


def text(value: str, **more: Any) -> Message:
    return {"content": [{"type": "text", "text": value}], **more}


def notification(method: str, params: Message | None = None) -> Message:
    message = {"jsonrpc": "2.0", "method": method}
    return message if params is None else {**message, "params": params}


def answer(call_id: Any, result: Message) -> Message:
    return {"jsonrpc": "2.0", "id": call_id, "result": result}


def failure(call_id: Any, error: RpcError) -> Message:
    body: Message = {"code": error.code, "message": error.message}
    return {"jsonrpc": "2.0", "id": call_id, "error": body if error.data is None else {**body, "data": error.data}}
