"""The stdio face reads whatever stdin is: what no loop can poll ends neither the process nor the conversation early."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SERVE = """
import asyncio, sys
from crossfade.impls import Config, GatewaySpec
from crossfade.impls.python.loop import loop_factory
from crossfade.impls.python.manager import PythonManager
async def main():
    async with PythonManager(Config(gateway=GatewaySpec(max_body_bytes=1 << 16))) as manager:
        await manager.serve_stdio()
with asyncio.Runner(loop_factory=loop_factory() if sys.argv[1] == "installed" else None) as runner:
    runner.run(main())
"""
LOOPS = pytest.mark.parametrize("loop", ["installed", "standard"])


def served(loop: str, stdin: int) -> list[int]:
    """The ids that were answered on the way to a good end."""
    done = subprocess.run(
        [sys.executable, "-c", SERVE, loop], stdin=stdin, stdout=subprocess.PIPE, timeout=15, check=True
    )
    return sorted(json.loads(line)["id"] for line in done.stdout.splitlines())


def pings(count: int) -> bytes:
    return b"".join(b'{"jsonrpc":"2.0","id":%d,"method":"ping"}\n' % number for number in range(count))


@LOOPS
def test_the_null_device_is_a_client_that_is_gone(loop: str) -> None:
    assert served(loop, subprocess.DEVNULL) == []


@LOOPS
def test_a_file_that_is_longer_than_the_reader_keeps_is_answered_to_its_end(loop: str, tmp_path: Path) -> None:
    requests = tmp_path / "requests"
    requests.write_bytes(pings(10_000))
    with requests.open("rb") as stdin:
        assert served(loop, stdin.fileno()) == list(range(10_000))


@LOOPS
def test_a_terminal_is_served_until_it_is_hung_up(loop: str) -> None:
    ours, theirs = os.openpty()
    command = [sys.executable, "-c", SERVE, loop]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE) as process:
        os.close(theirs)
        os.write(ours, pings(1))
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["id"] == 0
        os.close(ours)
        assert process.wait(10) == 0
