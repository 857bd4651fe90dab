"""Real processes end to end: a short run of every kind, an interrupt, a missing part, a variant that dies."""

from __future__ import annotations

import json
import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.running import alive, below, running

from crossfade.harness import planted
from crossfade.harness.affinity import available, place
from crossfade.harness.environment import nginx_path
from crossfade.harness.executor import LocalExecutor, Task
from crossfade.harness.measure import bench
from crossfade.harness.measure.bench import LAYOUT
from crossfade.harness.processes import Child
from crossfade.harness.samples import Block, Slot
from crossfade.harness.stats import analyse
from crossfade.harness.store import load
from crossfade.impls import missing
from crossfade.scenarios import Scenario, parse

pytestmark = pytest.mark.slow

GENERATOR = "rust" if missing("rust") is None else "python"
VARIANTS = [v for v in ("python", "rust") if missing(v) is None]
HEAD = """
name = "short"
title = "Short"
summary = "As short as it can be."
headline = [{metrics}]
kind = "{kind}"
limits = ["ceiling"]
[profiles]
quick = {{ rounds = 2, duration_s = {duration_s}, warmup_s = 0.1 }}
standard = {{ rounds = 2, duration_s = {duration_s} }}
full = {{ rounds = 2, duration_s = {duration_s} }}
"""
KINDS = {
    "throughput": ('"throughput_per_s"', "[load]\nconnections = 4\n", 0.4),
    "calls": ('"throughput_per_s"', "[load]\nconnections = 4\n", 0.4),
    "sweep": (
        '"knee_per_s"',
        '[load]\nmode = "open"\n[sweep]\nfrom_per_s = 200\nto_per_s = 400\nobjective_p99_ms = 500\nrefine = 1\n',
        2.5,
    ),
    "memory_clients": ('"slope_kib"', "[load]\n[ladder]\nrungs = [0, 50, 200]\nsettle_s = 0.1\n", 0.4),
    "memory_upstreams": (
        '"slope_kib"',
        "[load]\n[ladder]\nrungs = [0, 20, 60]\nsettle_s = 0.1\nhold_ms = 1500\n[manager.pool]\nmaxConnections = 300\n",
        0.4,
    ),
    "ops": (
        '"route_ns", "breaker_ns", "pool_checkout_ns", "register_us", "health_us"',
        "",
        0.4,
    ),
    "faults": (
        '"failed_requests"',
        '[load]\nmode = "open"\nrate_per_s = 200\n[faults]\ncrash_at_s = 0.3\nrecover_at_s = 0.6\n'
        "[manager.breaker]\nopenMs = 200\n",
        3.0,
    ),
}


def scenario(kind: str, extra: str = "") -> Scenario:
    metrics, tables, duration_s = KINDS[kind]
    return parse(HEAD.format(kind=kind, metrics=metrics, duration_s=duration_s) + tables + extra, source="short")


def block(short: Scenario, variant: str) -> Block:
    executor = LocalExecutor(placement=place(available()), generator=GENERATOR)
    slot = Slot(scenario="short", round=0, position=0, variant=variant)
    return executor.block(Task(scenario=short, profile="quick", slot=slot, seed=5, hash_seed=6))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_block_of_every_kind_yields_its_metrics(kind: str, variant: str) -> None:
    short = scenario(kind)
    found = block(short, variant)
    # A machine that is busy with other tests may void a block. It may not fail one, nor make an answer wrong.
    assert found.status != "failed", found.error
    assert msgspec.json.decode(msgspec.json.encode(found), type=Block) == found, "stored, it could not be read again"
    assert "did not match" not in (found.error or "")
    if found.status == "ok":
        assert set(short.headline) <= found.metrics.keys()
        assert all(value >= 0 for value in found.metrics.values())
    if kind == "ops":
        assert found.metrics["spans_percent"] > 0, "spans cost nothing: none was made"
    if kind in ("throughput", "calls"):
        assert [p.mode for p in found.points] == ["closed"], "whoever reads the figure learns which loop it is of"
        assert found.metrics["cpu_us_per_request"] > 1
        assert found.errors == {}
    else:
        assert {p.mode for p in found.points} <= {"open"}


TURNS = "duration_s = {duration_s}, warmup_s = 0.1, turns = 2"


@pytest.mark.parametrize("turned", [False, True], ids=["blocks", "rounds in turns"])
def test_no_process_of_a_block_lives_on_in_the_next(turned: bool, started: list[Child]) -> None:
    metrics, tables, duration_s = KINDS["throughput"]
    head = HEAD.replace("duration_s = {duration_s}, warmup_s = 0.1", TURNS) if turned else HEAD
    short = parse(head.format(kind="throughput", metrics=metrics, duration_s=duration_s) + tables, source="short")
    executor = LocalExecutor(placement=place(available()), generator=GENERATOR)
    pids: set[int] = set()
    for number in range(2):
        slots = [Slot(scenario="short", round=number, position=0, variant=v) for v in ("python", "ceiling")]
        tasks = [Task(scenario=short, profile="quick", slot=slot, seed=5, hash_seed=6) for slot in slots]
        found = executor.in_turns(tasks) if turned else [executor.block(task) for task in tasks]
        assert [b.error for b in found if b.status == "failed"] == []
        # The ceiling has no variant.
        assert sorted(child.what for child in started) == ["fleet", "fleet", "load", "load", "variant 'python'"]
        assert all(child.process.poll() is not None for child in started)
        mine = {child.pid for child in started}
        assert len(mine) == 5
        assert not mine & pids
        pids |= mine
        started.clear()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_stdio_upstream_is_measured_and_leaves_no_child(variant: str) -> None:
    found = block(scenario("throughput", '[upstream]\ntransport = "stdio"\n'), variant)
    assert found.status != "failed", found.error
    assert running("crossfade.harness.fleet --stdio") == []


def test_the_ceiling_is_measured_without_a_manager() -> None:
    found = block(scenario("throughput"), "ceiling")
    assert found.status != "failed", found.error
    assert found.kind == "limit"


BAD = {
    "answers wrongly": ({"lie_rate": 0.02}, "did not match"),
    "drops requests": ({"error_rate": 0.05, "error_kind": "reset"}, "requests failed"),
    "fails in JSON-RPC": ({"error_rate": 0.05, "error_kind": "rpc"}, "requests failed"),
    "fails in HTTP": ({"error_rate": 0.05, "error_kind": "http"}, "requests failed"),
}


@pytest.mark.parametrize(("flaw", "says"), BAD.values(), ids=BAD.keys())
def test_a_fast_but_bad_target_is_convicted(flaw: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = bench.fleet_config
    monkeypatch.setattr(bench, "fleet_config", lambda *told: {**honest(*told), **flaw})
    # The warm-up would find it first, and rightly; here the load itself has to.
    monkeypatch.setattr("crossfade.harness.measure.bench.warm", lambda *_, **__: None)
    found = block(scenario("throughput"), "ceiling")
    assert found.status == "void"
    assert says in (found.error or "")


def test_a_variant_that_cannot_start_is_a_failed_block_with_the_reason() -> None:
    found = block(scenario("throughput", "[manager]\nlazy = true\ncolour = 1\n"), "python")
    assert found.status == "failed"
    assert found.error is not None
    assert "colour" in found.error


def crossfade(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "crossfade.harness.cli", *arguments]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "short.toml"
    metrics, tables, _ = KINDS["throughput"]
    path.write_text(HEAD.format(kind="throughput", metrics=metrics, duration_s=0.5) + tables)
    return path


def test_a_whole_run_from_command_to_report(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    command = crossfade("run", str(own), "--impl", "python", "--profile", "quick", "--seed", "9", "--out", str(out))
    done = subprocess.run(
        [*command, "--no-selftest", "--json"], capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    results = load(said["results"])
    assert results == load(out / "latest")
    assert results.complete
    assert [b.variant for b in results.blocks] == [s.variant for s in results.order]
    assert results.command[-4:] == ("--out", str(out), "--no-selftest", "--json")
    assert Path(said["report"]).stat().st_size > 10_000
    assert "Throughput is a closed loop at saturation" in Path(said["report"]).read_text()
    assert [x for x in analyse(results).lost if x.status == "failed"] == []


def test_ctrl_c_keeps_whole_blocks_says_how_to_go_on_and_leaves_no_process(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    command = crossfade(
        "run", str(own), "--impl", "python", "--profile", "quick", "--rounds", "20", "--no-report", "--out", str(out)
    )
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (out / "latest" / "results.json").exists() or len(load(out / "latest").blocks) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # Between two blocks there is nobody: load, variant and fleet are what an interrupt could leave behind.
    while len(started := below(run.pid)) < 3:
        assert time.monotonic() < deadline
    os.kill(run.pid, signal.SIGINT)
    _, said = run.communicate(timeout=30)
    assert run.returncode == 130
    assert "go on:" in said
    assert "Traceback" not in said
    kept = load(out / "latest")
    assert not kept.complete
    assert 2 <= len(kept.blocks) < 40
    assert all(b.status != "failed" for b in kept.blocks)
    assert [pid for pid in started if alive(pid)] == []


def environment(pid: int) -> dict[str, str]:
    """What a process was started with."""
    deadline = time.monotonic() + 5
    # Empty for a moment: a program is told of before its stack is.
    while not (told := Path(f"/proc/{pid}/environ").read_text()):
        assert time.monotonic() < deadline, f"process {pid} has no environment"
    return dict(entry.split("=", 1) for entry in told.split("\0") if "=" in entry)


@pytest.mark.parametrize("variant", ["python", "relay", *(["nginx"] if nginx_path() else [])])
def test_every_process_of_a_block_has_the_hash_seed_and_the_layout_that_were_drawn(
    variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that is brought and nginx, too: a longer name would move what lies behind it by as much each time."""
    relay = next(g for g in planted.gateways() if g.name == planted.HONEST)
    found: dict[str, dict[str, str]] = {}
    begin = Child.__init__

    def recorded(self: Child, what: str, *args: Any, **more: Any) -> None:
        begin(self, what, *args, **more)
        found[what] = environment(self.pid)

    monkeypatch.setattr(Child, "__init__", recorded)
    short = scenario("throughput")
    executor = LocalExecutor(
        placement=place(available()),
        generator=GENERATOR,
        gateways=(msgspec.structs.replace(relay, name="relay"),),
    )
    lengths = set()
    for seed in (7, 4000, 3 * mmap.PAGESIZE + 40):
        slot = Slot(scenario="short", round=0, position=0, variant=variant)
        block = executor.block(Task(scenario=short, profile="quick", slot=slot, seed=5, hash_seed=seed))
        assert block.status != "failed", block.error
        assert len(found) == 3, found.keys()
        assert {env["PYTHONHASHSEED"] for env in found.values()} == {str(seed)}
        (length,) = {len(env[LAYOUT]) for env in found.values()}
        lengths.add(length)
    assert lengths == {7, 4000, 40}
