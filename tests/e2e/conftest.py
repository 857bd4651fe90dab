"""Third-party servers as they come from their registries, and ``crossfade serve`` as a user starts it.

Rule: what cannot be had is a failure in CI and a skip elsewhere (a machine without Node passes ``make test``).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.kit import CROSSFADE, Background

HERE = Path(__file__).parent
URL = re.compile(r"http://\S+/mcp")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(60))


@pytest.fixture(scope="session")
def everything() -> Path:
    """``server-everything`` from npm, installed once into the cache folder: the script to run with node."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        _unavailable("node and npm are not on PATH; install Node.js 20 or newer to run these")
    cache = Path(os.environ.get("NPM_CACHE_DIR") or Path.home() / ".cache" / "crossfade" / "npm")
    wanted = (HERE / "package.json").read_text()
    script = cache / "node_modules" / "@modelcontextprotocol" / "server-everything" / "dist" / "index.js"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = cache / "installed.json"
        if not (script.exists() and stamp.exists() and stamp.read_text() == wanted):
            (cache / "package.json").write_text(wanted)
            command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--prefix", str(cache)]
            done = subprocess.run(command, cwd=cache, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                _unavailable(f"npm install failed; is a registry reachable? {done.stderr[-400:]}")
            stamp.write_text(wanted)
    return script


def _unavailable(why: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="session")
def everything_url(everything: Path) -> Iterator[str]:
    """``server-everything`` over Streamable HTTP."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    server = Background(["node", str(everything), "streamableHttp"], PORT=str(port))
    server.find(re.compile("listening"))
    yield f"http://127.0.0.1:{port}/mcp"
    server.process.kill()  # its own shutdown waits for event streams
    server.stop()


@pytest.fixture(scope="session")
def servers(everything: Path, everything_url: str) -> dict[str, Any]:
    """An ordinary ``mcpServers`` object with all third parties."""
    return {
        "every": {"command": "node", "args": [str(everything), "stdio"]},
        "web": {"url": everything_url},
        "time": {"command": sys.executable, "args": ["-m", "mcp_server_time", "--local-timezone", "UTC"]},
    }


@pytest.fixture
def config_file(servers: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "mcp.json"
    path.write_text(json.dumps({"mcpServers": servers}))
    return path


@pytest.fixture(scope="session")
def serving(servers: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """``crossfade serve`` of one variant, started once; its URL."""
    urls: dict[str, str] = {}
    with ExitStack() as stack:

        def of(variant: str) -> str:
            if variant not in urls:
                path = tmp_path_factory.mktemp("serve") / "mcp.json"
                path.write_text(json.dumps({"mcpServers": servers}))
                options = ["--config", str(path), "--impl", variant, "--port", "0"]
                running = Background([str(CROSSFADE), "serve", *options])
                stack.callback(running.stop)
                urls[variant] = running.find(URL)
            return urls[variant]

        yield of
