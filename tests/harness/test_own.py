"""A user's own parts, for real: variants that packages bring by entry point, gateways by command and by URL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossfade.harness.cli import main
from crossfade.harness.proxies import free_port
from crossfade.harness.samples import Results
from crossfade.harness.store import load
from crossfade.impls import find_variant, missing, variant_names, variants
from crossfade.impls.errors import VariantUnavailable

ROOT = Path(__file__).parents[2]
GOOD = """
import dataclasses
import pathlib
import threading
from crossfade.impls import Variant
from crossfade.impls.python.manager import PythonManager
class Mine(PythonManager):
    pass
MINE = Variant(name="mine", shell="asyncio", core="python", factory="own_parts:Mine", needs=(),
               install="pip install own", capabilities=frozenset({"gateway", "http", "modern", "legacy", "in_process"}),
               description="a package's")
class Crashes(PythonManager):
    def __init__(self, config):
        raise RuntimeError("no licence for this machine")
class CrashesLater(PythonManager):
    def __init__(self, config):
        with pathlib.Path(__file__).with_name("starts").open("a+") as starts:
            starts.write(".")
            starts.seek(0)
            # Parity is the first, and the first round the second.
            if len(starts.read()) > 2:
                raise RuntimeError("no third start with this licence")
        super().__init__(config)
class Hangs(PythonManager):
    def __init__(self, config):
        threading.Event().wait()
CRASHES, CRASHES_LATER, HANGS = (
    dataclasses.replace(MINE, name=name, factory="own_parts:" + factory)
    for name, factory in (("crashes", "Crashes"), ("crashes-later", "CrashesLater"), ("hangs", "Hangs"))
)
"""
POINTS = {
    "mine": "own_parts:MINE",
    "crashes": "own_parts:CRASHES",
    "crashes-later": "own_parts:CRASHES_LATER",
    "hangs": "own_parts:HANGS",
    "other-name": "own_parts:MINE",
    "no-variant": "own_parts:Mine",
    "crashing": "own_crash:MINE",
    "gone": "own_nowhere:MINE",
    "rust": "own_parts:MINE",
}
SCENARIO = """
name = "tiny"
title = "Tiny"
summary = "As short as it can be."
kind = "{kind}"
needs = ["gateway", "http", "modern"]
headline = ["{metric}"]
{tables}
[profiles]
quick = {{ rounds = 2, duration_s = 0.4, warmup_s = 0.1 }}
standard = {{ rounds = 2 }}
full = {{ rounds = 2 }}
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package with entry points, seen by this process and those it starts."""
    (tmp_path / "own_parts.py").write_text(GOOD)
    (tmp_path / "own_crash.py").write_text("raise RuntimeError('not on a Sunday')")
    info = tmp_path / "own_parts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-parts\nVersion: 1.0\n")
    lines = "\n".join(f"{name} = {value}" for name, value in POINTS.items())
    (info / "entry_points.txt").write_text(f"[crossfade.variants]\n{lines}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    variants._brought.cache_clear()
    yield tmp_path
    variants._brought.cache_clear()


def test_a_package_brings_a_variant_and_never_shadows_ours(packages: Path) -> None:
    assert variant_names()[4:] == tuple(sorted(set(POINTS) - {"rust"}))
    assert find_variant("mine").description == "a package's"
    assert find_variant("rust").factory.startswith("crossfade.")
    assert missing("mine") is None


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("other-name", "of that name"),
        ("no-variant", "must be a crossfade.impls.Variant"),
        ("crashing", "RuntimeError: not on a Sunday"),
        ("gone", "No module named 'own_nowhere'"),
    ],
)
def test_a_broken_entry_point_is_the_error_of_who_asks_for_it(
    name: str, says: str, packages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(VariantUnavailable, match=says):
        find_variant(name)
    assert main(["run", "gateway-echo", "--impl", name]) == 69
    said = capsys.readouterr().err
    assert says in said
    assert "own-parts" in said
    assert main(["list", "impls", "--json"]) == 0
    listed = {i["name"]: i["missing"] for i in json.loads(capsys.readouterr().out)}
    assert says in listed[name]
    assert listed["mine"] is None


def write(folder: Path, kind: str = "throughput", metric: str = "throughput_per_s", tables: str = "") -> Path:
    path = folder / "tiny.toml"
    path.write_text(SCENARIO.format(kind=kind, metric=metric, tables=tables or "[load]\nconnections = 4"))
    return path


def run(folder: Path, *options: str, scenario: Path | None = None) -> tuple[int, Results, str]:
    command = [sys.executable, "-m", "crossfade.harness.cli", "run", str(scenario or write(folder))]
    command += ["--profile", "quick", "--no-selftest", "--no-report", "--limits", "none", "--out", str(folder / "out")]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False, timeout=110, cwd=ROOT, env=os.environ
    )
    return done.returncode, load(folder / "out" / "latest"), done.stderr


def bad(flaw: str) -> str:
    return f"{flaw}={sys.executable} -m tests.harness.miniatures {flaw} {{port}} {{upstream}}"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The miniatures can be imported wherever a gateway is started."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))


@pytest.mark.slow
def test_a_packages_variant_is_measured_like_ours(packages: Path, tmp_path: Path) -> None:
    code, results, said = run(tmp_path, "--impl", "python", "--impl", "mine")
    assert code == 0, said
    assert {b.variant for b in results.of("tiny")} == {"python", "mine"}
    assert results.parity[0].ok


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_a_gateway_by_command_is_measured_in_the_same_rounds(tmp_path: Path) -> None:
    code, results, said = run(tmp_path, "--impl", "python", "--command", bad("none"))
    assert code == 0, said
    assert results.candidates == ("none",)
    for block in results.of("tiny", "none", only_ok=False):
        assert block.status != "failed", block.error
        assert block.metrics["cpu_us_per_request"] > 1
    assert "started for every block" in next(v.description for v in results.variants if v.name == "none")


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_the_memory_of_a_gateway_by_command_is_its_trees(tmp_path: Path) -> None:
    ladder = write(tmp_path, "memory_clients", "slope_kib", "[load]\n[ladder]\nrungs = [0, 50, 100]\nsettle_s = 0.1")
    code, results, said = run(tmp_path, "--impl", "python", "--command", bad("leaks-per-connection"), scenario=ladder)
    assert code == 0, said
    for block in results.of("tiny", "leaks-per-connection"):
        # 64 KiB are kept of each; the connection itself costs less than half as much again.
        assert 64 < block.metrics["slope_kib"] < 96


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_a_gateway_by_url_is_measured_before_the_fleet_at_the_port_that_was_agreed(tmp_path: Path) -> None:
    port, fleet = free_port(), free_port()
    command = [sys.executable, "-m", "tests.harness.miniatures", "none", str(port), f"http://127.0.0.1:{fleet}/mcp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as gateway:
        try:
            assert gateway.stdout is not None
            gateway.stdout.readline()
            code, results, said = run(
                tmp_path, "--impl", "python", f"--url=there=http://127.0.0.1:{port}/mcp", "--fleet-port", str(fleet)
            )
        finally:
            gateway.kill()
    assert code == 0, said
    blocks = results.of("tiny", "there", only_ok=False)
    assert all(block.status != "failed" for block in blocks), [b.error for b in blocks]
    # It runs on this machine, so that whoever listens there can be clocked.
    assert all(block.metrics["cpu_us_per_request"] > 1 for block in blocks)


FAILING = {
    "dies-at-start": "no configuration for today",
    "deaf": "did not serve the fleet's tools within",
    "malformed": "and neither result nor error is an object",
}


@pytest.mark.slow
@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("flaw", FAILING)
def test_what_does_not_start_or_gives_no_result_is_blamed_alone_and_the_rest_is_kept(flaw: str, tmp_path: Path) -> None:
    code, results, said = run(tmp_path, "--impl", "python", "--command", bad(flaw), "--start-timeout", "4")
    assert code == 70
    assert "Traceback" not in said
    assert FAILING[flaw] in said
    assert results.complete
    assert {b.variant for b in results.of("tiny")} == {"python"}
    refused = results.of("tiny", flaw, only_ok=False)
    assert all(b.status == "failed" and FAILING[flaw] in (b.error or "") for b in refused)
    assert results.parity[0].blamed == (flaw,)


STARTLESS = {
    "crashes": "no licence for this machine",
    "hangs": "silent while waiting 4 s for 'ready'",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STARTLESS)
@pytest.mark.parametrize("kind", ["throughput", "calls"])
def test_a_variant_that_does_not_start_is_blamed_alone_and_everything_else_is_kept(
    kind: str, name: str, packages: Path, tmp_path: Path
) -> None:
    scenario = write(tmp_path, kind)
    options = ("--impl", "python", "--impl", name, "--start-timeout", "4")
    code, results, said = run(tmp_path, *options, scenario=scenario)
    assert code == 70, said
    assert "Traceback" not in said
    assert STARTLESS[name] in said
    assert results.complete
    assert {b.variant for b in results.of("tiny")} == {"python"}
    refused = results.of("tiny", name, only_ok=False)
    assert [(b.status, STARTLESS[name] in (b.error or "")) for b in refused] == [("failed", True)] * 2
    assert results.parity[0].blamed == (name,)


@pytest.mark.slow
def test_a_variant_that_crashes_in_the_second_round_loses_that_block_and_no_other(
    packages: Path, tmp_path: Path
) -> None:
    _, results, said = run(tmp_path, "--impl", "python", "--impl", "crashes-later")
    assert "Traceback" not in said
    assert results.complete
    assert results.parity[0].ok
    failed = [b for b in results.blocks if b.status == "failed"]
    assert [(b.variant, b.round) for b in failed] == [("crashes-later", 1)], said
    assert "no third start with this licence" in (failed[0].error or "")
    kept = [b for b in results.blocks if b.status != "failed"]
    assert len(kept) == 3
    assert all(b.metrics["throughput_per_s"] > 0 for b in kept)


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_a_run_in_which_somebody_answers_wrongly_is_an_error_and_keeps_its_figures(tmp_path: Path) -> None:
    scenario = write(tmp_path, tables="[load]\nconnections = 4\ncheck_every = 1")
    # Every 200th answer is wrong: so long that there are some.
    scenario.write_text(scenario.read_text().replace("duration_s = 0.4", "duration_s = 1.5"))
    code, results, said = run(tmp_path, "--impl", "python", "--command", bad("wrong"), scenario=scenario)
    assert code == 70, said
    wrong = results.of("tiny", "wrong", only_ok=False)
    assert [b.status for b in wrong] == ["void"] * 2
    for block in wrong:
        assert "did not match their request" in (block.error or "")
        assert sum(point.mismatches for point in block.points) > 0
    assert all(b.status != "failed" for b in results.of("tiny", "python", only_ok=False))
    assert results.complete
