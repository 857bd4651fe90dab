"""Clients that others wrote, each as its own program, in front of servers that others wrote: both eras, both shells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from tests.contract.official import ANSWERS, text_of
from tests.e2e.kit import CROSSFADE

HERE = Path(__file__).parent
MODES = ["2026-07-28", "legacy"]
SHELLS = ["python", "rust"]
TOOLS = {"every__echo", "web__get-sum", "time__convert_time", "files__read_text_file", "memory__read_graph"}


def ran(command: list[str], **environment: str) -> Any:
    """What the program printed, as JSON."""
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=50
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("server", ["every", "web"])
async def test_the_official_client_is_asked_through_the_gateway(
    shell: str, mode: str, server: str, serving: Callable[[str], str]
) -> None:
    steps: list[float] = []

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        del total, message
        steps.append(progress)

    async with Client(serving(shell), mode=mode, **ANSWERS) as client:
        sampled = await client.call_tool(f"{server}__trigger-sampling-request", {"prompt": "hi", "maxTokens": 5})
        assert '"text": "It"' in text_of(sampled)
        elicited = await client.call_tool(f"{server}__trigger-elicitation-request", {})
        assert "- Name: Ada" in text_of(elicited)
        if server == "every":  # over HTTP it asks on the session's own stream: test_bridge_own_stream.py
            assert "file:///home" in text_of(await client.call_tool("every__get-roots-list", {}))
        long = {"duration": 0.2, "steps": 2}
        done = await client.call_tool(f"{server}__trigger-long-running-operation", long, progress_callback=progressed)
        assert "completed" in text_of(done)
    assert steps == [1, 2]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shell", SHELLS)
def test_the_fastmcp_client(shell: str, mode: str, serving: Callable[[str], str], fastmcp_path: Path) -> None:
    program = [sys.executable, str(HERE / "fastmcp_client.py"), serving(shell), mode]
    told = ran(program, PYTHONPATH=str(fastmcp_path), FASTMCP_CHECK_FOR_UPDATES="off")
    assert set(told["tools"]) >= TOOLS
    assert told["echo"] == "Echo: hé 😀"
    assert "every__args-prompt" in told["prompts"]
    assert told["resource"].startswith("Resource 7")
    assert '"text": "It"' in told["sampling"]
    assert "requested information" in told["elicitation"]
    assert "file:///home" in told["roots"]
    assert "completed" in told["long"]
    assert told["steps"] == [1, 2]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_inspector(shell: str, serving: Callable[[str], str], npm_modules: Path) -> None:
    path = f"{npm_modules / '.bin'}{os.pathsep}{os.environ['PATH']}"  # it needs a newer Node than most machines have
    inspect = [str(npm_modules / ".bin" / "mcp-inspector"), "--cli", serving(shell), "--transport", "http", "--method"]
    tools = ran([*inspect, "tools/list"], PATH=path)["tools"]
    assert {tool["name"] for tool in tools} >= TOOLS
    called = ran([*inspect, "tools/call", "--tool-name", "every__echo", "--tool-arg", "message=hi"], PATH=path)
    assert called["content"][0]["text"] == "Echo: hi"
    assert ran([*inspect, "resources/list"], PATH=path)["resources"]
    assert ran([*inspect, "prompts/list"], PATH=path)["prompts"]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_inspector_over_stdio(shell: str, config_file: Path, npm_modules: Path) -> None:
    path = f"{npm_modules / '.bin'}{os.pathsep}{os.environ['PATH']}"
    gateway = [str(CROSSFADE), "serve", "--config", str(config_file), "--impl", shell, "--stdio"]
    inspect = [str(npm_modules / ".bin" / "mcp-inspector"), "--cli", "--method", "tools/list", "--", *gateway]
    assert {tool["name"] for tool in ran(inspect, PATH=path)["tools"]} >= TOOLS
