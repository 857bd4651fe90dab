"""Counts of instructions: the same twice, and a missing tool is an error with the way out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from tests.fabricated import make_results
from tests.unavailable import needs

from crossfade.harness import environment
from crossfade.harness import instructions as instructions_
from crossfade.harness.cli import main
from crossfade.harness.instructions import count, total
from crossfade.harness.problems import EX_UNAVAILABLE, EX_USAGE, BlockFailed
from crossfade.harness.samples import Environment
from crossfade.harness.store import load, write


def counted(monkeypatch: pytest.MonkeyPatch, start: int = 1_000_000, each: int = 120) -> list[str]:
    """In place of callgrind: every process takes ``start`` instructions and ``each`` per iteration. Notes the code."""
    ran: list[str] = []

    def run(valgrind: str, fixed: Sequence[str], code: str) -> int:
        assert fixed[-1] == "-R"
        ran.append(code)
        return start + each * int(code.split(",")[1])

    monkeypatch.setattr(instructions_, "tools", lambda: (shutil.which("true") or "true", ("setarch", "x", "-R")))
    monkeypatch.setattr(instructions_, "_run", run)
    return ran


def test_start_and_preparation_cancel_out(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = counted(monkeypatch)
    found = count(("python", "rust"), ("breaker",), lambda _: None)
    assert [(c.core, c.operation, c.size, c.per_operation) for c in found.counts] == [
        ("python", "breaker", 100, 120.0),
        ("rust", "breaker", 100, 120.0),
    ]
    assert len(ran) == 4


def test_the_total_is_read_from_either_line_that_callgrind_writes() -> None:
    assert total("events: Ir\nsummary: 123\n") == total("fn=x\ntotals: 123\n") == 123
    with pytest.raises(BlockFailed, match="no total"):
        total("events: Ir\n")


def test_without_valgrind_the_way_out_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert main(["instructions", "--core", "python"]) == EX_UNAVAILABLE
    assert "apt-get install valgrind" in capsys.readouterr().err
    assert main(["instructions", "--operation", "nothing"]) == EX_USAGE


def test_counts_are_kept_with_a_result_of_this_machine_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counted(monkeypatch)
    results = make_results()
    write(tmp_path / "results.json", msgspec.json.encode(results))
    assert main(["instructions", "--core", "python", "--into", str(tmp_path)]) == EX_USAGE
    assert "this machine differs" in capsys.readouterr().err

    def here() -> Environment:
        return results.environment

    monkeypatch.setattr(environment, "collect", here)
    ordered = ["instructions", "--core", "python", "--operation", "route", "--into", str(tmp_path), "--json"]
    assert main(ordered) == 0
    kept = load(tmp_path).instructions
    assert kept is not None
    assert json.loads(capsys.readouterr().out)["counts"][0]["per_operation"] == kept.counts[0].per_operation == 120.0


@pytest.mark.slow
def test_callgrind_counts_the_same_twice() -> None:
    needs(valgrind="valgrind")
    first, second = (count(("python",), ("breaker",), lambda _: None).counts[0].per_operation for _ in range(2))
    assert first == pytest.approx(second, rel=0.002)
    assert first > 100
