"""The listeners of the Python fleet, and the commands that change what they do.

The rule: the event that answers a command is true when it is printed: after ``crashed`` no port answers, after ``hung``
nothing is answered, after ``recovered`` what had waited has been.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import time
from typing import Any

from crossfade.harness import pyloop
from crossfade.harness.driven import emit
from crossfade.harness.fleet_py.config import Config
from crossfade.harness.fleet_py.connection import Connection
from crossfade.harness.fleet_py.responder import Reply, Responder


class Server:
    """The listeners, and what the commands change."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.mind = Responder(config)
        self.connections: set[Connection] = set()
        self.held: list[tuple[Connection, Reply]] = []
        self.servers: list[asyncio.Server] = []
        self.ports = [config.port] * config.ports
        self.hung = False
        self.mood: str | None = None
        self.drip_s: float | None = None
        self.accepted = self.requests = 0

    def answer(self, method: str, headers: dict[str, str], body: bytes, slow_s: float) -> Reply:
        self.requests += 1
        if method == "POST" and self.mood is not None:
            # Garbage is in turn no HTTP, and HTTP whose body is no JSON.
            return Reply(self.requests % 2 * 200, reset=self.mood == "reset", garbage=self.mood == "garbage")
        if method == "POST":
            reply = self.mind.answer(body, headers)
            if slow_s and headers.get("mcp-method", _method(body)) in {"tools/call", "resources/read"}:
                reply.delay_s += slow_s
            return reply
        if method != "DELETE":
            return Reply(405)
        known = headers.get("mcp-session-id") in self.mind.sessions
        self.mind.sessions.discard(headers.get("mcp-session-id", ""))
        return Reply(200 if known else 404)

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        for index, port in enumerate(self.ports):
            slow = index + self.config.slow_ports >= len(self.ports)
            born = functools.partial(Connection, self, self.config.slow_ms / 1000 if slow else 0.0)
            server = await loop.create_server(born, self.config.host, port, backlog=1024)
            self.ports[index] = server.sockets[0].getsockname()[1]
            self.servers.append(server)

    def stats(self, event: str) -> str:
        counts = {"requests": self.requests, "calls": self.mind.calls, "accepted": self.accepted}
        more = {"open": len(self.connections), "sessions": len(self.mind.sessions), "cpu_ns": time.process_time_ns()}
        return json.dumps({"event": event, **counts, **more})

    async def obey(self, line: str) -> str:
        op, command = None, {}
        with contextlib.suppress(ValueError, AttributeError):
            command = json.loads(line)
            op = command.get("op")
        if op == "crash":
            for server in self.servers:
                server.close()
            self.servers.clear()
            self.mind.sessions.clear()
            for connection in list(self.connections):
                connection.abort()
            self.connections.clear()
            await asyncio.sleep(0)  # an aborted transport closes its socket in the loop's next turn
            return self.stats("crashed")
        if op == "hang":
            self.hung = True
            return self.stats("hung")
        if op in {"garbage", "reset", "drip"}:
            self.mood = None if op == "drip" else op
            self.drip_s = float(command.get("ms", 10.0)) / 1000 if op == "drip" else None
            return self.stats(op)
        if op == "recover":
            self.hung, self.mood, self.drip_s = False, None, None
            if not self.servers:
                await self.listen()
            held, self.held = self.held, []
            for connection, reply in held:
                connection.send(reply)
            for connection in list(self.connections):
                connection.recover()
            return self.stats("recovered")
        if op == "stats":
            return self.stats("stats")
        known = "crash, hang, garbage, reset, drip, recover or stats"
        return json.dumps({"event": "error", "message": f"unknown command {line}; send {known}"})

    async def run(self) -> None:
        await self.listen()
        ports = {"port": self.ports[0], "ports": self.ports}
        emit(json.dumps({"event": "ready", **ports, "pid": os.getpid(), "generator": "python"}))
        lines = pyloop.stdin_lines()
        while (line := await lines.get()) is not None:
            emit(await self.obey(line))
        emit(self.stats("stopped"))
        for server in self.servers:
            server.close()
        for connection in list(self.connections):
            connection.abort()


def _method(body: bytes) -> str | None:
    with contextlib.suppress(ValueError, AttributeError):
        method: str | None = json.loads(body).get("method")
        return method
    return None


def serve_http(raw: dict[str, Any]) -> None:
    """Serve until stdin ends."""
    config = Config.parse(raw)
    if config.stderr_bytes_per_s:
        raise ValueError("fleet configuration: `stderr_bytes_per_s` is for --stdio; leave it out over HTTP")
    pyloop.pin(config.cpu)
    pyloop.run(Server(config).run())
