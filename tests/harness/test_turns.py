"""The variants of a round in turns: who runs together, what is paired, and that one's failure is its own."""

from __future__ import annotations

import asyncio
import math
import random
import sys
from collections.abc import AsyncIterator
from typing import Any, cast

import msgspec
import pytest
from tests.fabricated import encode_hdr, make_point, make_results
from tests.harness.test_runner import MockExecutor, begin, go

from crossfade.harness import worker
from crossfade.harness.affinity import available, place
from crossfade.harness.executor import LocalExecutor, Task
from crossfade.harness.gateways import Gateway
from crossfade.harness.hdr import Histogram
from crossfade.harness.measure import turns
from crossfade.harness.plan import block_seconds
from crossfade.harness.samples import LoadPoint, Slot
from crossfade.harness.stats import log_ratios, midmean
from crossfade.impls import Manager
from crossfade.scenarios import Scenario, ScenarioError, parse

TOML = """
name = "{name}"
title = "Turned"
summary = "In turns."
kind = "{kind}"
headline = ["throughput_per_s"]
limits = ["ceiling"]
[load]
connections = 4
[profiles]
quick = {{ rounds = 2, duration_s = 0.3, warmup_s = 0.1, turns = 3 }}
standard = {{ rounds = 5 }}
full = {{ rounds = 9 }}
"""


def turned(kind: str = "throughput", name: str = "mock-0") -> Scenario:
    return parse(TOML.format(name=name, kind=kind), source="turned")


def test_the_variants_of_a_round_run_together_and_each_is_recorded() -> None:
    executor = MockExecutor()
    chosen = [turned()]
    saved: list[object] = []
    results = go(begin(chosen), chosen, executor, saved)  # type: ignore[arg-type]  # a list of anything
    assert len(executor.together) == 2
    assert all(sorted(names) == ["ceiling", "python", "rust"] for names in executor.together)
    assert [(b.round, b.variant) for b in results.blocks] == [(s.round, s.variant) for s in results.order]


def test_what_is_missing_of_a_round_is_measured_when_it_is_gone_on_with() -> None:
    executor, chosen = MockExecutor(), [turned()]
    whole = go(begin(chosen), chosen, MockExecutor(), [])
    part = msgspec.structs.replace(whole, complete=False, blocks=whole.blocks[:4])
    again = go(part, chosen, executor, [])
    assert len(again.blocks) == 6
    assert executor.together == [tuple(s.variant for s in whole.order[4:])]


def test_a_machine_that_changes_its_speed_between_turns_does_not_move_the_ratio() -> None:
    """Half as fast in most turns of one block than its own block average says: only pairs of turns see it."""
    full = make_results(1, rounds=2, flaws=False)
    rng = random.Random(5)
    blocks = []
    for block in full.blocks:
        if block.scenario == "gateway-echo" and block.variant in ("python", "rust"):
            speeds = [1.0 if turn % 3 else 0.5 for turn in range(12)]
            factor = 3.0 if block.variant == "rust" else 1.0
            each = [1000 * factor * speed * rng.lognormvariate(0, 0.001) for speed in speeds]
            each[4] *= 0.1 if block.variant == "rust" else 1.0  # it stood still
            mean = sum(each) / len(each)
            block = msgspec.structs.replace(  # noqa: PLW2901
                block, metrics={**block.metrics, "throughput_per_s": mean}, turns={"throughput_per_s": tuple(each)}
            )
        blocks.append(block)
    results = msgspec.structs.replace(full, blocks=tuple(blocks))
    for value in log_ratios(results, "gateway-echo", "throughput_per_s", "python", "rust"):
        assert value == pytest.approx(math.log(3.0), abs=0.01)


def test_the_middle_half_forgives_one_stall_and_keeps_twins_at_zero() -> None:
    assert midmean([1.0, 2.0, 3.0, 100.0]) == 2.5
    assert midmean([5.0]) == 5.0
    rng = random.Random(2)
    twins = [midmean([rng.gauss(0, 1) for _ in range(15)]) for _ in range(4000)]
    assert abs(sum(twins) / len(twins)) < 0.02
    with pytest.raises(ValueError, match="no values"):
        midmean([])


def test_turns_add_up_to_one_phase_with_merged_histograms() -> None:
    rng = random.Random(3)

    def point(throughput: float, latencies: list[int]) -> LoadPoint:
        made = make_point(rng, mode="closed", connections=4, rate=None, throughput=throughput, median_us=100)
        return msgspec.structs.replace(made, latency=encode_hdr(latencies), errors={"reset": 1}, duration_s=0.5)

    points = [point(1000, [1_000] * 300), point(3000, [9_000] * 300)]
    found = turns.together(points)
    assert found.throughput_per_s == pytest.approx(2000)
    assert found.duration_s == pytest.approx(1.0)
    assert found.completed == sum(p.completed for p in points)
    assert found.errors == {"reset": 2}
    assert Histogram.decode(found.latency).total_count == 600
    assert found.p99_us == pytest.approx(9.0, rel=1e-3)
    assert [p.completed for p in found.series] == [500, 1500]
    assert turns.per_turn(points)["throughput_per_s"] == (1000, 3000)


def test_what_slows_everybody_down_makes_nobody_unstable() -> None:
    rng = random.Random(3)

    def points(*rates: float) -> list[LoadPoint]:
        made = make_point(rng, mode="closed", connections=4, rate=None, throughput=100, median_us=100)
        return [msgspec.structs.replace(made, throughput_per_s=rate) for rate in rates]

    speeds = [1.0, 0.5, 0.6, 1.0, 0.4, 0.9]
    sat = [points(*(1000 * v for v in speeds)), points(*(3000 * v for v in speeds))]
    pace = turns.machine(sat)
    steady = [p.throughput_per_s / speed for p, speed in zip(sat[0], pace, strict=True)]
    assert max(steady) == pytest.approx(min(steady))
    assert turns.steadier(sat[0], pace) == pytest.approx(steady)
    # What does not follow the others is judged by itself.
    apart = points(*([5000.0] * 6))
    assert turns.steadier(apart, pace) == [5000.0] * 6
    assert turns.machine(sat[:1]) == [1.0] * 6
    assert turns.machine([points(1, 0), points(1, 1)])[1] == 1.0
    assert turns.machine([]) == []


class Remembering:
    """As much of a manager as calls need; it knows every question that it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    async def call_tool(self, tool: str, arguments: dict[str, Any], *, timeout_s: float) -> Any:
        self.asked.append((arguments["text"], arguments["n"]))
        await asyncio.sleep(0)
        return type("Answer", (), {"text": arguments["text"]})


def test_no_turn_asks_what_an_earlier_one_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a cache that goes by arguments would answer from the second turn on."""
    order = {"op": "calls", "tool": "up__echo", "payload_bytes": 16, "check_every": 1, "timeout_s": 1.0}
    order |= {"in_flight": 4, "warmup_s": 0.0, "duration_s": 0.01}
    said: list[Any] = []
    monkeypatch.setattr(worker, "emit", said.append)

    async def orders() -> AsyncIterator[dict[str, Any]]:
        for _ in range(3):
            yield order

    manager = Remembering()
    asyncio.run(worker.obey(cast("Manager", manager), orders()))
    results = [message for message in said if message["event"] == "result"]
    assert len(results) == 3
    assert all(result["completed"] > 4 and not result["mismatches"] for result in results)
    assert len({text for text, _ in manager.asked}) == len({n for _, n in manager.asked}) == len(manager.asked)


def test_the_estimate_counts_what_turns_cost() -> None:
    one = parse(TOML.format(name="t", kind="throughput").replace(", turns = 3", ""), source="t")
    assert block_seconds(turned(), "quick") > block_seconds(one, "quick")


def test_a_kind_that_cannot_take_turns_says_so() -> None:
    with pytest.raises(ScenarioError, match="can take turns"):
        parse(TOML.format(name="t", kind="connect") + "[connect]\n", source="t")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["throughput", "calls"])
def test_who_fails_leaves_the_others_their_turns(kind: str) -> None:
    gateway = Gateway(name="gone", command=f"{sys.executable} -c 'raise SystemExit(3)' {{port}} {{upstream}}")
    executor = LocalExecutor(placement=place(available()), generator="python", gateways=[gateway], start_s=15.0)
    scenario = turned(kind)
    tasks = [
        Task(
            scenario=scenario,
            profile="quick",
            slot=Slot(scenario="mock-0", round=0, position=position, variant=variant),
            seed=3,
            hash_seed=4,
        )
        for position, variant in enumerate(("gone", "python", "python~twin"))
        if kind == "throughput" or variant != "gone"
    ]
    found = {block.variant: block for block in executor.in_turns(tasks)}
    if kind == "throughput":
        assert found["gone"].status == "failed"
    for name in ("python", "python~twin"):
        assert found[name].status != "failed", found[name].error
        assert found[name].errors == {}
        assert len(found[name].turns["throughput_per_s"]) == 3
        assert found[name].points[0].duration_s == pytest.approx(0.3, rel=0.2)
