"""The load generator in Python, for machines without the native wheel: same plan, same result, more CPU.

The rule is that of the native generator: due times come from the seed alone, whatever waits counts, and every request
that was sent ends in exactly one verdict. Timers of an event loop are coarse (a millisecond): ``lag`` shows how coarse.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import resource
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import httptools

from crossfade.harness.fleet_py import LEGACY, MODERN, pin, stdin_lines
from crossfade.harness.hdr import Histogram

Emit = Callable[[str], None]
_META = "io.modelcontextprotocol/"
_INFO = {"name": "crossfade-load", "version": "0.1.0"}
_NOW = time.monotonic_ns
_OPENING = 64


@dataclass(frozen=True)
class Plan:
    """The plan of ``crossfade.harness.load``."""

    port: int
    mode: Literal["closed", "open", "hold"]
    connections: int
    host: str = "127.0.0.1"
    path: str = "/mcp"
    rate_per_s: float | None = None
    arrivals: Literal["poisson", "constant"] = "poisson"
    warmup_s: float = 0.0
    duration_s: float = 0.0
    drain_s: float = 1.0
    era: Literal["modern", "legacy"] = "modern"
    tool: str = "echo"
    payload_bytes: int = 16
    arguments: dict[str, Any] = field(default_factory=dict)
    seed: int = 1
    check_every: int = 1
    timeout_s: float = 10.0
    connect_timeout_s: float = 10.0
    cpu: int | None = None
    generator: str | None = None

    @classmethod
    def parse(cls, raw: dict[str, Any]) -> Plan:
        """Raises ValueError that names the key."""
        unknown = sorted(raw.keys() - cls.__dataclass_fields__.keys())
        if unknown:
            raise ValueError(f"load plan: unknown key {unknown[0]!r}; see crossfade.harness.load")
        missing = sorted({"port", "mode", "connections"} - raw.keys())
        if missing:
            raise ValueError(f"load plan: {missing[0]!r} is missing; add it")
        plan = cls(**raw)
        if plan.mode not in {"closed", "open", "hold"} or plan.era not in {"modern", "legacy"}:
            raise ValueError(
                f"load plan: mode {plan.mode!r} or era {plan.era!r} is unknown; see crossfade.harness.load"
            )
        if plan.mode == "open" and not (plan.rate_per_s and plan.rate_per_s > 0):
            raise ValueError('load plan: mode "open" needs `rate_per_s`, above 0')
        if plan.mode != "hold" and not (plan.duration_s > 0 and plan.connections > 0):
            raise ValueError("load plan: `duration_s` and `connections` must be above 0")
        return plan


class Conn(asyncio.Protocol):
    """One connection, one request at a time: ``ask`` gives the status, the body and the legacy session."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.head = b""
        self.answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._fail(exc or ConnectionResetError("closed"))

    def _fail(self, error: Exception) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(error)

    def ask(self, data: bytes) -> asyncio.Future[tuple[int, bytes]]:
        self.answer = asyncio.get_running_loop().create_future()
        self.parser = httptools.HttpResponseParser(self)
        self.body: list[bytes] = []
        self.sse, self.session = False, ""
        if self.transport is None or self.lost:
            self._fail(ConnectionResetError("closed"))
        else:
            self.transport.write(data)
        return self.answer

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(error)

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"content-type":
            self.sse = value.lower().startswith(b"text/event-stream")
        elif name == b"mcp-session-id":
            self.session = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_message_complete(self) -> None:
        status = self.parser.get_status_code()
        if status >= 200 and self.answer is not None and not self.answer.done():
            body = b"".join(self.body)
            self.answer.set_result((status, _last_event(body) if self.sse else body))


def _last_event(body: bytes) -> bytes:
    """The data of the event that answers: the last one with a result or an error."""
    found = b""
    for event in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
        data = b"\n".join(lines)
        if b'"result"' in data or b'"error"' in data:
            found = data
    return found


def judge(status: int, body: bytes, ident: int, text: str | None) -> str | None:  # noqa: PLR0911 - one per kind
    """The kind of error of an answer, or None; ``text`` is what must come back, if it is to be compared."""
    if status != 200:
        return f"http_{status}"
    try:
        message = json.loads(body)
        if "error" in message:
            return f"rpc_{int(message['error']['code'])}"
        result = message["result"]
        if message["id"] != ident:
            return "mismatch"
        if result.get("isError"):
            return "tool_error"
        if text is not None and (not result.get("content") or result["content"][0].get("text") != text):
            return "mismatch"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "garbage"
    return None


@dataclass
class Record:
    """What a run leaves behind, by the rules of the native recorder: see ``crossfade.harness.load``."""

    open: bool
    start: int
    end: int
    sent: int = 0
    missed: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    latency: list[int] = field(default_factory=list)
    service: list[int] = field(default_factory=list)
    lag: list[int] = field(default_factory=list)
    arrived: list[tuple[int, int | None]] = field(default_factory=list)

    def measured(self, at: int) -> bool:
        return self.start <= at < self.end

    def ended(self, due: int, sent: int, end: int, kind: str | None) -> None:
        if self.measured(end):
            self.arrived.append((end - self.start, None if kind else end - due))
        if not self.measured(due if self.open else end):
            return
        if kind:
            self.errors[kind] += 1
        else:
            self.latency.append(end - due)
            self.service.append(end - sent)

    def result(self, cpu_s: float) -> str:
        """The result event."""
        duration_s = (self.end - self.start) / 1e9
        bins: list[list[int | None]] = [[] for _ in range(-(-(self.end - self.start) // 100_000_000))]
        for at, latency in self.arrived:
            bins[at // 100_000_000].append(latency)
        series = [_bin(index * 100, found) for index, found in enumerate(bins)]
        blobs = {"latency": _blob(self.latency), "service": _blob(self.service), "lag": _blob(self.lag)}
        counts = {"sent": self.sent, "completed": len(self.latency), "errors": dict(self.errors)}
        return json.dumps(
            {
                "event": "result",
                "generator": "python",
                **counts,
                "mismatches": self.errors["mismatch"],
                "missed_sends": self.missed,
                "duration_s": duration_s,
                "throughput_per_s": sum(latency is not None for _, latency in self.arrived) / duration_s,
                **blobs,
                "series": series,
                "generator_cpu_s": cpu_s,
            }
        )


def _blob(values: list[int]) -> str:
    histogram = Histogram()
    histogram.record_all(values)
    return histogram.encode()


def _bin(t_ms: int, found: list[int | None]) -> dict[str, float]:
    good = sorted(latency for latency in found if latency is not None)
    p50, p99 = (good[math.ceil(len(good) * q / 100) - 1] / 1000 if good else 0.0 for q in (50, 99))
    return {"t_ms": t_ms, "completed": len(good), "errors": len(found) - len(good), "p50_us": p50, "p99_us": p99}


class Generator:
    """The connections and the loop that feeds them."""

    def __init__(self, plan: Plan, emit: Emit) -> None:
        self.plan, self.emit = plan, emit
        self.nonces, self.draws = random.Random(plan.seed), random.Random(~plan.seed)  # noqa: S311 - load, not secrets
        self.next_id = 1_000_000_000
        self.line: deque[int] = deque()
        self.due = asyncio.Event()
        self.busy = 0
        self.filler = "x" * max(0, plan.payload_bytes - 16)

    def _head(self, size: int, *, version: str = "", method: str = "", session: str = "") -> bytes:
        plan = self.plan
        named = f"Mcp-Method: {method}\r\nMcp-Name: {plan.tool}\r\n" if method else ""
        version = f"MCP-Protocol-Version: {version}\r\n" if version else ""
        session = f"Mcp-Session-Id: {session}\r\n" if session else ""
        return (
            f"POST {plan.path} HTTP/1.1\r\nHost: {plan.host}:{plan.port}\r\nContent-Type: application/json\r\n"
            f"Accept: application/json, text/event-stream\r\n{version}{named}{session}Content-Length: {size}\r\n\r\n"
        ).encode()

    async def open(self) -> Conn:
        """A connection that can send. Raises OSError or ValueError (a refused handshake)."""
        loop = asyncio.get_running_loop()
        _, conn = await loop.create_connection(Conn, self.plan.host, self.plan.port)
        if self.plan.era == "legacy":
            params = {"protocolVersion": LEGACY[0], "capabilities": {}, "clientInfo": _INFO}
            first = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}).encode()
            status, _ = await conn.ask(self._head(len(first)) + first)
            if status != 200:
                raise ConnectionError(f"http_{status}")
            size = len(self._body(0, ""))
            extra = self.plan.payload_bytes + 9  # ids have ten digits where this sample has one, and text is sent
            conn.head = self._head(size + 9 + extra, version=LEGACY[0], session=conn.session)
            second = json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}).encode()
            await conn.ask(self._head(len(second), version=LEGACY[0], session=conn.session) + second)
        return conn

    def _body(self, ident: int, text: str) -> bytes:
        params: dict[str, Any] = {
            "name": self.plan.tool,
            "arguments": {**self.plan.arguments, "text": text, "n": ident},
        }
        if self.plan.era == "modern":
            meta = {"protocolVersion": MODERN, "clientInfo": _INFO, "clientCapabilities": {}}
            params = {"_meta": {_META + key: value for key, value in meta.items()}, **params}
        message = {"jsonrpc": "2.0", "id": ident, "method": "tools/call", "params": params}
        return json.dumps(message, separators=(",", ":")).encode()

    async def request(self, conn: Conn) -> tuple[int, str | None]:
        """Send one request and judge its answer: when it was sent, and the kind of error."""
        ident, self.next_id = self.next_id, self.next_id + 1
        text = (f"{self.nonces.getrandbits(64):016x}" + self.filler)[: self.plan.payload_bytes]
        body = self._body(ident, text)
        head = conn.head or self._head(len(body), version=MODERN, method="tools/call")
        every = self.plan.check_every
        check = every > 0 and (ident - 1_000_000_000) % every == 0
        sent = _NOW()
        try:
            # wait_for would cost a task; a timer that fails the future does not.
            answer = conn.ask(head + body)
            timer = asyncio.get_running_loop().call_later(self.plan.timeout_s, conn._fail, TimeoutError())
            try:
                status, found = await answer
            finally:
                timer.cancel()
        except TimeoutError:
            return sent, "timeout"
        except OSError:
            return sent, "reset"
        except httptools.HttpParserError:
            return sent, "garbage"
        return sent, judge(status, found, ident, text if check else None)

    async def settle(self, count: int) -> list[Conn]:
        """Open ``count`` connections. Raises RuntimeError if they do not come up in time."""
        deadline = _NOW() + int(self.plan.connect_timeout_s * 1e9)
        gate = asyncio.Semaphore(_OPENING)

        async def one() -> Conn:
            async with gate:
                while True:
                    try:
                        async with asyncio.timeout(max(0.001, (deadline - _NOW()) / 1e9)):
                            return await self.open()
                    except (OSError, TimeoutError) as error:
                        if _NOW() >= deadline:
                            raise RuntimeError(
                                f"not all of {count} connections to {self.plan.host}:{self.plan.port}{self.plan.path} "
                                f"came up within {self.plan.connect_timeout_s:g} s ({error}); is the server running?"
                            ) from error
                        await asyncio.sleep(0.01)

        return list(await asyncio.gather(*(one() for _ in range(count))))

    async def _worker(self, conn: Conn | None, record: Record) -> None:
        while True:
            due = None
            if record.open:
                while not self.line:
                    self.due.clear()
                    await self.due.wait()
                due = self.line.popleft()
            if conn is None or conn.lost:
                try:
                    # Not wait_for: until 3.12 it can swallow a cancellation that meets a result.
                    async with asyncio.timeout(self.plan.timeout_s):
                        conn = await self.open()
                except (OSError, TimeoutError):
                    now = _NOW()
                    record.ended(due or now, 0, now, "connect")
                    await asyncio.sleep(0.01)
                    continue
            begin = due or _NOW()
            record.sent += record.measured(begin)
            self.busy += 1
            try:
                sent, kind = await self.request(conn)
            except asyncio.CancelledError:
                if record.open:
                    record.ended(begin, begin, record.end + 1, "timeout")
                raise
            finally:
                self.busy -= 1
            record.ended(due or sent, sent, _NOW(), kind)
            if kind in {"timeout", "reset", "garbage"} or (kind == "http_404" and conn.head):
                if conn.transport is not None:
                    conn.transport.abort()
                conn = None

    async def _arrivals(self, begin: int, record: Record) -> None:
        mean, offset, index = 1e9 / (self.plan.rate_per_s or 1.0), 0.0, 0
        while True:
            index += 1
            constant = self.plan.arrivals == "constant"
            offset = index * mean if constant else offset + self.draws.expovariate(1 / mean)
            due = begin + int(offset)
            if due >= record.end:
                return
            if (wait := due - _NOW()) > 0:
                await asyncio.sleep(wait / 1e9)
            if record.measured(due):
                record.lag.append(max(0, _NOW() - due))
            self.line.append(due)
            self.due.set()

    async def measure(self) -> str:
        """Settle, warm up, measure, drain."""
        plan = self.plan
        conns = await self.settle(plan.connections)
        self.emit(json.dumps({"event": "ready", "connections": len(conns)}))
        begin = _NOW()
        start = begin + int(plan.warmup_s * 1e9)
        record = Record(plan.mode == "open", start, start + int(plan.duration_s * 1e9))
        tasks = [asyncio.create_task(self._worker(conn, record)) for conn in conns]
        # The last task ends by itself: when all due times have come.
        tasks.append(asyncio.create_task(self._arrivals(begin, record) if record.open else asyncio.sleep(0)))
        await asyncio.sleep((start - _NOW()) / 1e9)
        cpu = _cpu_s()
        self.emit('{"event": "measuring"}')
        await asyncio.sleep((record.end - _NOW()) / 1e9)
        cpu = _cpu_s() - cpu
        self.emit('{"event": "measured"}')
        if record.open:
            end = _NOW() + int(plan.drain_s * 1e9)
            # Until drained: a poll, because nothing on the request path should pay for a signal.
            while _NOW() < end and (self.line or self.busy or not tasks[-1].done()):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        record.missed = sum(map(record.measured, self.line))
        for conn in conns:
            if conn.transport is not None:
                conn.transport.abort()
        return record.result(cpu)

    async def hold(self) -> str:
        """Open, use once and hold; grow on command."""
        self.emit('{"event": "ready", "connections": 0}')
        held: list[Conn] = []
        errors: Counter[str] = Counter()
        lines, target, sent = stdin_lines(), self.plan.connections, 0
        while True:
            while len(held) < target:
                fresh = await self.settle(min(_OPENING, target - len(held)))
                verdicts = await asyncio.gather(*(self.request(conn) for conn in fresh))
                errors.update(kind for _, kind in verdicts if kind)
                sent += len(fresh)
                held += fresh
            lost = sum(conn.lost for conn in held)
            self.emit(json.dumps({"event": "held", "n": len(held), "lost": lost, "errors": errors.total()}))
            if (line := await lines.get()) is None:
                break
            command = json.loads(line)
            target = int(command["to"]) if command.get("op") == "grow" else target
        counts = {"held": len(held), "lost": sum(conn.lost for conn in held), "sent": sent}
        done = {"completed": sent - errors.total(), "errors": dict(errors), "mismatches": errors["mismatch"]}
        return json.dumps({"event": "result", "generator": "python", **counts, **done})


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def run(raw: dict[str, Any], emit: Emit) -> str:
    """Run a plan; the result event. Raises ValueError (broken plan) or RuntimeError (server not reached)."""
    plan = Plan.parse(raw)
    pin(plan.cpu)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    async def main() -> str:
        generator = Generator(plan, emit)
        return await (generator.hold() if plan.mode == "hold" else generator.measure())

    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        return asyncio.run(main())
    return str(uvloop.run(main()))
