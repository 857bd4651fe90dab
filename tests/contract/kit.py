"""What the contract tests stand on: specs for the fixture servers, a running HTTP fixture, views of ``/proc``.

Rule: nothing in here knows a variant.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crossfade.impls import Config, GatewaySpec, Manager, ServerSpec, ShedSpec, open_manager

ROOT = Path(__file__).parents[2]
PYTHON = (sys.executable, "-S", "-E", "-m")  # the servers need the standard library only, and start twice as fast so


def stdio_spec(name: str = "fix", *, era: str = "legacy", start: str = "well", **more: Any) -> ServerSpec:
    """The fixture server as a child; ``era`` is the server's, what the manager expects stays ``auto``."""
    args = (*PYTHON[1:], "tests.contract.servers.stdio", "--era", era, "--start", start, "--name", name)
    return ServerSpec(**{"name": name, "command": PYTHON[0], "args": args, "cwd": str(ROOT), **more})


def http_spec(server: HttpServer, name: str = "fix", **more: Any) -> ServerSpec:
    """The running fixture server as an upstream URL."""
    return ServerSpec(**{"name": name, "urls": (server.url,), **more})


def manager_of(variant: str, *servers: ServerSpec, shed: ShedSpec | None = None, **gateway: Any) -> Manager:
    """A manager, not yet entered, with keyword arguments for its gateway face."""
    config = Config(servers=servers, gateway=GatewaySpec(**gateway), shed=shed or ShedSpec(), seed=7)
    return open_manager(config, variant)


class HttpServer:
    """One fixture process over HTTP; ``port`` lets a second one take the place of the first.

    The first ``fail`` requests get no answer, the others theirs after ``delay_ms``; handshakes and pings are not asked.
    """

    def __init__(
        self,
        *,
        era: str = "legacy",
        sse: bool = False,
        newline: str = "lf",
        port: int = 0,
        name: str = "fixture",
        fail: int = 0,
        delay_ms: int = 0,
        **env: str,
    ) -> None:
        command = [*PYTHON, "tests.contract.servers.http", "--era", era, "--name", name, "--port", str(port)]
        command += ["--fail", str(fail), "--delay-ms", str(delay_ms), "--newline", newline]
        self.era = era
        self.process = subprocess.Popen(
            [*command, *(["--sse"] if sse else [])],
            cwd=ROOT,
            env={**os.environ, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the HTTP fixture server did not start; its error is above"
        self.port: int = json.loads(line)["port"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def log(self, method: str | None = None) -> list[dict[str, Any]]:
        """What it received so far, oldest first."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/log", timeout=10) as answer:
            entries: list[dict[str, Any]] = json.load(answer)["log"]
        return [entry for entry in entries if method in (None, entry["method"])]

    def kill(self) -> None:
        """As a crash would: no goodbye."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()


def children_of(pid: int | str = "self") -> list[int]:
    """Direct children, zombies included: a child nobody reaped is a leak too."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return sorted(found)


def is_alive(pid: int) -> bool:
    """Running, neither gone nor a zombie (an orphan's zombie is for init to reap, not for us)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def open_fds(pid: int | str = "self") -> dict[int, str]:
    """Open descriptors of a process and what they are."""
    found = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[int(entry.name)] = str(entry.readlink())
        except OSError:
            continue
    return found


def eventually(check: Callable[[], bool], *, within_s: float = 5.0, what: str = "it") -> None:
    """Wait for something another process does and nobody announces (an exit, say). Not for what can be awaited."""
    end = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < end, f"{what} did not happen within {within_s} s"
        time.sleep(0.01)


async def until(check: Callable[[], bool], *, within_s: float = 5.0, what: str = "it") -> None:
    """:func:`eventually` for tests whose own event loop has to turn for it to happen."""
    end = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < end, f"{what} did not happen within {within_s} s"
        await asyncio.sleep(0.01)
