"""The fleet in Python, for machines without the native wheel: same configuration, same answers, more CPU.

``Responder`` decides what to answer, without I/O, by the rules of the native fleet (``impls/rust/load/src/fleet``); two
thin carriers stand around it. The rule: a strict server. Whatever the specification makes a server refuse is refused,
so that a gateway that rewrites half of a request fails instead of passing a benchmark.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import resource
import sys
import threading
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import httptools

from crossfade.harness.fleet import emit

MODERN = "2026-07-28"
LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
_META = "io.modelcontextprotocol/"
_LIST = {"resultType": "complete", "ttlMs": 60000, "cacheScope": "public"}
_INFO = {"name": "crossfade-fleet", "version": "0.1.0"}
_TEXT = {"text": {"type": "string"}}


def _tool(name: str, description: str, **more: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": {**_TEXT, **more}}
    return {"name": name, "description": description, "inputSchema": schema, "annotations": {"readOnlyHint": True}}


_TOOLS = [
    _tool("echo", "Answers its text.", n={"type": "integer"}),
    _tool("fail", "Answers with isError."),
    _tool("sleep", "Answers its text after ms milliseconds.", ms={"type": "number"}),
]


@dataclass(frozen=True)
class Config:
    """The configuration of ``crossfade.harness.fleet``."""

    host: str = "127.0.0.1"
    port: int = 0
    ports: int = 1
    servers: int = 1
    era: Literal["legacy", "modern", "both"] = "both"
    latency: dict[str, Any] | None = None
    error_rate: float = 0.0
    error_kind: Literal["rpc", "tool", "http", "reset"] = "rpc"
    answer_bytes: int = 0
    framing: Literal["length", "chunked", "sse"] = "length"
    lie_rate: float = 0.0
    seed: int = 1
    cpu: int | None = None
    generator: str | None = None

    @classmethod
    def parse(cls, raw: dict[str, Any]) -> Config:
        """Raises ValueError that names the key."""
        unknown = sorted(raw.keys() - cls.__dataclass_fields__.keys())
        if unknown:
            raise ValueError(f"fleet configuration: unknown key {unknown[0]!r}; see crossfade.harness.fleet")
        config = cls(**raw)
        choices = {"era": ("legacy", "modern", "both"), "error_kind": ("rpc", "tool", "http", "reset")}
        for key, allowed in {**choices, "framing": ("length", "chunked", "sse")}.items():
            if getattr(config, key) not in allowed:
                raise ValueError(f"fleet configuration: {key} is {getattr(config, key)!r}; use one of {allowed}")
        if config.latency is not None and config.latency.get("distribution") not in {"constant", "exponential"}:
            raise ValueError('fleet configuration: latency.distribution must be "constant" or "exponential"')
        return config


@dataclass
class Reply:
    """What to send, after ``delay_s``; no ``message``: status and headers alone."""

    status: int = 200
    message: dict[str, Any] | None = None
    session: str | None = None
    delay_s: float = 0.0
    reset: bool = False


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
        version = meta.get(_META + "protocolVersion", "")
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
            refusal = _refuse(ident, 400, -32602, f"params._meta lacks {_META}protocolVersion; add it")
        else:
            refusal = self._session(ident, headers)
        return refusal or self._method(method, ident, params, modern)

    def _method(self, method: str, ident: Any, params: dict[str, Any], modern: bool) -> Reply:
        if method == "tools/call":
            return self._call(ident, params)
        if method == "tools/list":
            return _result(ident, {"tools": _TOOLS, **_LIST})
        if method == "ping" and not modern:
            return _result(ident, {})
        if method == "server/discover" and modern:
            info = {_META + "serverInfo": _INFO}
            return _result(
                ident, {"supportedVersions": [MODERN], "capabilities": {"tools": {}}, "_meta": info, **_LIST}
            )
        return _refuse(ident, 404 if modern else 200, -32601, "Method not found")

    def _initialize(self, ident: Any, params: dict[str, Any], headers: dict[str, str] | None) -> Reply:
        requested = params.get("protocolVersion")
        if self.config.era == "modern":
            return _unsupported(ident, requested)
        version = requested if requested in LEGACY else LEGACY[0]
        reply = _result(ident, {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": _INFO})
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
        elif name not in {"echo", "fail"}:
            return _refuse(ident, 200, -32602, "Unknown tool; this fleet has echo, fail and sleep")
        text = text if isinstance(text, str) else ("failed as asked" if name == "fail" else "")
        reply = self._content(ident, text, is_error=name == "fail")
        if self._rng.random() < self.config.error_rate:
            reply = {
                "rpc": _refuse(ident, 200, -32603, "injected by error_rate"),
                "http": _refuse(ident, 503, -32603, "injected by error_rate"),
                "tool": self._content(ident, text, is_error=True),
                "reset": Reply(reset=True),
            }[self.config.error_kind]
        elif self._rng.random() < self.config.lie_rate:
            reply = self._content(ident, "a lie", is_error=False)
        reply.delay_s = delay_s
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
    if not version or _META + "clientCapabilities" not in meta:
        return _refuse(ident, 400, -32602, f"params._meta lacks {_META}protocolVersion or clientCapabilities; add both")
    if version != MODERN:
        return _unsupported(ident, version)
    wanted = {"mcp-protocol-version": version, "mcp-method": message["method"]}
    if message["method"] == "tools/call":
        wanted["mcp-name"] = message["params"].get("name")
    for name, value in wanted.items():
        if headers is not None and headers.get(name) != value:
            return _refuse(ident, 400, -32020, f"Header mismatch: {name} is missing or does not match the body")
    return None


_REASONS = {200: "OK", 202: "Accepted", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}


class _Face(asyncio.Protocol):
    """One HTTP connection. Answers leave in the order of their requests: a delayed one holds back those behind it."""

    def __init__(self, fleet: _Fleet) -> None:
        self.fleet = fleet
        self.transport: asyncio.Transport | None = None
        self.parser = httptools.HttpRequestParser(self)
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.waiting: asyncio.TimerHandle | None = None
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self.fleet.accepted += 1
        self.fleet.faces.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.transport = None
        self.fleet.faces.discard(self)
        if self.waiting is not None:
            self.waiting.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            if self.transport is not None:
                self.transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                self.transport.close()
            return
        self.work()

    def on_message_begin(self) -> None:
        self.headers, self.body = {}, []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1").strip()

    def on_headers_complete(self) -> None:
        if "expect" in self.headers and self.transport is not None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_message_complete(self) -> None:
        self.requests.append((self.parser.get_method().decode(), self.headers, b"".join(self.body)))

    def work(self) -> None:
        """Answer what is complete, unless the fleet hangs or an answer is delayed."""
        while self.requests and self.transport is not None and self.waiting is None and not self.fleet.hung:
            method, headers, body = self.requests.pop(0)
            reply = self.fleet.answer(method, headers, body)
            if reply.delay_s > 0:
                self.waiting = asyncio.get_running_loop().call_later(reply.delay_s, self._late, reply)
            else:
                self._send(reply)

    def _late(self, reply: Reply) -> None:
        self.waiting = None
        if self.fleet.hung:
            self.fleet.held.append((self, reply))
            return
        self._send(reply)
        self.work()

    def _send(self, reply: Reply) -> None:
        if self.transport is None:
            return
        if reply.reset:
            self.transport.abort()
            return
        body = b"" if reply.message is None else json.dumps(reply.message, separators=(",", ":")).encode()
        lines = [f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, 'Service Unavailable')}"]
        if reply.session:
            lines.append(f"Mcp-Session-Id: {reply.session}")
        framing = self.fleet.config.framing if reply.status == 200 and body else "length"
        if framing == "sse":
            body = b"event: message\ndata: " + body + b"\n\n"
        if body:
            lines.append(f"Content-Type: {'text/event-stream' if framing == 'sse' else 'application/json'}")
        if framing == "length":
            lines.append(f"Content-Length: {len(body)}")
        else:
            lines.append("Transfer-Encoding: chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)


class _Fleet:
    """The listeners, and what the commands change."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.mind = Responder(config)
        self.faces: set[_Face] = set()
        self.held: list[tuple[_Face, Reply]] = []
        self.servers: list[asyncio.Server] = []
        self.ports = [config.port] * config.ports
        self.hung = False
        self.accepted = self.requests = 0

    def answer(self, method: str, headers: dict[str, str], body: bytes) -> Reply:
        self.requests += 1
        if method == "POST":
            return self.mind.answer(body, headers)
        if method != "DELETE":
            return Reply(405)
        known = headers.get("mcp-session-id") in self.mind.sessions
        self.mind.sessions.discard(headers.get("mcp-session-id", ""))
        return Reply(200 if known else 404)

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        for index, port in enumerate(self.ports):
            server = await loop.create_server(lambda: _Face(self), self.config.host, port, backlog=1024)
            self.ports[index] = server.sockets[0].getsockname()[1]
            self.servers.append(server)

    def stats(self, event: str) -> str:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        cpu_ns = int((usage.ru_utime + usage.ru_stime) * 1e9)
        counts = {"requests": self.requests, "calls": self.mind.calls, "accepted": self.accepted}
        more = {"open": len(self.faces), "sessions": len(self.mind.sessions), "cpu_ns": cpu_ns}
        return json.dumps({"event": event, **counts, **more})

    async def obey(self, line: str) -> str:
        op = None
        with contextlib.suppress(ValueError, AttributeError):
            op = json.loads(line).get("op")
        if op == "crash":
            for server in self.servers:
                server.close()
            self.servers.clear()
            self.mind.sessions.clear()
            for face in list(self.faces):
                if face.transport is not None:
                    face.transport.abort()
            self.faces.clear()
            await asyncio.sleep(0)  # an aborted transport closes its socket in the loop's next turn
            return self.stats("crashed")
        if op == "hang":
            self.hung = True
            return self.stats("hung")
        if op == "recover":
            self.hung = False
            if not self.servers:
                await self.listen()
            held, self.held = self.held, []
            for face, reply in held:
                face._send(reply)
            for face in list(self.faces):
                face.work()
            return self.stats("recovered")
        if op == "stats":
            return self.stats("stats")
        return json.dumps({"event": "error", "message": f"unknown command {line}; send crash, hang, recover or stats"})

    async def run(self) -> None:
        await self.listen()
        ports = {"port": self.ports[0], "ports": self.ports}
        emit(json.dumps({"event": "ready", **ports, "pid": os.getpid(), "generator": "python"}))
        lines = stdin_lines()
        while (line := await lines.get()) is not None:
            emit(await self.obey(line))
        emit(self.stats("stopped"))
        for server in self.servers:
            server.close()
        for face in list(self.faces):
            if face.transport is not None:
                face.transport.abort()


def stdin_lines() -> asyncio.Queue[str | None]:
    """Lines of stdin, then None; read by a thread, so that the loop never blocks on them."""
    loop, lines = asyncio.get_running_loop(), asyncio.Queue[str | None]()

    def read() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone: nobody listens
            for line in sys.stdin:
                loop.call_soon_threadsafe(lines.put_nowait, line.strip())
            loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def pin(cpu: int | None) -> None:
    """Pin this process, if asked. Raises ValueError for a CPU it may not use."""
    if cpu is None:
        return
    try:
        os.sched_setaffinity(0, {cpu})
    except (AttributeError, OSError) as error:
        raise ValueError(f"cannot pin to cpu {cpu} ({error}); choose another or leave `cpu` out") from error


def serve_http(raw: dict[str, Any]) -> None:
    """Serve until stdin ends."""
    config = Config.parse(raw)
    pin(config.cpu)
    fleet = _Fleet(config)
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        asyncio.run(fleet.run())
    else:
        uvloop.run(fleet.run())


def serve_stdio(raw: dict[str, Any]) -> None:
    """Be a stdio server until the input ends. Delayed answers leave when due; a cancelled one never does."""
    config = Config.parse(raw)
    pin(config.cpu)
    mind, lock, late = Responder(config), threading.Lock(), dict[str, threading.Timer]()

    def send(key: str, message: dict[str, Any]) -> None:
        with lock, contextlib.suppress(BrokenPipeError):
            late.pop(key, None)
            sys.stdout.buffer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
            sys.stdout.buffer.flush()

    for line in sys.stdin.buffer:
        if not line.strip():
            continue
        reply = mind.answer(line, None)
        if reply.reset:
            os._exit(1)
        if reply.message is None:
            with contextlib.suppress(ValueError, AttributeError, KeyError):
                message = json.loads(line)
                if message["method"] == "notifications/cancelled":
                    late.pop(json.dumps(message["params"]["requestId"])).cancel()
        elif reply.delay_s > 0:
            key = json.dumps(reply.message["id"])
            late[key] = threading.Timer(reply.delay_s, send, (key, reply.message))
            late[key].daemon = True
            late[key].start()
        else:
            send("", reply.message)
