"""memray explains and never supplies a number: its block is one more, which no figure comes from."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.fabricated import make_results

from crossfade.harness.affinity import available, place
from crossfade.harness.cli import run
from crossfade.harness.executor import LocalExecutor
from crossfade.harness.measure import Bench, Measured
from crossfade.harness.problems import BlockFailed, UsageError
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
    monkeypatch.setattr("crossfade.harness.cli.run.subprocess.run", flamegraph)
    return seen


def explained(tmp_path: Path, *selectors: str) -> Any:
    executor = LocalExecutor(placement=place(available()), generator="python")
    return run.explain(make_results(1, flaws=False), select(selectors), executor, Store(tmp_path, "run"))


def test_the_flamegraph_is_attached_and_no_figure_changes(drawn: dict[str, Any], tmp_path: Path) -> None:
    before = make_results(1, flaws=False)
    after = explained(tmp_path, "gateway-echo")
    assert drawn["trace"] is not None
    assert "flamegraph" in drawn["argv"]
    assert [a.what for a in after.attachments] == ["memray flamegraph"]
    assert after.blocks == before.blocks
    assert analyse(after) == analyse(before)
    assert load(tmp_path / "run").attachments == after.attachments


def test_a_flamegraph_that_was_not_drawn_is_an_error_that_says_why(drawn: dict[str, Any], tmp_path: Path) -> None:
    drawn["code"] = 1
    with pytest.raises(BlockFailed, match="no such trace"):
        explained(tmp_path, "gateway-echo")
    with pytest.raises(UsageError, match="select gateway-echo"):
        explained(tmp_path, "policy-ops")
