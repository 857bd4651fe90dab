"""The official suite as a program: where it is installed, which scenarios a revision requires, what a run found.

Rule: the suite's own lists and its own checks decide; nothing here knows what a scenario does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.npm import installed

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
"""Where a client command finds the modules of the tests."""
PACKAGE = "@modelcontextprotocol/conformance"
SCENARIO_MS = 30_000
RUN_S = 180.0


@dataclass(frozen=True)
class Outcome:
    """What a run of one scenario found. ``failures`` and ``warnings`` are the suite's own words."""

    scenario: str
    passed: int
    failures: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Requirements:
    """The scenarios of a revision, in the suite's order; ``unscored`` are run and never counted."""

    server: tuple[str, ...]
    client: tuple[str, ...]
    unscored: tuple[str, ...]


class Suite:
    """The installed suite."""

    def __init__(self) -> None:
        self._modules = installed(HERE / "package.json", "conformance")
        path = f"{self._modules / '.bin'}{os.pathsep}{os.environ['PATH']}"  # its node, not the machine's
        self._environment = {**os.environ, "PATH": path}

    def requirements(self, revision: str) -> Requirements:
        """Read with the YAML parser that the suite brings."""
        file = self._modules / PACKAGE / "requirements" / f"{revision}.yaml"
        script = (
            "console.log(JSON.stringify(require('yaml').parse(require('fs').readFileSync(process.argv[1], 'utf8'))))"
        )
        command = ["node", "-e", script, str(file)]
        done = subprocess.run(
            command, cwd=self._modules, env=self._environment, capture_output=True, text=True, check=True, timeout=60
        )
        read = json.loads(done.stdout)
        unscored = tuple(entry["scenario"] for entry in read["not_scored"] if entry["leg"] == "server")
        return Requirements(tuple(read["server"]), tuple(read["client"]), unscored)

    def server(self, url: str, revision: str) -> dict[str, Outcome]:
        """Every scenario that the revision requires of a server, run against this one."""
        with tempfile.TemporaryDirectory() as folder:
            self._run("server", "--url", url, "--requirements", revision, "--output-dir", folder)
            return outcomes(Path(folder), "server-")

    def client(self, command: str, scenario: str, revision: str) -> Outcome:
        """One scenario run against the client that this command starts; the suite adds its URL."""
        with tempfile.TemporaryDirectory() as folder:
            options = ("--command", command, "--scenario", scenario, "--spec-version", revision)
            told = self._run("client", *options, "--timeout", str(SCENARIO_MS), "--output-dir", folder)
            found = outcomes(Path(folder), "").get(scenario)
            said = "".join(file.read_text()[-1500:] for file in Path(folder).rglob("stderr.txt"))
        if found is None:
            return Outcome(scenario, 0, (f"the suite says nothing about it: {told.stdout[-300:]}{told.stderr[-300:]}",))
        if told.returncode != 0 and not found.failures and not found.warnings:
            return Outcome(scenario, found.passed, (f"its checks pass, but the client failed: {said}",))
        return found

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self._modules / ".bin" / "conformance"), *arguments]
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment,
            cwd=ROOT,
            text=True,
            start_new_session=True,
        ) as running:
            try:
                out, err = running.communicate(timeout=RUN_S)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)  # with the clients it started
                out, err = running.communicate()
        return subprocess.CompletedProcess(command, running.returncode, out, err)


def outcomes(folder: Path, prefix: str) -> dict[str, Outcome]:
    """Read what a run left behind: ``PREFIXscenario-TIME/checks.json`` per scenario."""
    found = {}
    for file in sorted(folder.rglob("checks.json")):
        name = str(file.parent.relative_to(folder)).removeprefix(prefix)
        scenario = name[: -len("-2026-01-01T00-00-00-000Z")]
        found[scenario] = outcome(scenario, json.loads(file.read_text()))
    return found


def outcome(scenario: str, checks: list[dict[str, Any]]) -> Outcome:
    def told(status: str) -> tuple[str, ...]:
        said = (
            f"{check['name']}: {check.get('errorMessage') or check['description']}"
            for check in checks
            if check["status"] == status
        )
        return tuple(said)

    return Outcome(scenario, len(told("SUCCESS")), told("FAILURE"), told("WARNING"))
