"""The Python and the numba cores reproduce every vector exactly.

``impls/rust/core/tests/vectors.rs`` holds the Rust cores to it.
"""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from tests.vectors.agreement import NOT_IN_NUMBA

from crossfade.impls.cores.bundle import PYTHON_CORES, Cores
from crossfade.impls.cores.replay import Replayer
from crossfade.impls.cores_numba.bundle import NUMBA_CORES

FOLDER = Path(__file__).parents[2] / "impls" / "vectors"


def load() -> list[tuple[str, str, dict[str, Any]]]:
    """(kind, file/id, vector) of every line of every file."""
    found = []
    for path in sorted(FOLDER.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            vector = json.loads(line)
            if "steps" not in vector:  # of the relay, see ENVELOPE.md: tests/impls_python replays them
                continue
            found.append((path.stem.split("-")[0], f"{path.stem}/{vector['id']}", vector))
    return found


VECTORS = load()


REPLAYS = [
    pytest.param(cores, kind, vector, id=f"{cores.name}-{name}")
    for kind, name, vector in VECTORS
    for cores in (PYTHON_CORES, NUMBA_CORES)
    if cores is PYTHON_CORES or kind not in NOT_IN_NUMBA
]


@pytest.mark.parametrize(("cores", "kind", "vector"), REPLAYS)
def test_reproduces(cores: Cores, kind: str, vector: dict[str, Any]) -> None:
    core = Replayer(kind, vector["config"], vector["seed"], cores)
    for number, step in enumerate(vector["steps"]):
        found = core.step(step["at_ns"], step["op"], step["args"])
        assert found == step["expect"], f"step {number}: {step}"


def test_ids_are_unique_and_time_never_runs_backwards() -> None:
    names = [name for _, name, _ in VECTORS]
    assert len(set(names)) == len(names)
    for _, name, vector in VECTORS:
        times = [step["at_ns"] for step in vector["steps"]]
        assert times == sorted(times), name


def test_the_generated_walks_are_what_the_generator_writes() -> None:
    for name, content in runpy.run_path(str(Path(__file__).with_name("generate.py")))["generated"]():
        assert (FOLDER / name).read_text() == content, f"{name} is stale; run python -m tests.vectors.generate"


def test_the_walks_reach_every_decision() -> None:
    seen = {
        (action[0], action[2] if action[0] in ("close", "reject") else "")
        for kind, name, vector in VECTORS
        if kind == "pool" and "generated" in name
        for step in vector["steps"]
        if step["op"] not in ("counts", "try_acquire", "take", "next_deadline_ns")
        for action in step["expect"]
    }
    closes = {("close", reason) for reason in ("idle", "max_age", "unusable", "draining", "shrunk")}
    rejects = {("reject", reason) for reason in ("queue_full", "deadline", "connect_failed", "draining")}
    assert seen == {("connect", ""), ("grant", "")} | closes | rejects
    states = {s["expect"] for k, _, v in VECTORS if k == "breaker" for s in v["steps"] if s["op"] == "state"}
    assert states == {"closed", "open", "half_open"}


def test_an_unknown_operation_is_not_passed_over() -> None:
    with pytest.raises(KeyError):
        Replayer("rng", {}, 0).step(0, "nope")
