"""Third-party gateways, measured as ``docs/own-implementation.md`` says: its commands, on a short scenario."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import subprocess
import venv
from pathlib import Path

import pytest
from tests.e2e.kit import CROSSFADE
from tests.running import running
from tests.unavailable import unavailable

from crossfade.harness.store import load

DOCUMENT = (Path(__file__).parents[2] / "docs" / "own-implementation.md").read_text()
CACHE = Path(os.environ.get("NPM_CACHE_DIR") or Path.home() / ".cache" / "crossfade" / "npm")
SCENARIO = """
name = "short"
title = "Short"
summary = "The documented scenario, shortened."
kind = "throughput"
needs = ["gateway", "{transport}"]
headline = ["throughput_per_s", "cpu_us_per_request"]
[upstream]
transport = "{transport}"
[load]
connections = 4
[profiles]
quick = {{ rounds = 2, duration_s = 2.0, warmup_s = 0.5 }}
standard = {{ rounds = 2 }}
full = {{ rounds = 2 }}
"""


def documented(name: str) -> tuple[str, list[str]]:
    """What to install, and the words after ``crossfade run``."""
    block = re.search(rf"<!-- example:{name} -->\n```sh\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    assert block is not None, f"docs/own-implementation.md lacks the example {name}"
    install, run = block[1].replace("\\\n", " ").strip().split("\n", 1)
    words = shlex.split(run)
    assert words[:2] == ["crossfade", "run"]
    return install, words[2:]


@pytest.fixture(scope="session")
def fastmcp() -> Path:
    """The folder of a virtual environment with the documented release, made once in the cache folder."""
    wanted: list[str] = re.findall(r"'(fastmcp==[^']+)'", documented("fastmcp")[0])
    folder = CACHE / wanted[0]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = folder / "installed"
        if not stamp.exists():
            venv.create(folder / "fastmcp", with_pip=True, clear=True)
            command = [str(folder / "fastmcp" / "bin" / "pip"), "install", "--quiet", *wanted]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                unavailable(f"pip install {wanted[0]} failed; is an index reachable? {done.stderr[-400:]}")
            stamp.touch()
    return folder


@pytest.mark.timeout(110)
@pytest.mark.parametrize(("name", "transport"), [("fastmcp", "http"), ("mcp-proxy", "stdio")])
def test_the_documented_commands_measure_a_real_gateway(
    name: str, transport: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    install, words = documented(name)
    where: Path = request.getfixturevalue("fastmcp" if name == "fastmcp" else "npm_modules")
    if name == "mcp-proxy":
        (tmp_path / "mcp-proxy").symlink_to(where.parent)
        where = tmp_path
        version = json.loads((Path(__file__).parent / "package.json").read_text())["dependencies"]["mcp-proxy"]
        assert f"'mcp-proxy@{version}'" in install
    scenario = tmp_path / "short.toml"
    scenario.write_text(SCENARIO.format(transport=transport))
    arguments = [word.replace("$PWD", str(where)) for word in words[1:]]
    arguments[arguments.index("rust")] = "python"
    command = [str(CROSSFADE), "run", str(scenario), *arguments, "--no-selftest", "--limits", "none"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out")], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    results = load(tmp_path / "out" / "latest")
    blocks = results.of("short", name, only_ok=False)
    assert len(blocks) == 2
    for block in blocks:
        assert block.status != "failed", block.error
        assert block.metrics["cpu_us_per_request"] > 1, "its process tree was not clocked"
    assert results.parity[0].ok
    assert (tmp_path / "out" / "latest" / "report.html").exists()
    assert running(f"{where}/.*(fastmcp|mcp-proxy)") == []
