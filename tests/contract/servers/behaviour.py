"""What the fixture server does, whatever carries it: its tools, lists and era rules, in plain standard library.

Rule: it is strict about what it receives (era, order of the handshake, required ``_meta``) and free in what it does
wrong on demand: each misbehaviour is a tool, so that one server serves every hazard.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MODERN = "2026-07-28"
LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
META = "io.modelcontextprotocol/"

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

    def wait(self, method: str | None, timeout_s: float) -> list[Message]:
        def matching() -> list[Message]:
            return [entry for entry, _ in self._entries if method in (None, entry["method"])]

        with self._changed:
            self._changed.wait_for(lambda: bool(matching()), timeout_s)
            return matching()


@dataclass
class Call:
    """One request being handled: ``wait`` blocks for cancellation, ``emit`` sends a message ahead of the answer."""

    id: Any
    params: Message
    wait: Callable[[float], bool]
    emit: Callable[[Message], None]
    ask: Callable[[str, Message], Message]
    headers: dict[str, str] = field(default_factory=dict)


class Behaviour:
    """The server itself. ``handle`` answers one request with a result, raises :class:`RpcError`, or misbehaves."""

    def __init__(
        self, *, era: str, name: str = "fixture", log: Log | None = None, fail: int = 0, delay_ms: int = 0
    ) -> None:
        self.era, self.name, self.log = era, name, log or Log()
        self.fail, self.delay_ms = fail, delay_ms
        self.forget_sessions: Callable[[], None] = lambda: None
        self.hints: Message = {"ttlMs": 0, "cacheScope": "private"}
        self.reads = 0

    def is_modern(self, message: Message) -> bool:
        """Whether the message claims the modern era; raises if this server does not serve its era."""
        meta = (message.get("params") or {}).get("_meta") or {}
        claims = META + "protocolVersion" in meta
        if claims and self.era == "legacy":
            raise RpcError(-32601, f"Method not found: {message['method']}")
        if not claims and self.era == "modern":
            raise RpcError(-32602, f"_meta lacks {META}protocolVersion")
        if claims:
            if meta[META + "protocolVersion"] != MODERN:
                data = {"supported": [MODERN], "requested": meta[META + "protocolVersion"]}
                raise RpcError(-32022, "Unsupported protocol version", data)
            if not isinstance(meta.get(META + "clientCapabilities"), dict):
                raise RpcError(-32602, f"_meta lacks {META}clientCapabilities")
        return claims

    def handle(self, method: str, call: Call, *, modern: bool) -> Message | Literal | None:
        """The ``result``, a :class:`Literal` to send instead, or None for no answer at all."""
        if method == "server/discover" and modern:
            info = {META + "serverInfo": self._info()}
            return self._dress(
                {"supportedVersions": [MODERN], "capabilities": CAPABILITIES, "_meta": info}, listed=True
            )
        if method == "initialize" and not modern:
            asked = call.params.get("protocolVersion")
            version = asked if asked in LEGACY else LEGACY[-1]
            return {"protocolVersion": version, "capabilities": CAPABILITIES, "serverInfo": self._info()}
        if method == "ping" and not modern:
            return {}
        if (self.fail or self.delay_ms) and self._spoiled(call):
            return None
        if method == "tools/call":
            if os.environ.get("FIXTURE_FAULT") == "internal":
                raise RpcError(-32603, "told to fail by FIXTURE_FAULT")
            tool = TOOLS.get(call.params.get("name", ""))
            if tool is None:
                raise RpcError(-32602, f"Unknown tool: {call.params.get('name')}")
            result = tool(self, call.params.get("arguments") or {}, call)
            return self._dress(result) if modern and isinstance(result, dict) else result
        answer = LISTS.get(method)
        if answer is None:
            raise RpcError(-32601, f"Method not found: {method}")
        kept = method == "resources/read" and str(call.params.get("uri")).startswith("fixture://kept/")
        result = self._kept(call, modern=modern) if kept else answer(call.params)
        listed = method.endswith("list") or (method == "resources/read" and not kept)
        return result if not modern or result is None else self._dress(result, listed=listed)

    def _spoiled(self, call: Call) -> bool:
        """Whether this request gets no answer: the first ``fail`` do not, and the others after ``delay_ms``."""
        if self.fail:
            self.fail -= 1
            self.log.add("failed", id=call.id)
            return True
        if call.wait(self.delay_ms / 1000):
            self.log.add("stopped", id=call.id)
            return True
        return False

    def _info(self) -> Message:
        return {"name": self.name, "version": "1.2.3"}

    def _kept(self, call: Call, *, modern: bool) -> Message | None:
        """``fixture://kept/TTL/SCOPE/MS[/...]``: fresh for TTL ms in SCOPE, after MS ms; each answer is another one.

        SCOPE ``round`` is the first of several rounds, and ``error`` fails.
        """
        uri = call.params["uri"]
        ttl, scope, wait_ms = uri.removeprefix("fixture://kept/").split("/")[:3]
        self.reads += 1
        number = self.reads
        if wait_ms != "0" and call.wait(int(wait_ms) / 1000):
            self.log.add("stopped", id=call.id)
            return None
        if scope == "error":
            raise RpcError(-32050, f"error {number}")
        hints = {"ttlMs": int(ttl), "cacheScope": scope} if modern else {}
        if scope == "round":
            return {"resultType": "input_required", "inputRequests": {}, "requestState": f"state {number}", **hints}
        contents = [{"uri": uri, "text": f"answer {number}", "x-kept": 12345678901234567890123}]
        return {**({"resultType": "complete"} if modern else {}), **hints, "contents": contents}

    def _dress(self, result: Message, *, listed: bool = False) -> Message:
        return {"resultType": "complete", **result, **(self.hints if listed else {})}


CAPABILITIES: Message = {
    "tools": {"listChanged": True},
    "resources": {},
    "prompts": {},
    "completions": {},
    "experimental": {"x-fixture": {"kept": True}},
}

ODD = {
    "content": [
        {"type": "text", "text": "odd", "x-block": [1, {"deep": None}]},
        {"type": "x-unknown", "payload": "😀"},
    ],
    "x-top": {"$defs": {"a": {"$anchor": "here"}}, "integer": 12345678901234567890123, "float": 1.5e300, "empty": {}},
    "_meta": {"x-vendor/key": ["untouched"]},
}


def text(value: str, **more: Any) -> Message:
    return {"content": [{"type": "text", "text": value}], **more}


def _echo(_: Behaviour, arguments: Message, __: Call) -> Message:
    return text(str(arguments.get("text", "")), structuredContent=arguments)


def _sleep(server: Behaviour, arguments: Message, call: Call) -> Message | None:
    server.log.add("sleeping", id=call.id)
    if call.wait(arguments.get("ms", 0) / 1000):
        server.log.add("stopped", id=call.id)
        return None
    return text("slept")


def _refuse(_: Behaviour, arguments: Message, __: Call) -> Message:
    raise RpcError(arguments.get("code", -32050), arguments.get("message", "refused"), arguments.get("data"))


def _crash(_: Behaviour, __: Message, ___: Call) -> Message:
    os._exit(9)


def _huge(_: Behaviour, arguments: Message, call: Call) -> Literal:
    head = (
        json.dumps({"jsonrpc": "2.0", "id": call.id})[:-1].encode()
        + b', "result": {"content": [{"type": "text", "text": "'
    )
    return Literal(head + b"x" * int(arguments["bytes"]) + b'"}]}}')


def _flood(_: Behaviour, arguments: Message, __: Call) -> Message:
    sys.stderr.write("stderr noise\n" * (int(arguments["bytes"]) // 13))
    sys.stderr.flush()
    return text("flooded")


def _spawn(_: Behaviour, __: Message, ___: Call) -> Message:
    return text(str(subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).pid))


def _seen(server: Behaviour, arguments: Message, _: Call) -> Message:
    return text(json.dumps(server.log.wait(arguments.get("method"), arguments.get("wait_ms", 0) / 1000)))


def _progress(_: Behaviour, __: Message, call: Call) -> Message:
    token = (call.params.get("_meta") or {}).get("progressToken")
    for step in (1, 2):
        params = {"progressToken": token, "progress": step, "total": 2}
        call.emit({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
    return text("progressed")


def _ask(_: Behaviour, arguments: Message, call: Call) -> Message:
    return text(
        json.dumps(call.ask(arguments.get("method", "sampling/createMessage"), {"messages": [], "maxTokens": 1}))
    )


def _forget(server: Behaviour, _: Message, __: Call) -> Message:
    server.forget_sessions()
    return text("forgotten")


def _hint(server: Behaviour, arguments: Message, _: Call) -> Message:
    server.hints = arguments
    return text("hinted")


def _tell(_: Behaviour, arguments: Message, call: Call) -> Message:
    call.emit({"jsonrpc": "2.0", "method": f"notifications/{arguments['what']}", "params": arguments.get("params", {})})
    return text("told")


def _half(_: Behaviour, arguments: Message, __: Call) -> Literal:
    """The beginning of an answer; many ``bytes`` of it are passed on before anybody knows that the rest is missing."""
    filler = b"." * arguments.get("bytes", 0)
    return Literal(b'{"jsonrpc": "2.0", "id": 1, "result": {"half": "' + filler, then_close=True)


def _flaky(_: Behaviour, arguments: Message, call: Call) -> Message | None:
    """No answer the first ``times``, counted in a file because a child that ends forgets; then one."""
    path = Path(arguments["file"])
    made = int(path.read_text()) if path.exists() else 0
    path.write_text(str(made + 1))
    if made >= arguments.get("times", 1):
        return text(f"answered at attempt {made + 1}")
    if not call.headers:
        os._exit(9)
    return None


def _pid(_: Behaviour, __: Message, call: Call) -> Message:
    env = {"env": os.environ.get("FIXTURE_ENV"), "storage": os.environ.get("CROSSFADE_STORAGE")}
    return text(json.dumps({"pid": os.getpid(), "cwd": str(os.getcwd()), **env}))  # noqa: PTH109


TOOLS: dict[str, Callable[[Behaviour, Message, Call], Message | Literal | None]] = {
    "echo": _echo,
    "sleep": _sleep,
    "never": lambda server, _, call: _sleep(server, {"ms": 600_000}, call),
    "fail": lambda *_: text("the tool failed", isError=True),
    "refuse": _refuse,
    "crash": _crash,
    "garbage": lambda *_: Literal(b"this is not JSON"),
    "wrong": lambda *_: Literal(b"[1, 2, 3]"),
    "huge": _huge,
    "half": _half,
    "hint": _hint,
    "tell": _tell,
    "odd": lambda *_: ODD,
    "flood": _flood,
    "seen": _seen,
    "spawn": _spawn,
    "progress": _progress,
    "ask": _ask,
    "forget": _forget,
    "headers": lambda _, __, call: text(json.dumps(call.headers)),
    "process": _pid,
    "flaky": _flaky,
    "look": _echo,
    "again": _echo,
}
HINTS: dict[str, Message] = {"look": {"readOnlyHint": True}, "again": {"idempotentHint": True}, "echo": {"title": "e"}}


def _page(key: str, items: list[Message], params: Message) -> Message:
    """Two pages, so that a client that stops at the first is caught."""
    half = (len(items) + 1) // 2
    if params.get("cursor") is None and len(items) > 1:
        return {key: items[:half], "nextCursor": "second"}
    if params.get("cursor") not in (None, "second"):
        raise RpcError(-32602, f"Invalid cursor: {params['cursor']}")
    return {key: items[half:] if len(items) > 1 else items}


def _tools(params: Message) -> Message:
    schema = {"type": "object", "$defs": {"kept": {"$anchor": "kept"}}, "x-unknown": True}
    return _page("tools", [_tool(name, schema) for name in TOOLS], params)


def _tool(name: str, schema: Message) -> Message:
    hints = {"annotations": HINTS[name]} if name in HINTS else {}
    return {"name": name, "inputSchema": schema, "x-tool": name, **hints}


def _read(params: Message) -> Message:
    uri = params.get("uri", "")
    if uri == "fixture://greeting" or uri.startswith("fixture://item/"):
        return {
            "contents": [
                {"uri": uri, "mimeType": "text/plain", "text": f"{os.environ.get('FIXTURE_TEXT', 'content')} of {uri}"}
            ]
        }
    raise RpcError(-32602, f"Resource not found: {uri}", {"uri": uri})


def _prompt(params: Message) -> Message:
    if params.get("name") != "greet":
        raise RpcError(-32602, f"Unknown prompt: {params.get('name')}")
    who = (params.get("arguments") or {}).get("who", "nobody")
    ttl = (params.get("arguments") or {}).get("ttl")
    hints = {} if ttl is None else {"ttlMs": int(ttl)}
    return {"messages": [{"role": "user", "content": {"type": "text", "text": f"Hello, {who}"}}], **hints}


def _complete(params: Message) -> Message:
    ref, argument = params["ref"], params["argument"]
    values = [f"{ref.get('name') or ref.get('uri')}:{argument['name']}:{argument['value']}"]
    return {"completion": {"values": values, "total": 1, "hasMore": False}}


LISTS: dict[str, Callable[[Message], Message]] = {
    "tools/list": _tools,
    "resources/list": lambda p: _page("resources", [{"uri": "fixture://greeting", "name": "greeting", "x-r": 1}], p),
    "resources/templates/list": lambda p: _page(
        "resourceTemplates", [{"uriTemplate": "fixture://item/{id}", "name": "item"}], p
    ),
    "resources/read": _read,
    "prompts/list": lambda p: _page("prompts", [{"name": "greet", "arguments": [{"name": "who"}], "x-p": 1}], p),
    "prompts/get": _prompt,
    "completion/complete": _complete,
}


def answer(call_id: Any, result: Message) -> Message:
    return {"jsonrpc": "2.0", "id": call_id, "result": result}


def failure(call_id: Any, error: RpcError) -> Message:
    body: Message = {"code": error.code, "message": error.message}
    return {"jsonrpc": "2.0", "id": call_id, "error": body if error.data is None else {**body, "data": error.data}}
