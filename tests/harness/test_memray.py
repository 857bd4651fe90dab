"""memray explains and never supplies a number: its block is one more, which no figure comes from."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.fabricated import make_results

from crossfade.harness.affinity import available, place
from crossfade.harness.cli import flamegraph, main
from crossfade.harness.executor import LocalExecutor
from crossfade.harness.measure import Bench, Measured
from crossfade.harness.problems import BlockFailed
from crossfade.harness.stats import analyse
from crossfade.harness.store import Store, load
from crossfade.scenarios import select


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a traced block would have yielded, and what is asked of memray."""
    seen: dict[str, Any] = {"code": 0}

    def measure(bench: Bench) -> Measured:
        seen["trace"] = bench.memray
        return Measured(metrics={"throughput_per_s": 1.0, "cpu_us_per_request": 1e9})

    def flamegraph(argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        seen["argv"] = argv
        return subprocess.CompletedProcess(argv, seen["code"], "", "no such trace")

    monkeypatch.setattr("crossfade.harness.measure.measure", measure)
    monkeypatch.setattr("crossfade.harness.cli.flamegraph.subprocess.run", flamegraph)
    return seen


def explained(tmp_path: Path) -> Any:
    executor = LocalExecutor(placement=place(available()), generator="python")
    scenarios = select(("gateway-echo",))
    return flamegraph.explain(make_results(1, flaws=False), scenarios, executor, Store(tmp_path, "run"))


def test_the_flamegraph_is_attached_and_no_figure_changes(drawn: dict[str, Any], tmp_path: Path) -> None:
    before = make_results(1, flaws=False)
    after = explained(tmp_path)
    assert drawn["trace"] is not None
    assert "flamegraph" in drawn["argv"]
    assert [a.what for a in after.attachments] == ["memray flamegraph"]
    assert after.blocks == before.blocks
    assert analyse(after) == analyse(before)
    assert load(tmp_path / "run").attachments == after.attachments


def test_a_flamegraph_that_was_not_drawn_says_why_and_costs_no_result(
    drawn: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn["code"] = 1
    assert explained(tmp_path) == make_results(1, flaws=False)
    assert "no flamegraph: memray drew no flamegraph: no such trace" in capsys.readouterr().err


@pytest.mark.parametrize("stop", [BlockFailed("the variant died"), KeyboardInterrupt()], ids=["failure", "ctrl-c"])
def test_a_traced_block_that_ends_early_costs_no_result(
    stop: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(bench: Bench) -> Measured:
        assert bench.memray is not None
        bench.memray.parent.mkdir(parents=True)
        bench.memray.write_bytes(b"half a trace")
        raise stop

    monkeypatch.setattr("crossfade.harness.measure.measure", measure)
    assert explained(tmp_path) == make_results(1, flaws=False)
    assert "no flamegraph: " in capsys.readouterr().err
    assert list((tmp_path / "run").iterdir()) == []


LACKING = {
    "a scenario": ("policy-ops", (), 64, "select gateway-echo"),
    "memray": ("gateway-echo", ("memray",), 69, "pip install 'crossfade[memray]'"),
}


@pytest.mark.parametrize("lacking", LACKING)
def test_what_memray_needs_is_looked_for_before_anything_is_measured(
    lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    selected, absent, code, says = LACKING[lacking]
    found = importlib.util.find_spec
    monkeypatch.setattr("crossfade.harness.cli.run.execute", lambda *_: pytest.fail("it measured"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else found(name))
    command = ["run", selected, "--impl", "python", "--profile", "quick", "--memray", "--out", str(tmp_path)]
    assert main([*command, "--limits", "none", "--generator", "python"]) == code
    assert says in capsys.readouterr().err


@pytest.mark.slow
def test_a_real_run_has_its_flamegraph_beside_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "crossfade.harness.cli", "run", "gateway-echo", "--impl", "python"]
    options = ["--profile", "quick", "--rounds", "2", "--limits", "none", "--no-selftest", "--memray"]
    done = subprocess.run([*command, *options, "--out", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = load(tmp_path / "latest")
    assert [a.what for a in results.attachments] == ["memray flamegraph"], done.stderr
    assert len(results.blocks) == 2
    page = (tmp_path / "latest" / results.attachments[0].path).read_text()
    assert "flamegraph" in page
    assert results.attachments[0].path in (tmp_path / "latest" / "report.html").read_text()
