"""Several managers under one load: what they are asked for, what is made of it, and a short run of real ones."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from tests.fabricated import make_point

from crossfade.harness.affinity import available, place
from crossfade.harness.executor import LocalExecutor, Task
from crossfade.harness.measure import nodes
from crossfade.harness.samples import LoadPoint, Slot
from crossfade.impls import missing
from crossfade.scenarios import Nodes, ScenarioError, builtin, parse

GOOD = """
name = "few"
title = "Few"
summary = "Two nodes."
kind = "nodes"
headline = ["cpu_us_per_request"]
[load]
connections = 4
[nodes]
counts = [1, 2]
[profiles]
quick = { rounds = 2, duration_s = 0.4, warmup_s = 0.1 }
standard = { rounds = 2 }
full = { rounds = 2 }
"""
BROKEN = {
    "falling": (GOOD.replace("[1, 2]", "[2, 1]"), "counts must rise"),
    "too few connections": (GOOD.replace("connections = 4", "connections = 1"), "load.connections is less"),
    "rates in a closed loop": (GOOD.replace("[1, 2]", "[1, 2]\nrates_per_s = [10]"), "belong together"),
    "no rates": (GOOD.replace("connections = 4", 'connections = 4\nmode = "open"'), "belong together"),
    "a rate of the load's own": (
        GOOD.replace("connections = 4", 'connections = 4\nmode = "open"\nrate_per_s = 5'),
        "nodes.rates_per_s",
    ),
    "nothing left": (GOOD.replace("[1, 2]", "[1, 2]\nrates_per_s = [10]\nmost_per_s = 2"), "without a rate"),
}


@pytest.mark.parametrize(("text", "says"), BROKEN.values(), ids=BROKEN.keys())
def test_impossible_nodes_are_refused_by_name(text: str, says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        parse(text, source="few.toml")


def test_a_count_is_asked_for_what_its_nodes_may_have() -> None:
    table = Nodes(counts=(1, 2, 4), rates_per_s=(400.0, 1200.0, 2400.0), most_per_s=1200.0)
    assert [table.rates(count) for count in table.counts] == [(400, 1200), (400, 1200, 2400), (400, 1200, 2400)]
    assert Nodes(counts=(1, 16)).rates(16) == (None,)


def point(count: int, cpu_us: float, rate: float | None = None, **changes: Any) -> LoadPoint:
    mode: Any = "closed" if rate is None else "open"
    found = make_point(random.Random(1), mode=mode, connections=16, rate=rate, throughput=9000, median_us=900)
    return msgspec.structs.replace(found, nodes=count, cpu_us_per_request=cpu_us, **changes)


def test_growth_compares_the_most_nodes_with_one_at_the_same_rate() -> None:
    closed = nodes.conclude([point(1, 20.0), point(4, 22.0), point(16, 25.0)])
    assert closed.metrics["nodes_cpu_ratio"] == pytest.approx(1.25)
    assert closed.metrics["cpu_us_per_request"] == 25.0
    opened = nodes.conclude([point(1, 50.0, 400), point(1, 40.0, 1200), point(2, 90.0, 400), point(2, 44.0, 1200)])
    assert opened.metrics["nodes_cpu_ratio"] == pytest.approx(1.1)
    assert "nodes_cpu_ratio" not in nodes.conclude([point(1, 20.0), point(2, 22.0, 400)]).metrics


def test_passes_are_told_together() -> None:
    passes = [point(n, cpu, 400) for n, cpu in ((1, 40.0), (4, 50.0), (4, 70.0), (1, 60.0))]
    found = nodes.conclude(passes)
    assert found.metrics["cpu_us_per_request"] == pytest.approx(60.0)
    assert found.metrics["nodes_cpu_ratio"] == pytest.approx(1.2)
    assert len(found.points) == 4


def test_a_doubtful_phase_voids_the_block_and_says_which() -> None:
    found = nodes.conclude([point(1, 20.0), point(2, 22.0, mismatches=1)])
    assert found.void is not None
    assert found.void.startswith("2 nodes: ")
    late = nodes.conclude([point(1, 20.0, 400, missed_sends=5000)])
    assert late.void is not None
    assert late.void.startswith("1 node at 400/s: ")


@pytest.mark.slow
@pytest.mark.parametrize("variant", [v for v in ("python", "rust") if missing(v) is None])
@pytest.mark.parametrize(("passes", "asked"), [(1, [1, 2]), (2, [1, 2, 2, 1])])
def test_two_real_nodes_share_the_load_and_both_are_billed(variant: str, passes: int, asked: list[int]) -> None:
    executor = LocalExecutor(placement=place(available()), generator="rust" if missing("rust") is None else "python")
    slot = Slot(scenario="few", round=0, position=0, variant=variant)
    few = parse(GOOD.replace("[1, 2]", f"[1, 2]\npasses = {passes}"), source="few.toml")
    found = executor.block(Task(scenario=few, profile="quick", slot=slot, seed=5, hash_seed=6))
    assert found.status != "failed", found.error
    assert [p.nodes for p in found.points] == asked
    assert {p.connections for p in found.points} == {4}
    assert all(p.completed and p.cpu_us_per_request and p.fleet_cpu_us_per_request for p in found.points)
    assert found.errors == {}


def test_the_builtin_scenarios_say_that_two_cores_cannot_show_scaling() -> None:
    assert "two cores cannot show scaling" in " ".join(builtin()["nodes"].summary.split())
