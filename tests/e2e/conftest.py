"""Third-party servers as they come from their registries, and ``crossfade serve`` as a user starts it.

Rule: what cannot be had is a failure in CI and a skip elsewhere (a machine without Node passes ``make test``).
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.kit import CROSSFADE, Background
from tests.npm import Unavailable, installed
from tests.unavailable import unavailable

HERE = Path(__file__).parent
FASTMCP = "fastmcp==4.1.2"
URL = re.compile(r"http://\S+/mcp")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(60, func_only=True))  # not what is installed first


@pytest.fixture(scope="session")
def npm_modules() -> Path:
    """``node_modules`` with what ``package.json`` names, installed once into the cache folder."""
    try:
        return installed(HERE / "package.json")
    except Unavailable as why:
        unavailable(str(why))


@pytest.fixture(scope="session")
def everything(npm_modules: Path) -> Path:
    """``server-everything``: the script to run with node."""
    return npm_modules / "@modelcontextprotocol" / "server-everything" / "dist" / "index.js"


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
def playground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the file server may touch."""
    return tmp_path_factory.mktemp("playground").resolve()


@pytest.fixture(scope="session")
def fastmcp_path() -> Path:
    """A folder with fastmcp and all it needs, apart from what the tests are installed with."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = Path.home() / ".cache" / "crossfade" / f"{FASTMCP}-{version}"
    done = folder / "installed"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--target", str(folder), FASTMCP]
        installing = subprocess.run(command, capture_output=True, text=True, check=False)
        if installing.returncode != 0:
            unavailable(f"{FASTMCP} could not be installed; is a registry reachable? {installing.stderr[-400:]}")
        done.touch()
    return folder


@pytest.fixture(scope="session")
def servers(everything: Path, everything_url: str, npm_modules: Path, playground: Path) -> dict[str, Any]:
    """An ordinary ``mcpServers`` object with all third parties."""
    scope = npm_modules / "@modelcontextprotocol"
    return {
        "every": {"command": "node", "args": [str(everything), "stdio"]},
        "web": {"url": everything_url},
        "files": {"command": "node", "args": [str(scope / "server-filesystem" / "dist" / "index.js"), str(playground)]},
        "memory": {
            "command": "node",
            "args": [str(scope / "server-memory" / "dist" / "index.js")],
            "env": {"MEMORY_FILE_PATH": str(playground / "memory.jsonl")},
        },
        "time": {"command": sys.executable, "args": ["-m", "mcp_server_time", "--local-timezone", "UTC"]},
        "git": {"command": sys.executable, "args": ["-m", "mcp_server_git"]},
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
