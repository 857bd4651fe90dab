"""The history of regressions works end to end: ``asv run`` measures this checkout, ``asv publish`` draws it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from crossfade.impls import VARIANTS, missing

ROOT = Path(__file__).parents[2]
ASV = Path(sys.executable).parent / "asv"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_asv_runs_and_publishes(tmp_path: Path) -> None:
    """In a repository of its own, so that no result and no machine file lands in the checkout or at home."""
    repository = tmp_path / "repository"
    (repository / "harness").mkdir(parents=True)
    shutil.copy(ROOT / "asv.conf.json", repository)
    shutil.copytree(ROOT / "harness" / "asv_benchmarks", repository / "harness" / "asv_benchmarks")
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "CROSSFADE_ASV_ROUNDS": "1",
        **{f"GIT_{who}_{what}": "asv@test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }

    def tried(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=repository, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def run(*command: str, tries: int = 1) -> str:
        done = tried(*command)
        # Other tests run beside this one: a block that they disturb gets no number, and rightly.
        while done.returncode and "unstable" in done.stdout and tries > 1:
            tries, done = tries - 1, tried(*command)
        assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    run("git", "init", "--quiet", "--initial-branch=main")
    run("git", "add", ".")
    run("git", "commit", "--quiet", "--message=One point")
    commit = run("git", "rev-parse", "HEAD")
    run(str(ASV), "machine", "--yes")
    here = f"--environment=existing:{sys.executable}"
    told = run(str(ASV), "run", "--show-stderr", here, f"--set-commit-hash={commit}", tries=3)
    run(str(ASV), "publish")

    results = [p for p in (repository / ".asv" / "results").glob("*/*.json") if p.name.startswith(commit[:8])]
    assert len(results) == 1, told
    (values, params, *_) = json.loads(results[0].read_text())["results"]["gateway.GatewayEcho.track_time_per_request"]
    measured = dict(zip([name.strip("'") for name in params[0]], values, strict=True))
    everywhere = [v.name for v in VARIANTS.values() if not v.measured_in and missing(v.name) is None]
    assert everywhere
    assert all(measured[name] > 0 for name in everywhere), measured
    assert (repository / ".asv" / "html" / "index.html").exists()
    assert list((repository / ".asv" / "html" / "graphs").rglob("gateway.GatewayEcho.track_cpu_per_request.json"))
