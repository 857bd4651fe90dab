"""The ruler where the truth is known: false alarms and found flaws are counted from runs, kept, and gone on with."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import msgspec
import pytest
from tests.fabricated import make_environment, make_results

from crossfade.harness import environment, selftest, series
from crossfade.harness.cli import main
from crossfade.harness.cli import selftest as command
from crossfade.harness.executor import Task
from crossfade.harness.planted import HONEST, PLANTS, gateways
from crossfade.harness.problems import UsageError
from crossfade.harness.runner import Interrupted
from crossfade.harness.samples import Block, Parity, Results
from crossfade.harness.store import Store, load
from crossfade.harness.trust import FalseAlarms, Power
from crossfade.reports import markdown, performance
from crossfade.scenarios import Scenario, parse


def repetition(seed: int, factor: float = 1.0, sd: float = 0.01) -> Results:
    """Twins on one scenario in eight rounds; the second is ``factor`` times as fast, in truth."""
    import random

    rng = random.Random(f"repetition {seed}")
    full = make_results(1, rounds=2, flaws=False)
    (record,) = (s for s in full.scenarios if s.name == "gateway-echo")
    model = full.of("gateway-echo", "python")[0]
    blocks = [
        msgspec.structs.replace(
            model,
            variant=name,
            round=number,
            points=(),
            metrics={
                "throughput_per_s": 1000 * each * rng.lognormvariate(0, sd),
                "cpu_us_per_request": 10 / each * rng.lognormvariate(0, sd),
            },
        )
        for number in range(8)
        for name, each in (("python", 1.0), ("rust", factor))
    ]
    return msgspec.structs.replace(full, scenarios=(record,), blocks=tuple(blocks))


def test_every_verdict_between_twins_is_counted_as_a_false_alarm() -> None:
    honest = selftest.alarms([repetition(n) for n in range(10)], seed=3)
    assert (honest.alone.hits, honest.alone.of) == (0, 20)
    assert honest.alone.high == pytest.approx(0.168, abs=0.001)
    assert not selftest.refuted(honest)
    # A drift that follows the second name is what a broken ruler would show.
    broken = selftest.alarms([repetition(n, factor=1.2) for n in range(10)], seed=3)
    assert broken.alone.hits == broken.alone.of == 20
    assert broken.corrected.hits == 20
    assert selftest.refuted(broken)
    assert {t.verdict for t in broken.trials} == {"better"}
    assert [t.repetition for t in broken.trials[:3]] == [1, 1, 2]
    assert len(broken.trials[0].log_ratios) == broken.trials[0].rounds == 8


def test_a_comparison_that_could_not_be_made_is_named_and_not_counted() -> None:
    whole, torn = repetition(1), repetition(2)
    torn = msgspec.structs.replace(
        torn,
        blocks=tuple(
            msgspec.structs.replace(b, status="failed", error="it crashed") if b.variant == "rust" else b
            for b in torn.blocks
        ),
    )
    found = selftest.alarms([whole, torn], seed=3)
    assert found.alone.of == 2
    assert len(found.lost) == 2
    assert all("it crashed" in text for text in found.lost)


def planted_run(seed: int, slow: float) -> Results:
    """A run of ``--power`` with fabricated figures: ``slow`` is how fast the slow one is."""
    found = repetition(seed, factor=slow)
    twin = repetition(seed + 1000)
    blocks = [msgspec.structs.replace(b, variant={"python": HONEST, "rust": "slow"}[b.variant]) for b in found.blocks]
    base = {b.round: b.metrics["throughput_per_s"] for b in blocks if b.variant == HONEST}
    for b in twin.of("gateway-echo", "rust"):
        metrics = {**b.metrics, "throughput_per_s": base[b.round]}
        blocks.append(msgspec.structs.replace(b, variant="twin", metrics=metrics))
    (record,) = found.scenarios
    record = msgspec.structs.replace(record, variants=(HONEST, "twin", "slow"))
    return msgspec.structs.replace(
        found, baseline=HONEST, candidates=("twin", "slow"), scenarios=(record,), blocks=tuple(blocks)
    )


def test_a_planted_flaw_is_found_where_it_is_convicted_and_the_twin_is_not() -> None:
    plants = [p for p in PLANTS if p.scenario == "gateway-echo"]
    found = selftest.power([planted_run(n, 0.8) for n in range(10)], 3, plants)
    counts = {plant.name: (plant.found.hits, plant.found.of) for plant in found.plants}
    assert counts == {"twin": (0, 10), "slow": (10, 10)}
    better = selftest.power([planted_run(n, 1.25) for n in range(3)], 3, plants)
    assert {plant.name: plant.found.hits for plant in better.plants}["slow"] == 0


def test_what_is_known_of_the_ruler_reaches_every_report_of_that_machine_and_no_other(tmp_path: Path) -> None:
    alarms = selftest.alarms([repetition(1)], seed=3)
    power = selftest.power([planted_run(1, 0.8)], 3, [p for p in PLANTS if p.name == "slow"])
    for found in (alarms, power):
        selftest.save(found, tmp_path / "selftest")
    results = make_results(1, flaws=False)
    folder = tmp_path / "quick"
    told = selftest.attached(results, folder)
    assert told.ruler is not None
    assert told.ruler.alarms == alarms
    assert told.ruler.power == power
    brief = selftest.in_brief(told.ruler)
    assert brief is not None
    assert brief.alarms is not None
    assert brief.alarms.alone == alarms.alone
    assert not any(trial.log_ratios for trial in brief.alarms.trials)
    assert selftest.in_brief(None) is None
    for text in (markdown(told), performance(told)):
        assert "2 A/A comparisons" in text
        assert "0 false alarms" in text
        assert "slow on gateway\\-echo" in text or "slow on gateway-echo" in text
    elsewhere = msgspec.structs.replace(results, environment=msgspec.structs.replace(results.environment, os="Other"))
    assert selftest.attached(elsewhere, folder).ruler is None


def test_a_fingerprint_follows_the_host_and_what_matters_there() -> None:
    one = make_environment()
    assert environment.fingerprint(one) == environment.fingerprint(msgspec.structs.replace(one, commit="other"))
    assert environment.fingerprint(one) != environment.fingerprint(msgspec.structs.replace(one, python="3.99"))
    assert environment.fingerprint(one) != environment.fingerprint(msgspec.structs.replace(one, hostname_hash="x"))


def options(**changes: object) -> argparse.Namespace:
    given: dict[str, object] = {"impl": None, "repeat": None, "selectors": [], "rounds": None, "runs": 10}
    return argparse.Namespace(**{**given, **changes})


def test_the_default_makes_at_least_forty_comparisons_over_all_quick_scenarios() -> None:
    planned = command.alarm_series(options(), seed=4)
    records = [command.laid_out(planned, part)[1] for part in planned.parts]
    assert sum(len(r.headline) for part in records for r in part) >= command.COMPARISONS
    assert all(part.candidates == (f"{part.baseline}~twin",) for part in planned.parts)
    assert len({part.seed for part in planned.parts}) == len(planned.parts)
    repeated = command.alarm_series(options(impl=["python"], repeat=3, selectors=["gateway-echo"]), seed=4)
    assert [part.baseline for part in repeated.parts] == ["python"] * 3


def test_each_plant_runs_where_it_has_to_be_found_beside_honest_ones() -> None:
    for name in {p.scenario for p in PLANTS}:
        names = [g.name for g in gateways(name)]
        assert names[:2] == [HONEST, "twin"]
        assert set(names[2:]) == {p.name for p in PLANTS if p.scenario == name} - {"twin"}
    with pytest.raises(UsageError, match="--power measures its own"):
        command.power_series(options(impl=["python"]), seed=1)


TOML = """
name = "mock"
title = "Mock"
summary = "Mock."
kind = "throughput"
headline = ["throughput_per_s"]
[load]
[profiles]
quick = { rounds = 3 }
standard = { rounds = 3 }
full = { rounds = 3 }
"""


class Stopping:
    """Every block is the same, and the fifth is a Ctrl-C."""

    def __init__(self, stop_at: int) -> None:
        self.count, self.stop_at = 0, stop_at

    def block(self, task: Task) -> Block:
        self.count += 1
        if self.count == self.stop_at:
            raise KeyboardInterrupt
        model = make_results(1, rounds=2, flaws=False).of("gateway-echo", "python")[0]
        slot = task.slot
        return msgspec.structs.replace(model, scenario=slot.scenario, variant=slot.variant, round=slot.round)

    def in_turns(self, tasks: object) -> list[Block]:
        raise AssertionError(tasks)

    def parity(self, scenario: Scenario, variants: tuple[str, ...]) -> Parity:
        return Parity(scenario=scenario.name, variants=variants, ok=True)


def test_an_interrupted_series_is_gone_on_with_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "mock.toml"
    path.write_text(TOML)
    assert parse(TOML, source="mock").name == "mock"
    planned = command.alarm_series(options(impl=["python"], repeat=2, selectors=[str(path)]), seed=4)
    series.write(planned, tmp_path / "s")
    assert series.read(tmp_path / "s") == planned

    def build(part: series.Part, run_id: str) -> tuple[Results, list[Scenario]]:
        results, scenarios = command.blank(planned, part, run_id, make_environment(), ("selftest",))
        return results, list(scenarios)

    said: list[str] = []
    with pytest.raises(Interrupted):
        list(series.measure(planned, tmp_path / "s", build, Stopping(9), said.append))
    assert len(load(tmp_path / "s" / "01").blocks) == 6
    assert len(load(tmp_path / "s" / "02").blocks) == 2
    rest = Stopping(0)
    done = list(series.measure(planned, tmp_path / "s", build, rest, said.append))
    assert rest.count == 4
    assert [len(results.blocks) for results in done] == [6, 6]

    other = msgspec.structs.replace(
        done[1], complete=False, environment=msgspec.structs.replace(make_environment(), os="x")
    )
    Store(tmp_path / "s", "02").save(other)
    with pytest.raises(UsageError, match="this machine differs"):
        list(series.measure(planned, tmp_path / "s", build, rest, said.append))


def test_a_folder_without_a_series_cannot_be_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", "--resume", str(tmp_path)]) == 64
    assert "series.json" in capsys.readouterr().err


@pytest.mark.slow
def test_twins_are_measured_from_command_to_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenario = tmp_path / "mock.toml"
    profile = "quick = { rounds = 2, duration_s = 0.3, warmup_s = 0.1, turns = 3 }"
    scenario.write_text(TOML.replace("quick = { rounds = 3 }", profile))
    out = str(tmp_path / "out")
    code = main(["selftest", str(scenario), "--impl", "python", "--repeat", "1", "--seed", "5", "--out", out, "--json"])
    printed = capsys.readouterr()
    assert code in (0, 1), printed.err
    said = json.loads(printed.out)
    stored = msgspec.json.decode((tmp_path / "out" / "selftest.json").read_bytes(), type=FalseAlarms)
    assert said["alone"]["of"] + len(stored.lost) == 1
    assert stored.variants == ("python",)


def test_the_files_of_both_are_read_again(tmp_path: Path) -> None:
    path = selftest.save(selftest.power([planted_run(1, 0.8)], 3), tmp_path)
    assert path.name == "power.json"
    assert msgspec.json.decode(path.read_bytes(), type=Power).runs == 1


STORED = Path(__file__).parents[2] / "reports" / "baselines" / "selftest"


def test_the_stored_shares_are_those_of_the_stored_comparisons() -> None:
    alarms = STORED / selftest.ALARMS_FILE
    if alarms.exists():
        found = msgspec.json.decode(alarms.read_bytes(), type=FalseAlarms)
        assert found.alone.of == found.corrected.of == len(found.trials) >= command.COMPARISONS
        assert found.alone.hits == sum(t.verdict != "inconclusive" for t in found.trials)
        assert found.corrected.hits == sum(t.verdict_holm != "inconclusive" for t in found.trials)
    power = STORED / selftest.POWER_FILE
    if power.exists():
        strong = msgspec.json.decode(power.read_bytes(), type=Power)
        for plant in strong.plants:
            mine = [t for t in strong.trials if (t.candidate, t.scenario) == (plant.name, plant.scenario)]
            convicted = {t.repetition for t in mine if t.verdict_holm == "worse"}
            assert (plant.found.hits, plant.found.of) == (len(convicted), strong.runs)
