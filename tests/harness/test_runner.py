"""The runner with a mock executor, to the digit: order, pairing, saving, failing, interrupting, going on."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from tests.fabricated import make_environment

from crossfade.harness.executor import Task
from crossfade.harness.plan import describe_limit, estimate_s, order, record
from crossfade.harness.progress import Progress
from crossfade.harness.runner import Interrupted, execute, start
from crossfade.harness.samples import Block, Parity, Results, VariantRecord
from crossfade.harness.stats import analyse
from crossfade.harness.store import Store, load
from crossfade.scenarios import Scenario, parse

TOML = """
name = "{name}"
title = "Mock"
summary = "Mock."
kind = "throughput"
headline = ["throughput_per_s"]
limits = ["ceiling"]
[load]
[profiles]
quick = {{ rounds = {rounds} }}
standard = {{ rounds = 5 }}
full = {{ rounds = 9 }}
"""
SPEED = {"python": 1000.0, "rust": 3000.0, "ceiling": 9000.0}


class MockExecutor:
    """Known figures: a machine that gets 10 % slower every round, and variants that differ by known factors."""

    def __init__(self, *, fail: set[tuple[int, str]] = frozenset(), stop_at: int = -1, disagree: str = "") -> None:  # type: ignore[assignment]
        self.tasks: list[Task] = []
        self.together: list[tuple[str, ...]] = []
        self.fail, self.stop_at, self.disagree = fail, stop_at, disagree

    def block(self, task: Task) -> Block:
        if len(self.tasks) == self.stop_at:
            raise KeyboardInterrupt
        self.tasks.append(task)
        slot = task.slot
        failed = (slot.round, slot.variant) in self.fail
        return Block(
            scenario=slot.scenario,
            variant=slot.variant,
            kind="limit" if slot.variant == "ceiling" else "variant",
            round=slot.round,
            position=slot.position,
            status="failed" if failed else "ok",
            started="2026-01-01T00:00:00Z",
            wall_s=1.0,
            hash_seed=task.hash_seed,
            error="it crashed" if failed else None,
            metrics={} if failed else {"throughput_per_s": SPEED[slot.variant] * 0.9**slot.round},
        )

    def in_turns(self, tasks: Sequence[Task]) -> list[Block]:
        self.together.append(tuple(task.slot.variant for task in tasks))
        return [self.block(task) for task in tasks]

    def parity(self, scenario: Scenario, variants: tuple[str, ...]) -> Parity:
        return Parity(
            scenario=scenario.name,
            variants=variants,
            ok=scenario.name != self.disagree,
            detail="" if scenario.name != self.disagree else "python says 1, rust says 2",
        )


def scenarios(*rounds: int) -> list[Scenario]:
    return [parse(TOML.format(name=f"mock-{i}", rounds=n), source="mock") for i, n in enumerate(rounds)]


def begin(chosen: list[Scenario], seed: int = 3) -> Results:
    variants = ("python", "rust", "ceiling")
    return start(
        run_id="run",
        command=("crossfade", "run"),
        profile="quick",
        seed=seed,
        baseline="python",
        candidates=["rust"],
        environment=make_environment(),
        scenarios=[record(s, "quick", variants=variants, left_out={}) for s in chosen],
        variants=[
            VariantRecord(name="python", kind="variant", description=""),
            VariantRecord(name="rust", kind="variant", description=""),
            describe_limit("ceiling"),
        ],
    )


def quiet(total: int) -> Progress:
    return Progress(total, 10.0, io.StringIO())


def go(results: Results, chosen: list[Scenario], executor: MockExecutor, saved: list[Results]) -> Results:
    return execute(results, chosen, executor, saved.append, quiet(len(results.order)))


def test_a_drifting_machine_does_not_move_the_ratio() -> None:
    chosen = scenarios(5)
    results = go(begin(chosen), chosen, MockExecutor(), [])
    (verdict,) = analyse(results).verdicts
    assert verdict.ratio == pytest.approx(3.0, rel=1e-12)
    assert verdict.low == pytest.approx(3.0, rel=1e-9)
    assert verdict.rounds == 5
    assert verdict.verdict == "better"
    (limit_python, limit_rust) = analyse(results).limits
    assert limit_python.ratio == pytest.approx(1 / 9)
    assert limit_rust.ratio == pytest.approx(1 / 3)
    mean = {s.variant: s.mean for s in analyse(results).summaries}["python"]
    assert mean == pytest.approx(1000 * math.prod(0.9**r for r in range(5)) ** (1 / 5))


def test_every_round_holds_every_variant_once_in_an_order_that_changes() -> None:
    chosen = scenarios(8, 3)
    slots = order(begin(chosen).scenarios, 1)
    for name, rounds in (("mock-0", 8), ("mock-1", 3)):
        mine = [s for s in slots if s.scenario == name]
        assert [s.round for s in mine] == sorted(s.round for s in mine)
        by_round = [tuple(s.variant for s in mine if s.round == r) for r in range(rounds)]
        assert all(sorted(r) == ["ceiling", "python", "rust"] for r in by_round)
        assert len(set(by_round)) > 1
    # Never all of A before B, nor all of one scenario before the other.
    assert slots[0].scenario != slots[3].scenario


def test_the_order_is_the_seeds_and_stable() -> None:
    chosen = scenarios(4)
    records = begin(chosen).scenarios
    assert order(records, 1) == order(records, 1)
    assert order(records, 1) != order(records, 2)
    assert [s.variant for s in order(records, 1)][:3] == ["python", "rust", "ceiling"]


def test_a_round_shares_its_arguments_and_every_block_its_own_hash_seed() -> None:
    chosen = scenarios(4)
    executor = MockExecutor()
    go(begin(chosen), chosen, executor, [])
    for number in range(4):
        assert len({t.seed for t in executor.tasks if t.slot.round == number}) == 1
    assert len({t.seed for t in executor.tasks}) == 4
    assert len({t.hash_seed for t in executor.tasks}) == 12
    assert all(0 <= t.hash_seed < 2**32 for t in executor.tasks)


def test_saved_after_each_block() -> None:
    chosen = scenarios(2)
    saved: list[Results] = []
    final = go(begin(chosen), chosen, MockExecutor(), saved)
    assert [len(r.blocks) for r in saved] == [0, 1, 2, 3, 4, 5, 6, 6]
    assert [r.complete for r in saved] == [False] * 7 + [True]
    assert saved[-1] == final
    assert final.finished is not None


def turned(*rounds: int) -> list[Scenario]:
    """The same, in turns."""
    found = []
    for one in scenarios(*rounds):
        quick = msgspec.structs.replace(one.profiles.quick, turns=4)
        found.append(msgspec.structs.replace(one, profiles=msgspec.structs.replace(one.profiles, quick=quick)))
    return found


def test_where_variants_take_turns_a_round_of_them_is_saved_at_once() -> None:
    chosen = turned(2)
    saved: list[Results] = []
    go(begin(chosen), chosen, MockExecutor(), saved)
    assert [len(r.blocks) for r in saved] == [0, 3, 6, 6]


@pytest.mark.parametrize("stop_at", [3, 4, 5])
def test_an_interrupt_within_a_round_in_turns_keeps_every_earlier_round(tmp_path: Path, stop_at: int) -> None:
    chosen = turned(3)
    store = Store(tmp_path, "run")
    with pytest.raises(Interrupted) as caught:
        execute(begin(chosen), chosen, MockExecutor(stop_at=stop_at), store.save, quiet(9))
    kept = load(store.folder)
    assert kept == caught.value.results
    assert sorted((b.round, b.variant) for b in kept.blocks) == [(0, "ceiling"), (0, "python"), (0, "rust")]
    executor = MockExecutor()
    assert len(execute(kept, chosen, executor, store.save, quiet(9)).blocks) == 9
    assert len(executor.tasks) == 6


def test_a_failed_block_is_recorded_and_the_run_goes_on() -> None:
    chosen = scenarios(3)
    results = go(begin(chosen), chosen, MockExecutor(fail={(1, "rust")}), [])
    assert len(results.blocks) == 9
    (lost,) = analyse(results).lost
    assert (lost.variant, lost.round, lost.error) == ("rust", 1, "it crashed")
    assert analyse(results).verdicts[0].rounds == 2


@pytest.mark.parametrize("stop_at", [0, 1, 5])
def test_an_interrupt_keeps_every_block_and_the_run_can_go_on(tmp_path: Path, stop_at: int) -> None:
    chosen = scenarios(2)
    store = Store(tmp_path, "run")
    planned = begin(chosen)
    with pytest.raises(Interrupted) as caught:
        execute(planned, chosen, MockExecutor(stop_at=stop_at), store.save, quiet(6))
    kept = load(store.folder)
    assert kept == caught.value.results
    assert len(kept.blocks) == stop_at
    assert not kept.complete
    executor = MockExecutor()
    resumed = execute(kept, chosen, executor, store.save, quiet(6))
    whole = execute(planned, chosen, MockExecutor(), lambda _: None, quiet(6))
    assert len(executor.tasks) == 6 - stop_at
    assert resumed.blocks == whole.blocks
    assert resumed.complete


def test_variants_that_disagree_are_not_timed() -> None:
    chosen = scenarios(2, 2)
    executor = MockExecutor(disagree="mock-0")
    results = go(begin(chosen), chosen, executor, [])
    assert {t.slot.scenario for t in executor.tasks} == {"mock-1"}
    refused = [b for b in results.blocks if b.scenario == "mock-0"]
    assert len(refused) == 6
    assert all(b.status == "failed" and "rust says 2" in (b.error or "") for b in refused)


def test_progress_off_a_terminal_is_plain_lines_with_failures_and_time_left() -> None:
    chosen = scenarios(2)
    stream = io.StringIO()
    execute(begin(chosen), chosen, MockExecutor(fail={(0, "rust")}), lambda _: None, Progress(6, 60.0, stream))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 6
    assert "\x1b" not in stream.getvalue()
    assert any("FAILED: it crashed" in line for line in lines)
    assert "left" in lines[0]


def test_the_quick_profile_fits_its_budget() -> None:
    from crossfade.harness.cli.choose import lay_out
    from crossfade.impls import VARIANTS
    from crossfade.scenarios import select

    found = select([], "quick")
    records = [lay_out(s, "quick", list(VARIANTS), s.limits, rounds=None, asked=False) for s in found]
    # Parity and the first self-test take another minute of the ten.
    assert estimate_s(found, records, "quick") <= 540


def test_results_survive_a_round_trip_through_json() -> None:
    chosen = scenarios(2)
    results = go(begin(chosen), chosen, MockExecutor(), [])
    assert msgspec.json.decode(msgspec.json.encode(results), type=Results) == results


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal_redraws_one_line_and_keeps_failures() -> None:
    chosen = scenarios(2)
    stream = Terminal()
    execute(begin(chosen), chosen, MockExecutor(fail={(0, "rust")}), lambda _: None, Progress(6, 60.0, stream))
    said = stream.getvalue()
    assert said.count("\n") == 1
    assert "mock-0  round 2" in said
    assert said.endswith("\r\x1b[2K")
