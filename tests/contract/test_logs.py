"""Logs: what happens to servers is told once, with its fields, and nobody's own logging is touched."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.contract.kit import ROOT, manager_of, stdio_spec, until

from crossfade.impls import Config, RestartSpec, ServerSpec, ServerState, TelemetrySpec, open_manager

TINY = str(Path(__file__).parent / "servers" / "tiny.sh")
QUICK = RestartSpec(base_ms=1, cap_ms=1)


def tiny(**more: Any) -> ServerSpec:
    return ServerSpec(name="fix", command="/bin/sh", args=(TINY,), era="legacy", restart=QUICK, **more)


def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The fields of every event that was logged."""
    return [vars(r) for r in caplog.records if r.name == "crossfade.events"]


async def test_a_crash_is_logged_once_with_its_fields(variant: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "crossfade")
    async with manager_of(variant, tiny()) as manager:
        old = manager.get("fix").instances[0].pid
        assert old is not None
        os.kill(old, signal.SIGKILL)
        await until(lambda: manager.get("fix").instances[0].restarts == 1, what="the restart")
        new = manager.get("fix").instances[0].pid
    [line] = [fields for fields in told(caplog) if fields["event"] == "restart"]
    assert (line["server"], line["old"], line["new"]) == ("fix", str(old), str(new))
    assert line["levelname"] == "WARNING"
    assert line["message"] == f"server 'fix' ended by itself as process {old} and was restarted as {new}"


async def test_what_happens_while_the_manager_opens_and_closes_is_logged_too(
    variant: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "crossfade")
    gone = ServerSpec(name="gone", command="/does/not/exist", restart=RestartSpec(enabled=False))
    async with manager_of(variant, tiny(), gone) as manager:
        assert manager.get("gone").state is ServerState.UNHEALTHY
        await manager.unregister("fix")
    lines = [(f["event"], f["server"], f["new"], f["levelname"]) for f in told(caplog)]
    assert ("registered", "fix", None, "INFO") in lines
    assert ("state", "fix", "healthy", "INFO") in lines
    assert ("state", "gone", "unhealthy", "WARNING") in lines
    assert ("unregistered", "fix", None, "INFO") in lines


async def test_off_is_silent_and_follows_nothing(variant: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "crossfade")
    config = Config(servers=(tiny(),), telemetry=TelemetrySpec(log_level="off"))
    async with open_manager(config, variant):
        assert "crossfade event log" not in {task.get_name() for task in asyncio.all_tasks()}
    assert told(caplog) == []


async def test_no_task_is_left_when_the_manager_has_closed(variant: str) -> None:
    before = asyncio.all_tasks()
    async with manager_of(variant, tiny()):
        assert "crossfade event log" in {task.get_name() for task in asyncio.all_tasks()}
    assert "crossfade event log" not in {task.get_name() for task in asyncio.all_tasks()}
    assert asyncio.all_tasks() == before


def serve(variant: str, directory: Path, level: str, form: str) -> tuple[bytes, list[str]]:
    """``crossfade serve`` on stdio with a client that leaves at once: its stdout, and the lines of its stderr."""
    child = stdio_spec("fix")
    shell = f'echo "a word, and \\"quotes\\"" >&2; exec {child.command} {" ".join(child.args)}'
    path = directory / "servers.json"
    server = {"command": "/bin/sh", "args": ["-c", shell], "cwd": str(ROOT)}
    path.write_text(json.dumps({"mcpServers": {"fix": server}, "telemetry": {"logLevel": level, "logFormat": form}}))
    command = [sys.executable, "-m", "crossfade.harness.cli", "serve", "--stdio", "--impl", variant]
    done = subprocess.run([*command, "--config", str(path)], input=b"", capture_output=True, timeout=60, check=True)
    return done.stdout, done.stderr.decode().splitlines()


@pytest.mark.timeout(60)
def test_served_lines_are_json_on_stderr_and_stdout_stays_the_protocols(variant: str, tmp_path: Path) -> None:
    out, lines = serve(variant, tmp_path, "info", "json")
    assert out == b""
    parsed = [json.loads(line) for line in lines]
    assert all({"ts", "level", "logger", "message"} <= line.keys() for line in parsed)
    [healthy] = [line for line in parsed if line.get("event") == "state" and line.get("new") == "healthy"]
    assert (healthy["logger"], healthy["level"], healthy["server"]) == ("crossfade.events", "info", "fix")
    [spoken] = [line for line in parsed if line["logger"] == "crossfade.server.fix"]
    assert spoken["message"] == 'a word, and "quotes"'


@pytest.mark.timeout(60)
@pytest.mark.parametrize("level", ["off", "error"])
def test_served_quietly_nothing_is_written(variant: str, tmp_path: Path, level: str) -> None:
    assert serve(variant, tmp_path, level, "text") == (b"", [])
