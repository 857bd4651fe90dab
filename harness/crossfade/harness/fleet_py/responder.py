"""What a fleet server answers, without I/O.

The rule: a strict server. Whatever the specification makes a server refuse is refused, so that a gateway that rewrites
half of a request fails instead of passing a benchmark.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from crossfade.harness.fleet_py.config import Config
from crossfade.harness.fleet_py.resources import RESOURCES, resource
from crossfade.harness.mcp import LEGACY, META, MODERN

_LIST = {"resultType": "complete", "ttlMs": 60000, "cacheScope": "public"}
_INFO = {"name": "crossfade-fleet", "version": "0.1.0"}
_CAPABILITIES: dict[str, Any] = {"tools": {}, "resources": {}}
_INTEGER = {"type": "integer"}
_TEXT = {"text": {"type": "string"}}


def _tool(name: str, description: str, **more: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": {**_TEXT, **more}}
    return {"name": name, "description": description, "inputSchema": schema, "annotations": {"readOnlyHint": True}}


_TOOLS = [
    _tool("echo", "Answers its text.", n=_INTEGER),
    _tool("fail", "Answers with isError."),
    _tool("progress", "Answers its text after events notifications.", n=_INTEGER, events={"type": "integer"}),
    _tool("sleep", "Answers its text after ms milliseconds.", ms={"type": "number"}),
]


@dataclass
class Reply:
    """What to send, after ``delay_s``; no ``message``: status and headers alone."""

    status: int = 200
    message: dict[str, Any] | None = None
    session: str | None = None
    delay_s: float = 0.0
    reset: bool = False
    garbage: bool = False
    notes: tuple[dict[str, Any], ...] = ()
    """Notifications that go before the answer."""


@dataclass
class Responder:
    """One server's mind."""

    config: Config
    sessions: set[str] = field(default_factory=set)
    calls: int = 0

    def __post_init__(self) -> None:
        self._rng = random.Random(self.config.seed)  # noqa: S311 - load, not secrets

    def answer(self, body: bytes, headers: dict[str, str] | None) -> Reply:
        """Answer one message; ``headers`` (lower-case names) is None on stdio."""
        try:
            message = json.loads(body)
            params = message.get("params") or {}
            meta = params.get("_meta") or {}
        except (ValueError, AttributeError):
            return _refuse(None, 400, -32700, "not a JSON-RPC message; send one JSON object")
        method, ident = message.get("method"), message.get("id")
        version = meta.get(META + "protocolVersion", "")
        modern = bool(version) or (headers or {}).get("mcp-protocol-version") == MODERN
        if method is None or ident is None:
            refusal = None if modern or self.config.era == "modern" else self._session(None, headers)
            return refusal or Reply(202)
        refusal = None
        if modern and self.config.era != "legacy":
            refusal = _check_modern(message, meta, version, headers)
        elif method == "initialize":
            return self._initialize(ident, params, headers)
        elif self.config.era == "modern":
            refusal = _refuse(ident, 400, -32602, f"params._meta lacks {META}protocolVersion; add it")
        else:
            refusal = self._session(ident, headers)
        return refusal or self._method(method, ident, params, modern)

    def _method(self, method: str, ident: Any, params: dict[str, Any], modern: bool) -> Reply:
        if method == "tools/call":
            return self._call(ident, params)
        if method == "tools/list":
            return _result(ident, {"tools": _TOOLS, **_LIST})
        if method in RESOURCES:
            return self._resource(method, ident, params, modern)
        if method == "ping" and not modern:
            return _result(ident, {})
        if method == "server/discover" and modern:
            info = {META + "serverInfo": _INFO}
            return _result(
                ident, {"supportedVersions": [MODERN], "capabilities": _CAPABILITIES, "_meta": info, **_LIST}
            )
        return _refuse(ident, 404 if modern else 200, -32601, "Method not found")

    def _resource(self, method: str, ident: Any, params: dict[str, Any], modern: bool) -> Reply:
        if (found := resource(method, params)) is not None:
            return _result(ident, {**found, **_LIST})
        # 2026-07-28 has no code of its own for it any more.
        return _refuse(ident, 200, -32602 if modern else -32002, "Resource not found; this fleet has echo:///{text}")

    def _initialize(self, ident: Any, params: dict[str, Any], headers: dict[str, str] | None) -> Reply:
        requested = params.get("protocolVersion")
        if self.config.era == "modern":
            return _unsupported(ident, requested)
        version = requested if requested in LEGACY else LEGACY[0]
        reply = _result(ident, {"protocolVersion": version, "capabilities": _CAPABILITIES, "serverInfo": _INFO})
        if headers is not None:
            reply.session = f"{self._rng.getrandbits(64):016x}"
            self.sessions.add(reply.session)
        return reply

    def _session(self, ident: Any, headers: dict[str, str] | None) -> Reply | None:
        if headers is None:
            return None
        session = headers.get("mcp-session-id")
        if session is None:
            return _refuse(ident, 400, -32600, "Bad Request: Mcp-Session-Id is missing; initialize first")
        if session not in self.sessions:
            return _refuse(ident, 404, -32001, "Session not found; initialize again")
        return None

    def _call(self, ident: Any, params: dict[str, Any]) -> Reply:
        self.calls += 1
        name, arguments = params.get("name"), params.get("arguments") or {}
        text, delay_s = arguments.get("text"), self._delay_s()
        if name == "echo" and not isinstance(text, str):
            return _refuse(ident, 200, -32602, "echo needs arguments.text, a string; add it")
        if name == "sleep":
            delay_s += float(arguments.get("ms", 10.0)) / 1000
        elif name not in {"echo", "fail", "progress"}:
            return _refuse(ident, 200, -32602, "Unknown tool; this fleet has echo, fail, progress and sleep")
        text = text if isinstance(text, str) else ("failed as asked" if name == "fail" else "")
        reply = self._content(ident, text, is_error=name == "fail")
        notes = tuple(_progress(params)) if name == "progress" else ()
        if self._rng.random() < self.config.error_rate:
            reply = {
                "rpc": _refuse(ident, 200, -32603, "injected by error_rate"),
                "http": _refuse(ident, 503, -32603, "injected by error_rate"),
                "tool": self._content(ident, text, is_error=True),
                "reset": Reply(reset=True),
                "garbage": Reply(garbage=True),
            }[self.config.error_kind]
        elif self._rng.random() < self.config.lie_rate:
            reply = self._content(ident, "a lie", is_error=False)
        reply.delay_s = delay_s
        reply.notes = notes if reply.status == 200 else ()
        return reply

    def _delay_s(self) -> float:
        latency = self.config.latency
        if not latency or not latency["ms"]:
            return 0.0
        mean_s = float(latency["ms"]) / 1000
        return mean_s if latency["distribution"] == "constant" else self._rng.expovariate(1 / mean_s)

    def _content(self, ident: Any, text: str, *, is_error: bool) -> Reply:
        content = [{"type": "text", "text": text}]
        if len(text) < self.config.answer_bytes:
            content.append({"type": "text", "text": "." * (self.config.answer_bytes - len(text))})
        return _result(ident, {"content": content, "isError": is_error, "resultType": "complete"})


def _progress(params: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The notifications of ``progress``; none unless they were asked for with a token."""
    token, total = (params.get("_meta") or {}).get("progressToken"), (params.get("arguments") or {}).get("events", 0)
    for number in range(1, total + 1 if token is not None else 1):
        told = {"progressToken": token, "progress": number, "total": total}
        yield {"jsonrpc": "2.0", "method": "notifications/progress", "params": told}


def _result(ident: Any, result: dict[str, Any]) -> Reply:
    return Reply(message={"jsonrpc": "2.0", "id": ident, "result": result})


def _refuse(ident: Any, status: int, code: int, why: str, **data: Any) -> Reply:
    error = {"code": code, "message": why, **({"data": data} if data else {})}
    return Reply(status, {"jsonrpc": "2.0", "id": ident, "error": error})


def _unsupported(ident: Any, requested: Any) -> Reply:
    return _refuse(ident, 400, -32022, "Unsupported protocol version", supported=[MODERN], requested=requested)


def _check_modern(
    message: dict[str, Any], meta: dict[str, Any], version: str, headers: dict[str, str] | None
) -> Reply | None:
    ident = message["id"]
    if not version or META + "clientCapabilities" not in meta:
        return _refuse(ident, 400, -32602, f"params._meta lacks {META}protocolVersion or clientCapabilities; add both")
    if version != MODERN:
        return _unsupported(ident, version)
    wanted = {"mcp-protocol-version": version, "mcp-method": message["method"]}
    field = {"tools/call": "name", "resources/read": "uri"}.get(message["method"])
    if field is not None:
        wanted["mcp-name"] = message["params"].get(field)
    for name, value in wanted.items():
        if headers is not None and headers.get(name) != value:
            return _refuse(ident, 400, -32020, f"Header mismatch: {name} is missing or does not match the body")
    return None
