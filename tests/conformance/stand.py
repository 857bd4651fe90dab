"""What stands behind the URL that the suite is given: the fixture of one era, and ``crossfade serve`` before it.

Rule: no-prefix mode, defaults otherwise, and every process is stopped by SIGTERM as a service manager would.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.e2e.kit import CROSSFADE, Background

ROOT = Path(__file__).resolve().parents[2]
FIXTURE = "tests.conformance.fixture"
URL = re.compile(r"http://\S+/mcp")


@contextmanager
def fixture(era: str) -> Iterator[str]:
    """The fixture server over HTTP; its URL."""
    running = Background([sys.executable, "-m", FIXTURE, "--era", era], PYTHONPATH=str(ROOT))
    try:
        yield running.find(URL)
    finally:
        running.stop()


def over_stdio(era: str) -> dict[str, Any]:
    """The fixture server as a child of the gateway."""
    arguments = ["-m", FIXTURE, "--era", era, "--stdio"]
    return {"command": sys.executable, "args": arguments, "cwd": str(ROOT), "env": {"PYTHONPATH": str(ROOT)}}


@contextmanager
def config(server: dict[str, Any]) -> Iterator[Path]:
    """A configuration file with this one server under its own names."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "mcp.json"
        path.write_text(json.dumps({"mcpServers": {"suite": server}, "gateway": {"prefix": False}}))
        yield path


@contextmanager
def gateway(server: dict[str, Any], variant: str) -> Iterator[str]:
    """``crossfade serve`` before this server; its URL."""
    with config(server) as path:
        running = Background([str(CROSSFADE), "serve", "--config", str(path), "--impl", variant, "--port", "0"])
        try:
            yield running.find(URL)
        finally:
            running.stop()
